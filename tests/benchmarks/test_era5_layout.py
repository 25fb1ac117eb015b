"""Synthetic archives in the layout of the recipe on ERA5: dates, units and places come through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_modules.store.training_store import TrainingStore
from experiments.benchmarks import era5_layout
from experiments.benchmarks.era5_layout import Noise, Size, make, poles_grid
from slams.cli.main import main

RECIPE = Path(__file__).parents[2] / "experiments/benchmarks/era5_1p5deg_synthetic.yaml"
DAYS, FIRST = 20, np.datetime64("2001-12-20")  # over the end of a year
SIZE = Size(DAYS, grid=(9, 16), olr_grid=(5, 8), stations=30)


def linear_run() -> xr.Dataset:
    """Return a nature run whose fields are linear in time, latitude and log-pressure."""
    latitude, levels = np.linspace(82.5, -82.5, 12), np.array([1000, 500, 50])
    day = np.arange(DAYS + 1)[:, None, None]
    plane = day + 0.1 * latitude[:, None] + np.zeros(24)
    height = 20 * np.log(levels / 500)[:, None, None]
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "temperature": (("time", "level", *dims[1:]), 250 + plane[:, None] + height),
            "2m_temperature": (dims, 280 + plane),
            "total_precipitation_24hr": (dims, 2 + day + 0.01 * (plane - day)),
            "outgoing_longwave_radiation": (dims, 200 + plane),
        },
        coords={
            "time": FIRST.astype("datetime64[ns]") + np.arange(DAYS + 1) * np.timedelta64(1, "D"),
            "level": levels,
            "latitude": latitude,
            "longitude": 15.0 * np.arange(24),
        },
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrainingStore:
    """Return the store that the recipe prepares from archives without noise and errors."""
    root = tmp_path_factory.mktemp("era5_layout")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NOISE_K", "NOISE_OLR", "NOISE_RAIN", "ERROR_K", "ERROR_RAIN"):
            patch.setattr(era5_layout, name, 0.0)
        patch.setattr(era5_layout, "BLOCK", 8)  # several, the last with one day
        make(root / "archives" / "synthetic", linear_run(), SIZE)
        patch.chdir(root)
        last = FIRST + DAYS - 1
        words = [
            "data.sources.0.grid=native",
            f"data.period=[{FIRST}, {last}]",
            f"data.splits.train=[{FIRST}, {FIRST + 9}]",
            f"data.splits.validation=[{FIRST + 12}, {FIRST + 14}]",
            f"data.splits.test=[{FIRST + 17}, {last}]",
            "data.splits.gap=2",
            "data.harmonics=0",
            "data.lags=[1, 2]",
        ]
        assert main(["prepare", str(RECIPE), *words]) == 0
        return TrainingStore.open(root / "stores" / "era5_1p5deg_synthetic.zarr")


def test_fields_have_their_days_units_and_rows(store: TrainingStore) -> None:
    day = np.arange(DAYS)[:, None]
    latitude = np.linspace(90, -90, 9)[2:-2]  # near the poles no field is linear
    plane = day + 0.1 * latitude
    values = dict(
        zip(
            [c.name for c in store.channels],
            np.moveaxis(store.read(slice(None)), 1, 0),
            strict=True,
        )
    )
    for name, expected in (
        ("temperature@1000", 250 + 20 * np.log(2) + plane),
        ("temperature@700", 250 + 20 * np.log(1.4) + plane),
        ("temperature@50", 250 + 20 * np.log(0.1) + plane),
        ("2m_temperature", 280 + plane),
        ("total_precipitation_24hr", 2 + day + 0.001 * latitude),
        ("outgoing_longwave_radiation", 200 + plane),
    ):
        found = values[name][:, 2:-2]
        assert found == pytest.approx(np.broadcast_to(expected[..., None], found.shape), abs=2e-3)


def test_reports_have_their_days_units_and_places(store: TrainingStore) -> None:
    names = ("latitude", "longitude", "elevation")
    latitude, longitude, elevation = (store.read_small(f"station_{n}", float) for n in names)
    height = store.elevation
    assert height is not None
    assert elevation.std() > 50
    index, weight = store.grid.interpolation(torch.tensor(latitude), torch.tensor(longitude))
    above = elevation - (height.reshape(-1)[index.numpy()] * weight.numpy()).sum(axis=-1)
    values = store.read_array("stations", slice(None))
    assert values.shape == (DAYS, SIZE.stations, 2)
    assert 0.8 < np.isfinite(values).mean() < 0.97  # some are missing, some have a flag
    inside = np.abs(latitude) < 67.5
    day = np.arange(DAYS)[:, None]
    expected = 280 + day + 0.1 * latitude - 0.0065 * above, np.log1p(2 + day + 0.001 * latitude)
    for number, (wanted, rounding) in enumerate(zip(expected, (0.06, 0.02), strict=True)):
        found = values[:, inside, number]
        known = np.isfinite(found)
        assert known.sum() > 100
        assert found[known] == pytest.approx(wanted[:, inside][known], abs=rounding)


def test_noise_has_unit_variance_and_its_length() -> None:
    grid = poles_grid((61, 120))
    noise = Noise(30, grid, np.random.default_rng(0))
    first, second = noise.next()[:, 28:33], noise.next()[:, 28:33]
    assert first.std() == pytest.approx(1, rel=0.05)
    ratio = (first * second).mean() / (first * first).mean()
    assert ratio == pytest.approx(0.7, abs=0.05)
    cells = np.array([2, 3])  # on either side of the e-folding length
    along = [(first * np.roll(first, c, axis=-1)).mean() / (first**2).mean() for c in cells]
    assert along == pytest.approx(np.exp(-((cells / 2.5) ** 2)), abs=0.05)


def test_the_poles_have_one_value() -> None:
    run = linear_run()
    run["2m_temperature"] = run["2m_temperature"] + np.cos(np.deg2rad(run["longitude"]))
    fields = era5_layout.Fields(run, SIZE, np.random.default_rng(0)).block(0, 2)
    for values in fields.values():
        assert np.ptp(values[..., [0, -1], :], axis=-1) == pytest.approx(0, abs=1e-3)
    assert poles_grid(SIZE.grid).pole_rows
