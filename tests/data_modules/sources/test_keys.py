"""Refusals name the section of the recipe that describes the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import data_modules
from data_modules.preparation.blocks import check_block
from data_modules.preparation.regridding import Regridder
from data_modules.preparation.target_grid import regular_grid, target_grid
from data_modules.sources import open_source
from data_modules.sources.stations import open_station_parts
from slams.config.schema import (
    SourceConfig,
    SourceDimensionsConfig,
    StationSourceConfig,
)
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import chaosbench
from tests.data_modules.sources.stations.archives import FIRST, LAST, metar_rows, write_lines
from tests.synthetic import nature_run

KEY = "data.sources.1"
OLR, RAIN = "outgoing_longwave_radiation", "total_precipitation_24hr"
RUN = nature_run(days=4, rows=6, columns=12)


def zarr_run(directory: Path, dataset: xr.Dataset = RUN) -> str:
    dataset.to_zarr(directory / "run.zarr", zarr_format=3, consolidated=False)
    return str(directory / "run.zarr")


def netcdf(directory: Path, *datasets: xr.Dataset) -> list[str]:
    paths = [str(directory / f"{number}.nc") for number in range(len(datasets))]
    for path, dataset in zip(paths, datasets, strict=True):
        dataset.to_netcdf(path)
    return paths


def hourly() -> xr.Dataset:
    """Make a file with two steps per day that does not state what they cover."""
    hours = np.arange(4) * np.timedelta64(12, "h")
    return RUN.assign_coords(time=RUN["time"].values[0] + hours)


def amounts() -> xr.Dataset:
    """Make a file of amounts at two instants per day, which is impossible."""
    attributes = {"units": "mm", "cell_methods": "time: point"}
    return hourly()[[RAIN]].map(lambda rain: rain.assign_attrs(attributes))


def unnamed() -> xr.Dataset:
    """Make a file with 2 m temperature under two other names."""
    attributes = {"units": "K", "standard_name": "air_temperature"}
    warm = RUN["2m_temperature"].assign_attrs(attributes)
    return xr.Dataset({"a": warm, "b": warm})


def broken(directory: Path, name: str) -> str:
    (directory / name).write_text("nothing of the kind")
    return str(directory / name)


def folder(directory: Path) -> str:
    (directory / "folder.nc").mkdir()
    return str(directory / "folder.nc")


def psl(path: str, **keys: object) -> SourceConfig:
    return SourceConfig("noaa_psl", path, **keys)


def cf(path: str, **keys: object) -> SourceConfig:
    return SourceConfig("cf", path, **keys)


Case = tuple[Callable[[Path], SourceConfig], str, str]
CASES: dict[str, Case] = {
    "unknown kind": (lambda d: SourceConfig("grib"), OLR, "kind"),
    "every channel absent": (
        lambda d: SourceConfig(path=zarr_run(d), absent=[OLR]),
        OLR,
        "absent",
    ),
    "a variable missing": (
        lambda d: SourceConfig(path=zarr_run(d, RUN.drop_vars(OLR))),
        OLR,
        "absent",
    ),
    "steps of unknown hours": (
        lambda d: cf(*netcdf(d, hourly())),
        "2m_temperature",
        "variables",
    ),
    "an amount of unknown hours": (
        lambda d: cf(*netcdf(d, amounts())),
        RAIN,
        "variables",
    ),
    "no nature run": (lambda d: SourceConfig(path=str(d / "none")), OLR, "path"),
    "a nature run that is none": (lambda d: SourceConfig(path=broken(d, "x")), OLR, "path"),
    "no store": (lambda d: SourceConfig("weatherbench2", str(d / "none")), OLR, "path"),
    "a store that is none": (lambda d: SourceConfig("arco_era5", broken(d, "x")), OLR, "path"),
    "no directory": (
        lambda d: SourceConfig("chaosbench", str(d / "none")),
        "temperature@850",
        "path",
    ),
    "no file": (lambda d: psl(str(d / "none.nc")), OLR, "path"),
    "where a file comes from": (lambda d: psl(str(d / "none.nc")), OLR, "origin"),
    "no file of several": (lambda d: psl("", files=[str(d / "none.nc")]), OLR, "files"),
    "no gauges": (
        lambda d: SourceConfig("cpc_gauge", str(d / "*.nc")),
        RAIN,
        "path",
    ),
    "a pattern of addresses": (lambda d: psl("https://host/olr.*.nc"), OLR, "files"),
    "a file that is none": (lambda d: psl(broken(d, "x.nc")), OLR, "path"),
    "a directory": (lambda d: psl(folder(d)), OLR, "path"),
    "files of different grids": (
        lambda d: psl("", files=netcdf(d, RUN, RUN.assign_coords(longitude=RUN["longitude"] + 1))),
        OLR,
        "path",
    ),
    "files of different variables": (
        lambda d: psl("", files=netcdf(d, RUN, RUN.drop_vars(OLR))),
        OLR,
        "path",
    ),
    "files of different units": (
        lambda d: psl(
            "", files=netcdf(d, RUN, RUN.assign({OLR: RUN[OLR].assign_attrs(units="K")}))
        ),
        OLR,
        "path",
    ),
    "two stores": (
        lambda d: cf("", files=[zarr_run(d), str(d)]),
        OLR,
        "path",
    ),
    "no such dimension": (
        lambda d: cf(*netcdf(d, RUN), dimensions=SourceDimensionsConfig(time="when")),
        OLR,
        "dimensions.time",
    ),
    "no standard name": (lambda d: cf(*netcdf(d, RUN.drop_vars(OLR))), OLR, "variables"),
    "one standard name twice": (
        lambda d: cf(*netcdf(d, unnamed())),
        "2m_temperature",
        "variables",
    ),
    "a field without fields": (
        lambda d: SourceConfig("no_fields", "2001-01-01/2001-01-02"),
        OLR,
        "absent",
    ),
    "no days": (lambda d: SourceConfig("no_fields", "soon", absent=[OLR]), OLR, "path"),
    "days in the wrong order": (
        lambda d: SourceConfig("no_fields", "2001-01-02/2001-01-01", absent=[OLR]),
        OLR,
        "path",
    ),
}


def names(sentence: str, key: str) -> None:
    """Check that a refusal names a key of this source, and of no other."""
    assert key in sentence
    assert "data.source." not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("name", CASES)
def test_refusals_name_their_own_key(tmp_path: Path, name: str) -> None:
    config, channel, key = CASES[name]
    found = config(tmp_path)
    with pytest.raises(UserError) as caught:
        open_source(found, (FieldSpec.parse(channel),), None, KEY)
    names(str(caught.value), f"{KEY}.{key}")


def test_missing_extra_names_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    for config in (SourceConfig("weatherbench2", "gs://bucket/x.zarr"), psl("https://host/x.nc")):
        with pytest.raises(UserError) as caught:
            open_source(config, (FieldSpec.parse(OLR),), None, KEY)
        names(str(caught.value), f"{KEY}.path")


def test_days_that_no_fields_lacks_name_its_path() -> None:
    config = SourceConfig("no_fields", "2001-01-01/2001-01-02", absent=[OLR])
    with pytest.raises(UserError, match=rf"data\.period: .*{KEY}\.path"):
        open_source(config, (FieldSpec.parse(OLR),), (0.0, 1.0), KEY)


def test_a_store_that_is_lost_after_opening_names_the_source(tmp_path: Path) -> None:
    """The day is read long after the source was opened, and the error still names the source."""
    chaosbench(tmp_path, days=2)
    root = next(tmp_path.rglob("*.zarr")).parent
    config = SourceConfig("chaosbench", str(root))
    dataset = open_source(config, (FieldSpec.parse("temperature@850"),), None, KEY)
    store = sorted(root.glob("*.zarr"))[-1]
    store.rename(store.with_suffix(".gone"))
    with pytest.raises(UserError) as caught:
        dataset["temperature"].compute(scheduler="synchronous")
    names(str(caught.value), f"{KEY}.path")


def test_grids_and_gaps_name_the_source(tmp_path: Path) -> None:
    source = xr.Dataset(coords={"latitude": [45.0, -45.0], "longitude": [0.0, 90, 180, 270]})
    for grid in ("1x3", "nowhere", broken(tmp_path, "x.nc")):
        with pytest.raises(UserError) as caught:
            target_grid(SourceConfig(grid=grid), source, KEY)
        names(str(caught.value), f"{KEY}.grid")
    with pytest.raises(UserError) as caught:
        Regridder(regular_grid(4, 8), regular_grid(4, 8), "cubic", KEY)
    names(str(caught.value), f"{KEY}.regrid")
    channels, time = (FieldSpec.parse(OLR),), np.zeros(1)
    for columns in (1, 4):
        values = np.full((1, 1, 2, 4), 200.0, dtype=np.float32)
        values[..., :columns] = np.nan
        with pytest.raises(UserError) as caught:
            check_block(values, channels, time, np.ones(1, bool), (), (), "x", KEY)
        names(str(caught.value), f"{KEY}.gaps")


ELSEWHERE = "observations.elsewhere"


@pytest.mark.parametrize(
    ("keys", "variable", "key"),
    [
        ({"kind": "ghcn"}, "2m_temperature", "kind"),
        ({"kind": "isd", "path": "none"}, "2m_temperature", "path"),
        ({"kind": "metar", "path": "none"}, "2m_temperature", "path"),
        ({"kind": "arm_column", "path": "none"}, "2m_temperature", "path"),
        ({"kind": "igra2", "path": "none"}, "temperature", "path"),
        ({"kind": "igra2", "station_list": "none"}, "temperature", "station_list"),
        ({"kind": "igra2", "station_list": "bad.txt"}, "temperature", "station_list"),
        ({"kind": "ghcn_daily", "path": "none"}, "2m_temperature", "station_list"),
        ({"kind": "ghcn_daily", "station_list": "none"}, "2m_temperature", "station_list"),
        ({"kind": "ghcn_daily", "station_list": "bad.txt"}, "2m_temperature", "station_list"),
        ({"kind": "ghcn_daily", "elements": ["WIND"]}, "2m_temperature", "elements"),
        ({"kind": "isd_lite", "path": "none"}, "2m_temperature", "station_list"),
        ({"kind": "isd_lite", "station_list": "bad.txt"}, "2m_temperature", "station_list"),
        ({"kind": "metar", "elements": ["wind"]}, "2m_temperature", "elements"),
        ({"kind": "metar", "path": "metar.parquet"}, "temperature", "kind"),
    ],
)
def test_refusals_of_stations_name_their_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict, variable: str, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "bad.txt", ["a line of nothing"])
    metar_rows().to_parquet("metar.parquet", index=False)
    with pytest.raises(UserError) as caught:
        list(open_station_parts(StationSourceConfig(**keys), [variable], FIRST, LAST, ELSEWHERE))
    sentence = str(caught.value)
    assert f"{ELSEWHERE}.{key}" in sentence
    assert "stations.source" not in sentence


def test_an_archive_without_values_names_its_own_key(tmp_path: Path) -> None:
    metar_rows().to_parquet(tmp_path / "metar.parquet", index=False)
    config = StationSourceConfig("metar", str(tmp_path / "metar.parquet"))
    late = np.datetime64("2031-01-01")
    with pytest.raises(UserError, match=rf"no value of .*{ELSEWHERE}\.path"):
        list(open_station_parts(config, ["2m_temperature"], late, late, ELSEWHERE))


def test_no_reader_knows_a_key_of_its_own() -> None:
    """Messages use the key that is passed in: no text names a section of the recipe."""
    root = Path(data_modules.__file__).parent
    files = [*(root / "sources").rglob("*.py")]
    files += [root / "preparation" / f"{n}.py" for n in ("blocks", "regridding", "target_grid")]
    found = []
    for path in files:
        tree = ast.parse(path.read_text())
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and isinstance(node.body[0], ast.Expr)
        }
        defaults = {
            id(default)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            for default in node.args.defaults
        }
        found += [
            f"{path.name}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documents | defaults
            and ("data.source" in node.value or "stations.source" in node.value)
            and not node.value.startswith("data_modules.")
        ]
    assert found == []
