"""`prepare` on small files of the layouts of docs/data.md, from an empty account to a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from data_modules.sources import open_source
from data_modules.store.training_store import TrainingStore
from slams.calendar.days import day_of
from slams.config.schema import (
    SourceConfig,
    SplitsConfig,
    StationSourceConfig,
    StationVariableConfig,
)
from slams.fields import FieldSpec
from slams.stages.sources import prepare
from tests.data_modules.public_layouts import arco_era5
from tests.data_modules.sources.stations import archives
from tests.data_modules.sources.stations.readers import test_ghcnh
from tests.faults.headers import READERS
from tests.synthetic import tiny_recipe

WARM = "2m_temperature"
CHANNELS = ["temperature@850", WARM]


@pytest.mark.parametrize("kind", ["era5_cds", "weatherbench2", "arco_era5", "noaa_psl"])
def test_fields(kind: str, tmp_path: Path) -> None:
    """The store has what the reader opens, on every day, without loss but that of packing."""
    layout = READERS[kind]
    if kind == "arco_era5":  # a climatology needs more than one day
        arco_era5(tmp_path / layout.pattern, days=3)
    else:
        layout.write(tmp_path)
    source = SourceConfig(kind=kind, path=str(tmp_path / layout.pattern))
    opened = open_source(source, [FieldSpec.parse(name) for name in layout.channels])
    days = [str(day_of(float(opened["time"].values[at]))) for at in (0, -1)]
    recipe = tiny_recipe(
        tmp_path, "", channels=list(layout.channels), splits=SplitsConfig(train=days), lags=[1]
    )
    recipe.data.source = source
    store = TrainingStore.open(prepare(recipe))
    np.testing.assert_array_equal(store.time, opened["time"].values)
    values = store.read(slice(0, None))
    for index, name in enumerate(layout.channels):
        variable = name.partition("@")[0]
        array = opened[variable]
        if "@" in name:
            (level,) = [d for d in array.dims if str(d).startswith("level")]
            array = array.sel({level: int(name.partition("@")[2])})
        np.testing.assert_allclose(values[:, index], array.values, rtol=2e-3, atol=1e-3)


def _ghcnh(folder: Path) -> StationSourceConfig:
    path = folder / "GHCNh_USW00094728_2020.psv"
    test_ghcnh.rows(24).to_csv(path, sep="|", index=False)
    return StationSourceConfig("ghcnh", str(path))


def _igra(folder: Path) -> StationSourceConfig:
    lines = [
        line
        for day in ("01", "02")
        for hour in ("00", "12")
        for line in archives.igra2_sounding(f"2020 01 {day} {hour}", [(85000, -15), (50000, -250)])
    ]
    path = archives.write_lines(folder / "AUM00011035-data.txt", lines)
    return StationSourceConfig("igra2", str(path))


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose climatology stands in for that of real fields."""
    folder = tmp_path_factory.mktemp("statistics")
    splits = SplitsConfig(train=["1981-07-01", "1981-08-31"])
    return prepare(tiny_recipe(folder, "sample", channels=CHANNELS, splits=splits))


@pytest.mark.parametrize(
    ("write", "channel", "expected"),
    # Hourly reports of 0 to 2.3 degC on one day; four soundings on two.
    [(_ghcnh, WARM, [274.3, np.nan]), (_igra, "temperature@850", [271.65, 271.65])],
    ids=["ghcnh", "igra2"],
)
def test_stations(
    write: Callable[[Path], StationSourceConfig],
    channel: str,
    expected: list[float],
    tmp_path: Path,
    statistics: Path,
) -> None:
    """The store has the mean of each day that has reports."""
    days = ["2020-01-01", "2020-01-02"]
    recipe = tiny_recipe(tmp_path, "", channels=CHANNELS, splits=SplitsConfig(test=days))
    source = SourceConfig("no_fields", "/".join(days), grid=str(statistics), absent=CHANNELS)
    recipe.data.source, recipe.data.statistics_from = source, str(statistics)
    stations = replace(
        recipe.observations.stations,
        source=write(tmp_path),
        variables=[StationVariableConfig(channel, 1.0)],
    )
    recipe.observations = replace(
        recipe.observations, use=["stations"], source="store", stations=stations
    )
    group = zarr.open_group(str(prepare(recipe)), mode="r")
    values = np.asarray(group["stations"][:])
    assert values.shape == (2, 1, 1)
    np.testing.assert_allclose(values.ravel(), expected, atol=1e-3)
