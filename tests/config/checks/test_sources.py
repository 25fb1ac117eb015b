"""Keys of sources: what contradicts itself is refused before anything is opened."""

from __future__ import annotations

from importlib import import_module

import pytest

from data_modules.store.identity import store_difference, store_recipe
from slams.config.checks import check
from slams.config.loading import to_plain
from slams.config.schema import Config, SourceConfig, SourceDimensionsConfig, SourceVariableConfig
from slams.errors import UserError
from slams.plugins.registry import Registry
from slams.plugins.sources import SOURCES
from slams.plugins.station_sources import STATION_SOURCES
from slams.runs.provenance import depends, flatten, run_difference


def recipe(**keys: object) -> Config:
    config = Config()
    config.data.source = SourceConfig(**keys)
    return config


@pytest.mark.parametrize(
    ("registry", "package", "verb"),
    [
        (SOURCES, "data_modules.sources.readers", "open"),
        (STATION_SOURCES, "data_modules.sources.stations.readers", "read"),
    ],
    ids=["fields", "stations"],
)
def test_every_kind_has_a_reader(registry: Registry, package: str, verb: str) -> None:
    assert registry.names()
    for name in registry.names():
        assert callable(getattr(import_module(f"{package}.{name}"), f"{verb}_{name}"))


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"kind": "weatherbench"}, r"data\.source\.kind'.*did you mean 'weatherbench2'"),
        ({"daily": "noon"}, r"data\.source\.daily'.*'noon'.*instant, mean"),
        (
            {"variables": [SourceVariableConfig("temperature", "t")]},
            r"data\.source\.variables'.*kind nature_run, whose layout is known",
        ),
        (
            {"dimensions": SourceDimensionsConfig(time="t")},
            r"data\.source\.variables'.*whose layout is known",
        ),
        (
            {"kind": "cf", "variables": [SourceVariableConfig("wind", "u")]},
            r"variables\.0\.variable'.*'wind'",
        ),
        (
            {"kind": "cf", "variables": [SourceVariableConfig("temperature", factor=0)]},
            r"variables\.0\.factor'.*a number not 0",
        ),
        (
            {"kind": "cf", "variables": [SourceVariableConfig("temperature", hours=48)]},
            r"variables\.0\.hours'.*found 48, expected 0 to 24",
        ),
        (
            {"kind": "cf", "variables": [SourceVariableConfig("temperature", stamp="noon")]},
            r"variables\.0\.stamp'.*'noon'",
        ),
        (
            {"kind": "cf", "variables": [SourceVariableConfig("temperature")] * 2},
            r"variables'.*temperature is listed twice",
        ),
        ({"files": ["a.nc"]}, r"data\.source\.files'.*kind nature_run.*data\.source\.path"),
        ({"channels": ["temperature"]}, r"data\.source\.channels'.*gives all of data\.channels"),
    ],
)
def test_contradictions_are_refused(keys, match):
    with pytest.raises(UserError, match=match):
        check(recipe(**keys))


def test_keys_at_their_defaults_leave_older_stores_valid():
    """A store that was prepared before there were such keys is of the same recipe."""
    config = recipe()
    found = store_recipe(config.data, config.observations, config.seed)
    assert set(found["source"]) == {
        "kind",
        "path",
        "origin",
        "grid",
        "regrid",
        "absent",
        "gaps",
    }
    assert "sources" not in found
    changed = store_recipe(recipe(daily="mean").data, config.observations, config.seed)
    assert "daily" in store_difference(found, changed)


def test_origin_of_a_source_does_not_make_another_run():
    one, other = Config(), Config()
    for config, origin in ((one, "here"), (other, "there")):
        config.data.sources = [SourceConfig(origin=origin, channels=["temperature"])]
    assert run_difference("vae", to_plain(one), to_plain(other)) is None
    other.data.sources[0].daily = "mean"
    assert run_difference("vae", to_plain(one), to_plain(other)).key == "data.sources"
    assert depends("vae", "data.sources")
    assert "origin" not in str(flatten(to_plain(one))["data.sources"])
