"""Recipes of real data: they stand on their own, and read the real files where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_modules.preparation.merging import open_parts
from data_modules.sources.stations import open_station_parts
from slams.config.checks import check
from slams.config.loading import load
from slams.config.schema import Config
from slams.fields import FieldSpec

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
EXTENDING = ("ncep_window_recentred", "metar_january_2020_cycle", "vienna_2015_cycle")
RECIPES = (
    "ncep_window",
    "metar_january_2020",
    "vienna_2015",
    "arm_summer_1997",
    "imagery_from_files",
    *EXTENDING,
)
STATIONS = "observations.stations.source"


def paths(config: Config) -> list[str]:
    """List every file or directory that a recipe reads its data from."""
    stations = config.observations.stations
    named = [stations.file, stations.source.path, stations.source.station_list]
    named.append(config.observations.satellite.source.path)
    for _, source in config.data.inputs:
        named += [source.path, *source.files]
    return [path for path in named if path]


def test_no_recipe_reads_beside_the_working_directory() -> None:
    recipes = sorted(EXPERIMENTS.rglob("*.yaml"))
    assert len(recipes) > 10
    for path in recipes:
        lines = path.read_text().splitlines()
        beyond = [s for s in lines if "../" in s and not s.lstrip(" #").startswith("extends:")]
        # What a comment says of `extends` is no path to data either.
        assert [s for s in beyond if not s.startswith("#")] == [], path


@pytest.mark.parametrize("name", RECIPES)
def test_files_are_looked_for_in_archives_and_explained(name: str) -> None:
    recipe = EXPERIMENTS / f"{name}.yaml"
    read = [path for path in paths(load(recipe)) if not path[:4].isdigit()]
    assert read
    assert all(path.startswith("archives/") for path in read)
    head = recipe.read_text().partition("experiment:")[0]
    if name not in EXTENDING:
        assert [path for path in read if path not in head] == []
        assert "https://" in head


@pytest.mark.parametrize("name", ["metar_january_2020_cycle", "vienna_2015_cycle"])
def test_real_reports_are_cycled_with_what_past_ones_say_alone(name: str) -> None:
    config = load(EXPERIMENTS / f"{name}.yaml")
    check(config)
    section = config.assimilation
    assert section.cycle_start == "climatology"
    assert section.cycle_bias > 0
    assert config.data.source.kind == "no_fields"
    # The same recipe without networks, and without the correction.
    words = ["assimilation.methods=[optimal_interpolation]", "assimilation.cycle_bias=0.0"]
    check(load(EXPERIMENTS / f"{name}.yaml", words))


def test_the_real_window(shared_data: Path) -> None:
    file = shared_data / "real" / "ncep_r1_air_daily_20220101-05_17lev.nc"
    if not file.exists():
        pytest.skip("the real window is not there")
    words = [f"data.source.path={file}", "data.source.grid=native"]
    config = load(EXPERIMENTS / "ncep_window.yaml", words)
    channels = tuple(FieldSpec.parse(name) for name in config.data.channels)
    (part,), grid, time = open_parts(config.data, channels)
    assert grid.shape == (73, 144)
    assert time.tolist() == [18993.0 + day for day in range(5)]
    values = part.read(0, 5, np.zeros(5, bool))
    assert np.isfinite(values[:, :8]).all()
    assert np.isnan(values[:, 8:]).all()


@pytest.mark.parametrize(
    ("name", "files", "stations"),
    [
        ("metar_january_2020", {"path": "weatherbenchX_metar_2020-01.parquet"}, 12),
        (
            "vienna_2015",
            {"path": "AUM00011035-data.txt.gz", "station_list": "igra2-station-list.txt"},
            1,
        ),
        (
            "arm_summer_1997",
            {"path": "sgp3hIOPsndgBasedV2.0_ConstrVarAnaX1.c1.19970618.000000.cdf"},
            1,
        ),
    ],
)
def test_the_real_reports(
    shared_data: Path, name: str, files: dict[str, str], stations: int
) -> None:
    real = {key: shared_data / "real" / file for key, file in files.items()}
    if not all(path.exists() for path in real.values()):
        pytest.skip("the real reports are not there")
    words = [f"{STATIONS}.{key}={path}" for key, path in real.items()]
    config = load(EXPERIMENTS / f"{name}.yaml", words)
    first, last = (np.datetime64(day) for day in config.data.splits.test)
    observed = config.observations.stations
    variables = list(dict.fromkeys(v.channel.partition("@")[0] for v in observed.variables))
    table = next(open_station_parts(observed.source, variables, first, last)).table
    assert table["station_id"].nunique() == stations
    assert set(table["variable"]) == set(variables)
