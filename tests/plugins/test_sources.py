"""Sources of another package: checked, prepared and refused as the built-in ones are."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from data_modules.preparation.block_task import BlockWork
from data_modules.store.training_store import TrainingStore
from slams.config.checks import check
from slams.config.schema import (
    Config,
    SourceConfig,
    SourceVariableConfig,
    StationQualityConfig,
    StationSourceConfig,
    StationVariableConfig,
)
from slams.errors import UserError
from slams.plugins.registry import Registry
from slams.plugins.sources import SOURCES
from slams.plugins.station_sources import STATION_SOURCES
from slams.stages.preflight import check_prerequisites
from slams.stages.sources import prepare
from tests.synthetic import CHANNELS, tiny_recipe

OLR = "outgoing_longwave_radiation"
# What the plug-in's rain is, the number in its file being 2.5.
AMOUNTS = np.float32(2.5) * (1 + np.arange(110) % 7)
PLUGIN = '''
import numpy as np
import pandas as pd
import xarray as xr

from data_modules.sources.stations.reports.table import station_reports
from slams.errors import UserError
from slams.plugins.sources import SourceSpec
from slams.plugins.station_sources import StationSourceSpec

DAYS = 110


def rain(config, channels, period, key):
    """A canonical dataset of its own: rain that falls alike everywhere, unknown in the south."""
    if config.path.endswith("dry.txt"):
        raise UserError(f"{key}.path: {config.path} is dry")
    scale = float(open(config.path).read())
    values = np.ones((DAYS, 12, 24)) * scale * (1 + np.arange(DAYS) % 7)[:, None, None]
    values[:, -1] = np.nan
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {"total_precipitation_24hr": (dims, values.astype(np.float32))},
        coords={
            "time": 11323.0 + np.arange(DAYS),
            "latitude": 82.5 - 15.0 * np.arange(12),
            "longitude": 15.0 * np.arange(24),
        },
        attrs={"repairs": [], "time": "totals"},
    )


class Rain:
    spec = SourceSpec(
        "even_rain", rain, "a text file with one number", gaps=("total_precipitation_24hr",)
    )


def thermometers(config, variables, first, last, key):
    days = np.arange(first, last + np.timedelta64(1, "D"))
    hours = np.arange(0, 24, 6) * np.timedelta64(1, "h")
    time = (days.astype("datetime64[h]")[:, None] + hours).reshape(-1).astype("datetime64[ns]")
    table = pd.DataFrame({"time": time, "variable": "2m_temperature"})
    table = table.assign(station_id="ONE", latitude=52.5, longitude=30.0, elevation=1.0)
    return station_reports(table.assign(value=280.0), config.path, key, {"day": "UTC"})


THERMOMETERS = StationSourceSpec(
    "thermometers", thermometers, variables=("2m_temperature",), needs_station_list=True
)
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Admit a source of fields and one of stations, as the user would by naming them."""
    (tmp_path / "weather.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    for registry, reference in (
        (SOURCES, "weather:Rain"),
        (STATION_SOURCES, "weather:THERMOMETERS"),
    ):
        # What a test admits is forgotten with it.
        monkeypatch.setattr(registry, "_found", dict(registry._found))
        registry.admit(reference, "data.source.kind")
    yield
    del sys.modules["weather"]


def even_rain(directory: Path, kind: str = "even_rain", **keys: object) -> SourceConfig:
    (directory / "rain.txt").write_text("2.5")
    return SourceConfig(kind, str(directory / "rain.txt"), **keys)


def rain_recipe(directory: Path, source: SourceConfig) -> Config:
    config = tiny_recipe(directory, "", channels=[CHANNELS[2]])
    config.data.source = source
    return replace(config, observations=replace(config.observations, use=[]))


def warm_recipe(directory: Path, source: Path, kind: str, **keys: object) -> Config:
    config = tiny_recipe(directory, source, channels=["2m_temperature", CHANNELS[0]])
    return with_stations(config, kind, **keys)


def with_stations(config: Config, kind: str, **keys: object) -> Config:
    stations = replace(
        config.observations.stations,
        variables=[StationVariableConfig("2m_temperature", 0.5)],
        source=StationSourceConfig(kind, **keys),
    )
    observations = replace(
        config.observations, use=["stations"], source="store", stations=stations
    )
    return replace(config, observations=observations)


def prepared(recipe: Config) -> TrainingStore:
    """Check and prepares a recipe, in the order of the command."""
    check(recipe)
    check_prerequisites(recipe, "prepare")
    return TrainingStore.open(prepare(recipe))


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("kind", ["even_rain", "weather:Rain"])
def test_a_source_of_fields_alone(tmp_path: Path, kind: str) -> None:
    recipe = rain_recipe(tmp_path, even_rain(tmp_path, kind))
    store = prepared(recipe)
    values = store.read(slice(None))[:, 0]
    np.testing.assert_array_equal(values[:, 0, 0], AMOUNTS)
    assert np.ptp(values[:, :-1], axis=(1, 2)).max() == 0
    # Its specification says that values may be missing.
    assert np.isnan(values[:, -1]).all()
    assert store.attributes["gaps"] == [CHANNELS[2]]
    assert store.attributes["sources"][0]["kind"] == kind


@pytest.mark.usefixtures("plugin")
def test_a_source_among_others_and_stations(tmp_path: Path, tiny_source: Path) -> None:
    recipe = tiny_recipe(tmp_path, "", channels=["2m_temperature", OLR, CHANNELS[2]])
    recipe.data.source = SourceConfig()
    recipe.data.sources = [
        SourceConfig(path=str(tiny_source), channels=["2m_temperature", OLR]),
        even_rain(tmp_path, channels=[CHANNELS[2]]),
    ]
    recipe = with_stations(
        recipe,
        "weather:THERMOMETERS",
        path=str(tiny_source),
        station_list=str(tiny_source),
        qc=StationQualityConfig(buddy_km=0.0),
    )
    store = prepared(recipe)
    np.testing.assert_array_equal(store.read(slice(None))[:, 2, 5, 7], AMOUNTS)
    stations = zarr.open_group(recipe.data.store, mode="r")["stations"]
    np.testing.assert_allclose(stations[:], np.full((110, 1, 1), 280.0))


@pytest.mark.usefixtures("plugin")
def test_they_are_checked_by_their_specification(tmp_path: Path) -> None:
    def refused(match: str, source: SourceConfig) -> None:
        with pytest.raises(UserError, match=match):
            prepared(rain_recipe(tmp_path, source))

    rain = even_rain(tmp_path)
    refused(r"data\.source\.kind'.*did you mean 'even_rain'", replace(rain, kind="even_rains"))
    refused(r"data\.source\.files'.*kind even_rain", replace(rain, files=["a"]))
    described = [SourceVariableConfig(CHANNELS[2])]
    refused(r"data\.source\.variables'.*layout is known", replace(rain, variables=described))
    refused(
        r"data\.source\.path'.*none: found no such file or directory, expected a text file with "
        r"one number",
        replace(rain, path=str(tmp_path / "none")),
    )
    (tmp_path / "dry.txt").write_text("0")
    refused(r"data\.source\.path: .* is dry", replace(rain, path=str(tmp_path / "dry.txt")))
    refused(r"'weather:Other', which is not allowed", replace(rain, kind="weather:Other"))


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"kind": "thermometer"}, r"stations\.source\.kind'.*did you mean 'thermometers'"),
        ({"kind": "thermometers"}, r"path'.*found nothing"),
        ({"kind": "thermometers", "path": "x"}, r"station_list'.*thermometers takes positions"),
        ({"kind": "weather:Other"}, r"'weather:Other', which is not allowed"),
    ],
)
def test_stations_are_checked_by_their_specification(
    tmp_path: Path, tiny_source: Path, keys: dict[str, str], match: str
) -> None:
    recipe = warm_recipe(tmp_path, tiny_source, **keys)
    with pytest.raises(UserError, match=match):
        check(recipe)


@pytest.mark.usefixtures("plugin")
def test_stations_report_what_their_specification_says(tmp_path: Path, tiny_source: Path) -> None:
    recipe = warm_recipe(tmp_path, tiny_source, "thermometers", path="x", station_list="y")
    recipe.observations.stations.variables = [StationVariableConfig(CHANNELS[0])]
    with pytest.raises(UserError, match=r"variables\.0.*thermometers reports: 2m_temperature"):
        check(recipe)


def test_specifications_import_nothing_heavy() -> None:
    """A recipe is checked by what they say before numpy and xarray are there."""
    code = (
        "import sys; from slams.plugins.sources import SOURCES; "
        "from slams.plugins.station_sources import STATION_SOURCES; "
        "print(len(SOURCES.built_in()), len(STATION_SOURCES.built_in())); "
        "print([m for m in ('torch', 'zarr', 'xarray', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["10 8", "[]"]


@pytest.mark.parametrize("registry", [SOURCES, STATION_SOURCES])
def test_every_module_of_the_package_is_a_source(registry: Registry) -> None:
    assert [spec.name for spec in registry.built_in()] == list(registry.names())
    help_text = Path(sys.modules[SourceConfig.__module__].__file__).parent
    described = (help_text / "data.py").read_text() + (help_text / "observations.py").read_text()
    assert [name for name in registry.names() if f"`{name}`" not in described] == []


def test_a_block_task_takes_plug_ins_to_the_process_it_is_sent_to(
    plugin: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = rain_recipe(tmp_path, even_rain(tmp_path))
    sent = pickle.dumps(BlockWork(recipe.data, tmp_path / "partial", 64))
    # Another process knows the built-in ones alone.
    monkeypatch.setattr(SOURCES, "_found", {})
    assert "even_rain" not in SOURCES.names()
    assert pickle.loads(sent).data.source.kind == "even_rain"
    assert SOURCES.get("even_rain", "data.source.kind").name == "even_rain"
