"""The recipe recorded in a store: exactly this, or older stores would not be recognised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data_modules.store.identity import observation_recipe, store_difference, store_recipe
from slams.config.schema import StationSourceConfig
from slams.runs.provenance import depends
from tests.synthetic import CHANNELS, tiny_recipe

OBSERVATIONS = {
    "seed": 7,
    "drawn": ["stations", "satellite"],
    "stations": {
        "count": 30,
        "file": "",
        "variables": [
            {
                "channel": "temperature@850",
                "error": 0.5,
                "representativeness": 0.0,
                "likelihood": "auto",
            }
        ],
        "lapse_rate": 0.0065,
        "missing": 0.0,
    },
    "satellite": {
        "channel": "outgoing_longwave_radiation",
        "footprint": 2,
        "coverage": 0.5,
        "error": 4.0,
    },
}
RECIPE = {
    "source": {
        "kind": "nature_run",
        "path": "run.zarr",
        "origin": "",
        "grid": "native",
        "regrid": "conservative",
        "absent": [],
        "gaps": [],
    },
    "channels": CHANNELS,
    "statistics_from": "",
    "train": ["2001-01-01", "2001-03-11"],
    "harmonics": 1,
    "sd_floor": 0.3,
    "lags": [1, 2, 3],
}


@pytest.mark.parametrize(("source", "drawn"), [("truth", None), ("store", OBSERVATIONS)])
def test_the_record_of_a_recipe_is_as_it_was(source, drawn):
    config = tiny_recipe(Path("here"), "run.zarr", harmonics=1)
    observations = replace(config.observations, source=source)
    found = store_recipe(config.data, observations, 7)
    assert found == {**RECIPE, "observations": drawn}
    assert list(found) == [*RECIPE, "observations"]
    assert observation_recipe(observations, 7) == OBSERVATIONS


def test_the_first_key_that_differs_is_named():
    other = {**RECIPE, "harmonics": 3, "lags": []}
    assert store_difference(RECIPE, other) == "harmonics: 1 in the store, 3 in the recipe"
    assert store_difference(RECIPE, RECIPE) == ""


def test_the_share_that_may_be_left_out_does_not_change_a_store():
    """It decides whether an archive is refused, and stores from before the key stay valid."""
    config = tiny_recipe(Path("here"), "run.zarr")
    stations = replace(
        config.observations.stations, source=StationSourceConfig("metar", "metar.parquet")
    )
    observations = replace(config.observations, use=["stations"], stations=stations)
    found = observation_recipe(observations, 7)
    assert "left_out" not in found["stations"]["source"]
    stations.source.left_out = 0.5
    assert observation_recipe(observations, 7) == found
    assert not depends("assimilation", "observations.stations.source.left_out")
    assert depends("assimilation", "observations.stations.source.quarters")
