"""A training store of steps of six hours: axis, statistics, windows, backgrounds, reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from data_modules.multimodal import MultimodalDataModule
from data_modules.preparation.plan import plan
from data_modules.preparation.prepare import describe, prepare
from data_modules.store.identity import store_recipe
from data_modules.store.manifest import verify
from data_modules.store.training_store import TrainingStore
from slams.config.schema import (
    BackgroundConfig,
    Config,
    DataConfig,
    ObservationsConfig,
    SatelliteConfig,
    SatelliteSourceConfig,
    StationSourceConfig,
    StationVariableConfig,
)
from slams.errors import UserError
from tests.data_modules.image_layouts import write_noaa
from tests.six_hourly import six_hourly_run, six_hourly_study

LEVEL = "temperature@850"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return the recipe of a prepared store."""
    root = tmp_path_factory.mktemp("steps")
    six_hourly_run(root / "instants.zarr")
    config = six_hourly_study(root, root / "instants.zarr", lags=[1, 2, 3, 4])
    prepare(config.data, ObservationsConfig(use=[]), 0)
    return config


@pytest.fixture(scope="module")
def store(made: Config) -> TrainingStore:
    return TrainingStore.open(made.data.store)


def test_only_a_step_of_less_than_a_day_is_in_the_recipe(made: Config) -> None:
    """A store of days has the identity that it had before there were steps."""
    assert store_recipe(made.data, made.observations, 0)["step"] == "6h"
    daily = replace(made.data, step="24h")
    assert "step" not in store_recipe(daily, made.observations, 0)


def test_the_store_says_what_its_steps_are(made: Config, store: TrainingStore) -> None:
    assert store.attributes["step_hours"] == 6
    assert (np.diff(store.time) == 0.25).all()
    assert "temperature: instant at 00, 06, 12, 18 UTC" in store.attributes["sources"][0]["time"]
    assert verify(made.data.store).startswith("4 files of fields")
    text = describe(made.data, ObservationsConfig(use=[]))
    assert "240 steps from 2001-01-01 to 2001-03-01T18:00:00" in text
    assert "steps of 6h" in text
    assert "validation: 2001-02-07 to 2001-02-12, 24 steps" in text


def test_statistics_are_those_of_their_definitions(store: TrainingStore) -> None:
    """The mean of each hour; one standard deviation; persistence over steps, not days."""
    train = store.read(slice(0, 35 * 4)).astype(np.float64)
    hours = train.reshape(35, 4, *train.shape[1:])
    found = store.statistics
    np.testing.assert_allclose(found.harmonics, hours.mean(axis=0), atol=2e-3)
    anomaly = (hours - hours.mean(axis=0)).reshape(train.shape)
    sd = np.sqrt((anomaly**2).mean(axis=0))
    np.testing.assert_allclose(found.sd, np.maximum(sd, 0.3 * _rms(sd, store)), rtol=1e-3)
    for number, lag in enumerate(found.lags):
        now, before = anomaly[lag:], anomaly[:-lag]
        rho = ((now * before).sum(axis=0) / (before**2).sum(axis=0)).clip(0, 1)
        np.testing.assert_allclose(found.persistence[number], rho, atol=2e-3)


def _rms(sd: np.ndarray, store: TrainingStore) -> np.ndarray:
    weights = store.grid.weights.numpy()[:, None]
    mean = (sd**2 * weights).mean(axis=(1, 2), keepdims=True) / weights.mean()
    return np.sqrt(mean)


def module(config: Config, **data: object) -> MultimodalDataModule:
    return MultimodalDataModule(
        replace(config.data, test_cases=0, **data),
        ObservationsConfig(use=[]),
        BackgroundConfig(lag=1),
        0,
    )


def test_windows_and_backgrounds_are_of_steps(made: Config, store: TrainingStore) -> None:
    data = module(made)
    # Ten days of test steps, each with the state of six hours before.
    assert len(data.splits["test"]) == 40
    dataset = data.dataset("test")
    window = dataset.read([0, 5])
    np.testing.assert_array_equal(window.time[:, 0] - window.time[0, 0], [0, 1.25])
    first = int(data.splits["test"][0])
    np.testing.assert_array_equal(window.previous[0, 0], store.read([first - 1])[0])
    batch = data.assemble(window)
    persistence = store.statistics.persistence[0]
    earlier = data.normaliser.normalise(
        window.previous, data.normaliser.climatology(window.time - 0.25)
    )
    torch.testing.assert_close(batch.background.mean[:, 0], persistence * earlier[:, 0])
    # Training windows whose background would be of another piece are left out: one step.
    assert len(data.archive().time) == 35 * 4 - 1


def test_a_window_is_of_consecutive_steps(made: Config, store: TrainingStore) -> None:
    data = module(made, window=4)
    window = data.dataset("validation").read([0])
    np.testing.assert_array_equal(window.time[0] - window.time[0, 0], [0, 0.25, 0.5, 0.75])
    first = int(data.splits["validation"][0])
    np.testing.assert_array_equal(window.fields[0], store.read(slice(first, first + 4)))


def test_no_window_of_steps_crosses_a_split(made: Config) -> None:
    data = module(made, window=4)
    assert len(data.splits["validation"]) == 6 * 4 - 3
    with pytest.raises(UserError, match=r"a window of 11 days is longer than data\.splits"):
        module(made, window=41)


def test_recentring_takes_the_steps_of_its_days(made: Config) -> None:
    data = MultimodalDataModule(
        made.data, ObservationsConfig(use=[]), BackgroundConfig(lag=1, recentre_days=2), 0
    )
    assert data.earlier_days == 8


def test_a_store_of_another_step_is_refused(made: Config) -> None:
    with pytest.raises(UserError, match=r"data\.step: found 12h, but training store .* of 6h"):
        module(made, step="12h")


def test_statistics_and_backgrounds_of_another_step_are_refused(
    made: Config, tmp_path: Path
) -> None:
    daily = replace(
        made.data,
        step="24h",
        store=str(tmp_path / "days.zarr"),
        source=replace(made.data.source, daily="mean"),
    )
    with pytest.raises(UserError, match=r"data\.statistics_from: .* has steps of 6h, .* of 24h"):
        plan(replace(daily, statistics_from=made.data.store))
    prepare(daily, ObservationsConfig(use=[]), 0)
    days = BackgroundConfig(kind="file", path=daily.store)
    with pytest.raises(UserError, match=r"background\.path: .* has steps of 24h, .* of 6h"):
        MultimodalDataModule(made.data, ObservationsConfig(use=[]), days, 0)


def test_sources_of_days_are_refused(made: Config, tiny_source: Path, tmp_path: Path) -> None:
    data = replace(made.data, store=str(tmp_path / "store.zarr"))
    data = replace(data, source=replace(data.source, path=str(tiny_source)))
    with pytest.raises(UserError, match=r"step every 24 h, longer than data\.step, 6h"):
        describe(data, ObservationsConfig(use=[]))


def test_reports_of_steps_with_their_times(made: Config, tmp_path: Path) -> None:
    """Each report goes to the step within three hours of it, the nearest one of a station."""
    rows = [
        ("A", "2001-01-03T05:15", 281.0),
        ("A", "2001-01-03T06:30", 282.0),  # nearer
        ("A", "2001-01-03T10:00", 283.0),
        ("B", "2001-01-02T22:00", 284.0),  # of 00 UTC of the next day
    ]
    table = pd.DataFrame(rows, columns=["station_id", "time", "value"])
    table = table.assign(variable="temperature", level=850.0, elevation=10.0, longitude=20.0)
    table["latitude"] = table["station_id"].map({"A": 50.0, "B": -30.0})
    table.to_csv(tmp_path / "reports.csv", index=False)
    data = DataConfig(**{**made.data.__dict__, "store": str(tmp_path / "store.zarr")})
    observations = ObservationsConfig(use=["stations"], source="store")
    observations.stations.source = StationSourceConfig(
        kind="reports", path=str(tmp_path / "reports.csv")
    )
    observations.stations.source.qc.buddy_km = 0.0
    observations.stations.variables = [StationVariableConfig(LEVEL, 0.5)]
    prepare(data, observations, 0)
    store = TrainingStore.open(data.store)
    values, hours = (
        store.read_array(name, slice(None))[..., 0] for name in ("stations", "station_hours")
    )
    place = {
        (step / 4 + store.time[0], station): (
            float(values[step, station]),
            float(hours[step, station]),
        )
        for step, station in np.argwhere(np.isfinite(values))
    }
    day = store.time[0] + 2
    assert place == {
        (day + 0.25, 0): (282.0, 0.5),
        (day + 0.5, 0): (283.0, -2.0),
        (day, 1): (284.0, -2.0),
    }
    assert np.isnan(hours[~np.isfinite(values)]).all()


def with_images(made: Config, directory: Path, path: Path, kind: str, step: str = "6h") -> Config:
    satellite = SatelliteConfig(
        error=4.0, source=SatelliteSourceConfig(kind=kind, path=str(path), cell=30.0)
    )
    data = replace(made.data, store=str(directory / "images.zarr"), step=step)
    observations = ObservationsConfig(use=["satellite"], source="store", satellite=satellite)
    return replace(made, data=data, observations=observations)


def test_images_twice_a_day_at_steps_of_twelve_hours(made: Config, tmp_path: Path) -> None:
    """Each image goes to the step that it is within six hours of; there is none at 00 UTC."""
    source = xr.open_zarr(made.data.source.path, consolidated=False)["outgoing_longwave_radiation"]
    grid = (source["latitude"].values, source["longitude"].values)
    times = np.datetime64("2001-01-03T14", "ns") + np.arange(2) * np.timedelta64(12, "h")
    seen = source.values[[10, 12]].astype(np.float64)
    write_noaa(tmp_path / "olr.nc", times, seen, *grid, packed=False)
    config = with_images(made, tmp_path, tmp_path / "olr.nc", "gridded_olr", "12h")
    assert "images on 2 of 120 steps" in describe(config.data, config.observations)
    prepare(config.data, config.observations, 0)
    store = TrainingStore.open(config.data.store)
    values = store.read_array("satellite", slice(None))[:, 0]
    there = np.flatnonzero(np.isfinite(values).any(axis=(1, 2)))
    # 14 UTC is of the step at 12 UTC, 02 UTC of the next day's first.
    assert (store.time[there] - store.time[0]).tolist() == [2.5, 3.0]
    np.testing.assert_allclose(values[there], seen, rtol=1e-6)
    config = replace(config, data=replace(config.data, step="6h"))
    with pytest.raises(UserError, match="has an image every 12 h, expected one at least every 6h"):
        describe(config.data, config.observations)


def test_pixels_are_averaged_step_by_step(made: Config, tmp_path: Path) -> None:
    """OLR is an instant of this store: pixels within three hours belong to a step."""
    table = pd.DataFrame(
        {
            "time": ["2001-01-03T02:00", "2001-01-03T04:00", "2001-01-03T07:00"],
            "latitude": 10.0,
            "longitude": 20.0,
            "value": [200.0, 230.0, 250.0],
        }
    )
    table.to_csv(tmp_path / "pixels.csv", index=False)
    config = with_images(made, tmp_path, tmp_path / "pixels.csv", "pixels")
    prepare(config.data, config.observations, 0)
    store = TrainingStore.open(config.data.store)
    values, hours, counts = (
        store.read_array(name, slice(None))[:, 0].reshape(len(store.time), -1)
        for name in ("satellite", "satellite_hours", "satellite_counts")
    )
    there = np.argwhere(np.isfinite(values))
    assert (store.time[there[:, 0]] - store.time[0]).tolist() == [2.0, 2.25]
    picked = tuple(there.T)
    assert values[picked].tolist() == [200.0, 240.0]
    assert hours[picked].tolist() == [2.0, -0.5]
    assert counts[picked].tolist() == [1.0, 2.0]
