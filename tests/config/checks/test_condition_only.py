"""Channels that only condition: which they may be, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_modules.store.identity import store_recipe
from slams.config.checks.recipe import check, require
from slams.config.loading import to_plain
from slams.config.schema import Config, InstrumentConfig
from slams.errors import UserError
from slams.runs.provenance import run_difference
from tests.synthetic import CHANNELS, MOVING_AIR, tiny_recipe


def recipe(*condition_only: str, channels: tuple[str, ...] = (*CHANNELS, *MOVING_AIR)) -> Config:
    return tiny_recipe(
        Path("there"), "source", channels=list(channels), condition_only=list(condition_only)
    )


def test_a_variable_stands_for_all_its_levels() -> None:
    one = recipe("u_component_of_wind", "v_component_of_wind@850")
    check(one)
    assert one.data.analysed == [*CHANNELS, "v_component_of_wind@500", "specific_humidity@850"]
    assert recipe().data.analysed == [*CHANNELS, *MOVING_AIR]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("u_component_of_wimd",), "'u_component_of_wimd' is not in data.channels; did you mean"),
        (("u_component_of_wind@200",), "'u_component_of_wind@200' is not in data.channels"),
        (("specific_humidity", "specific_humidity"), "specific_humidity"),
        (
            (*{name.partition("@")[0] for name in (*CHANNELS, *MOVING_AIR)},),
            "found all of data.channels, expected some to be left",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=rf"data.condition_only.*{words}"):
        check(recipe(*names))


@pytest.mark.parametrize("name", ["temperature@850", "temperature"])
def test_what_is_observed_is_analysed(name: str) -> None:
    words = r"observations.stations.variables.*'temperature@850' is under data.condition_only"
    with pytest.raises(UserError, match=words):
        check(recipe(name))


@pytest.mark.parametrize(
    "instrument",
    [
        InstrumentConfig("sonde", "points", {"channel": "temperature@850"}),
        InstrumentConfig("sounder", "column", {"variable": "temperature", "levels": [850]}),
    ],
)
def test_what_an_instrument_sees_is_analysed(instrument: InstrumentConfig) -> None:
    one = recipe("temperature@850")
    one.observations.use = []
    one.observations.instruments = [instrument]
    check(one)
    one.observations.use = [instrument.name]
    words = r"instruments.0.options.*temperature@850 is under data.condition_only"
    with pytest.raises(UserError, match=words):
        check(one)


def test_levels_beside_those_that_only_condition_may_be_observed() -> None:
    one = recipe("temperature@850")
    options = {"variable": "temperature", "levels": [500]}
    one.observations.instruments = [InstrumentConfig("sounder", "column", options)]
    one.observations.use = ["sounder"]
    check(one)


def test_the_level_of_maps_is_one_of_temperature() -> None:
    one = recipe(channels=("temperature@850", "u_component_of_wind@200"))
    one.observations.use = []
    one.report.level = 200
    with pytest.raises(UserError, match=r"report.level.*found 200 hPa, .* in data.channels, 850"):
        require(one, "assimilate")
    one.data.condition_only = ["temperature"]
    require(one, "assimilate")


def test_networks_and_stores_serve_whatever_is_scored() -> None:
    plain, other = recipe(), recipe("u_component_of_wind")
    trees = to_plain(plain), to_plain(other)
    for stage in ("vae", "score", "score_pixel"):
        assert run_difference(stage, *trees) is None
    assert run_difference("assimilation", *trees).key == "data.condition_only"
    stores = [store_recipe(one.data, one.observations, one.seed) for one in (plain, other)]
    assert stores[0] == stores[1]
    # A recipe from before the key is one that leaves it empty.
    older = {**trees[0], "data": dict(trees[0]["data"])}
    del older["data"]["condition_only"]
    assert run_difference("assimilation", older, trees[0]) is None
