"""Nature runs of daily means, of instants within the day, and of several segments."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dask.base import is_dask_collection

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.synthetic import nature_run

CHANNELS = [FieldSpec.parse("temperature@850")]
WINDS = ["temperature@850", "u_component_of_wind@850", "u_component_of_wind@500"]
DAY, SIX_HOURS = np.timedelta64(1, "D"), np.timedelta64(6, "h")
HOURS = np.array([0, 6, 12, 18], dtype="timedelta64[h]")


@pytest.fixture
def instants(tmp_path: Path) -> Path:
    """Two days of four instants; the temperature encodes them (day x 10 + hour)."""
    days = np.array(["2001-03-01", "2001-03-02"], dtype="datetime64[ns]")
    time = (days[:, None] + HOURS).reshape(-1)
    values = np.array([10.0 * d + h for d in range(2) for h in (0, 6, 12, 18)]) + 250
    latitude, longitude = np.linspace(60, -60, 4), np.arange(0, 360, 45.0)
    fields = np.broadcast_to(values[:, None, None, None], (8, 1, 4, 8)).astype(np.float32)
    run = xr.Dataset(
        {"temperature": (("time", "level", "latitude", "longitude"), fields, {"units": "K"})},
        coords={"time": time, "level": [850], "latitude": latitude, "longitude": longitude},
    )
    path = tmp_path / "instants.zarr"
    run.chunk(-1).to_zarr(path, zarr_format=3, consolidated=False)
    return path


@pytest.mark.parametrize(
    ("daily", "expected"), [("instant", [250.0, 260.0]), ("mean", [259.0, 269.0])]
)
def test_a_day_of_instants(instants: Path, daily: str, expected: list[float]) -> None:
    """The instant at 00 UTC, or their mean: no instant is treated as the mean of 24 hours."""
    found = open_source(SourceConfig(path=str(instants), daily=daily), CHANNELS)
    assert found["temperature"].values[:, 0, 0, 0].tolist() == expected
    assert (np.diff(found["time"].values) == 1).all()


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """Two segments with winds, three years apart, the later one first by name."""
    for name, first, seed in (("run_b", "2001-01-01", 0), ("run_a", "2004-01-01", 1)):
        write(segment(first, seed), tmp_path / f"{name}.zarr")
    return tmp_path


def segment(first: str, seed: int = 0, days: int = 20) -> xr.Dataset:
    run = nature_run(days=days, rows=4, columns=8, seed=seed, winds=True)
    run = run.assign_coords(time=np.datetime64(first, "ns") + np.arange(days) * DAY)
    terrain = np.arange(32.0, dtype=np.float32).reshape(4, 8)
    return run.assign(surface_elevation=(("latitude", "longitude"), terrain))


def write(run: xr.Dataset, path: Path) -> None:
    run.chunk(time=7).to_zarr(path, zarr_format=3, consolidated=False, mode="w")


def open_both(folder: Path, names: list[str] = WINDS, **settings: object) -> xr.Dataset:
    source = SourceConfig(path=str(folder / "run_*.zarr"))
    return open_source(source, [FieldSpec.parse(name) for name in names], **settings)


def test_segments_are_joined_in_order_of_time_and_lazily(segments: Path) -> None:
    found = open_both(segments)
    first = (np.datetime64("2001-01-01") - np.datetime64("1970-01-01")) // DAY
    later = (np.datetime64("2004-01-01") - np.datetime64("1970-01-01")) // DAY
    assert found["time"].values.tolist() == [*range(first, first + 20), *range(later, later + 20)]
    for variable, level in (("temperature", 0), ("u_component_of_wind", 1)):
        assert is_dask_collection(found[variable].data)
        expected = np.concatenate(
            [segment("2001-01-01", seed)[variable].values[:, level] for seed in (0, 1)]
        )
        np.testing.assert_array_equal(found[variable].values[:, level], expected)
    assert found["surface_elevation"].shape == (4, 8)
    assert found.attrs["stores"] == f"{segments}/run_b.zarr, {segments}/run_a.zarr"
    # The amount read per chunk is recorded as for one segment, for the bound on the memory.
    one = open_source(SourceConfig(path=str(segments / "run_b.zarr")), CHANNELS)
    assert found["temperature"].encoding == one["temperature"].encoding != {}
    assert found.isel(time=slice(0, 2))["temperature"].encoding == one["temperature"].encoding


def test_a_period_of_segments_may_lie_in_one_or_in_both(segments: Path) -> None:
    first = (np.datetime64("2001-01-11") - np.datetime64("1970-01-01")) // DAY
    found = open_both(segments, period=(float(first), float(first + 1200)))
    assert found.sizes["time"] == 10 + 20
    assert found["temperature"].encoding != {}
    assert open_both(segments, period=(float(first), float(first + 4))).sizes["time"] == 5
    with pytest.raises(UserError, match=r"no data from 2002-.* has 2001-01-01 to 2004-01-20"):
        open_both(segments, period=(float(first + 400), float(first + 500)))


def other_units(run: xr.Dataset) -> xr.Dataset:
    run["temperature"].attrs["units"] = "degC"
    return run


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda run: run.assign_coords(time=run["time"] - 365 * 3 * DAY),
            "must not have a day in common",
        ),
        (lambda run: run.assign_coords(latitude=run["latitude"] * 0.9), "another grid .latitude"),
        (lambda run: run.assign_coords(level=[850, 300]), "level 500 hPa .* is missing"),
        (lambda run: pad_level(run), "other levels"),
        (other_units, "other units of temperature .degC."),
        (lambda run: run.isel(longitude=slice(None, None, 2)), "another grid .longitude"),
        (lambda run: run.assign(surface_elevation=run["surface_elevation"] + 1), "elevation"),
        (lambda run: run.drop_vars("surface_elevation"), "surface_elevation"),
        (
            lambda run: run.drop_vars(["u_component_of_wind"]),
            "run_a.zarr: variable 'u_component_of_wind' .* is missing",
        ),
        (
            lambda run: run.assign_coords(time=run["time"].values[0] + np.arange(20) * SIX_HOURS),
            "other steps .daily means, or instants",
        ),
    ],
)
def test_segments_that_do_not_fit_together_are_refused(segments, change, words) -> None:
    write_anew(change(segment("2004-01-01")), segments / "run_a.zarr")
    with pytest.raises(UserError, match=words) as refusal:
        open_both(segments)
    assert "run_a.zarr" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def write_anew(run: xr.Dataset, path: Path) -> None:
    shutil.rmtree(path)
    write(run, path)


def pad_level(run: xr.Dataset) -> xr.Dataset:
    third = run.isel(level=[1]).assign_coords(level=[300])
    return xr.concat([run, third], dim="level", data_vars="minimal")


def test_a_pattern_that_nothing_matches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run_\*.zarr does not exist; expected a nature run"):
        open_both(tmp_path)
