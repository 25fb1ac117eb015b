"""Random headers of fields: names, units, order, types, fill values, calendars, directions.

    python -m tests.faults.headers [--seed 23] [--count 500] [--only N]

Each case takes a small archive of a known layout, changes how its files describe what is in them
(1 to 3 changes of `header_changes`), and opens it. The outcome must be the values of the unchanged
archive, at the same days and places, or one sentence (`UserError`). Other values, days or places,
and any other exception, fail. Every third case is one of stations (`station_headers`), every
sixth one of imagery (`image_headers`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

from data_modules.preparation.blocks import check_block
from data_modules.sources import open_source
from data_modules.sources.canonical.form import level_dimension
from slams.config.schema import SourceConfig
from slams.fields import FieldSpec
from tests.data_modules import public_layouts
from tests.faults import image_headers, station_headers
from tests.faults.header_changes import CHANGES, HARMLESS, Archive
from tests.faults.judging import Failure, judged
from tests.synthetic import nature_run

__all__ = ["READERS", "run_case"]

_OLR, _RAIN = "outgoing_longwave_radiation", "total_precipitation_24hr"


@dataclass(frozen=True)
class Reader:
    """A layout: what writes its archive, and the channels that are read of it."""

    write: Callable[[Path], object]
    channels: tuple[str, ...]
    pattern: str
    zarr: bool = False


def _cf(folder: Path) -> None:
    latitude, longitude = public_layouts.poles_grid(7, 12)
    for year in (2001, 2002):
        hours = 24 * np.arange(4)
        plane = ("time", "lat", "lon")
        air = [public_layouts.fields(hours, latitude, longitude, 230 + k, k) for k in range(2)]
        flux = public_layouts.fields(hours, latitude, longitude, 220, year)
        rain = np.maximum(flux - 215, 0)
        xr.Dataset(
            {
                "ta": (
                    ("time", "plev", "lat", "lon"),
                    np.stack(air, axis=1),
                    {"units": "K", "standard_name": "air_temperature"},
                ),
                "rlut": (
                    plane,
                    flux,
                    {"units": "W m-2", "standard_name": "toa_outgoing_longwave_flux"},
                ),
                "pr": (
                    plane,
                    rain,
                    {"units": "mm", "standard_name": "precipitation_amount"},
                ),
            },
            coords={
                "time": np.datetime64(f"{year}-03-01", "ns") + hours * np.timedelta64(1, "h"),
                "plev": ("plev", [850.0, 500.0], {"units": "hPa", "axis": "Z"}),
                "lat": ("lat", latitude, {"standard_name": "latitude"}),
                "lon": ("lon", longitude, {"standard_name": "longitude"}),
            },
        ).to_netcdf(folder / f"cf{year}.nc")


READERS = {
    "cf": Reader(_cf, ("temperature@500", _OLR, _RAIN), "cf*.nc"),
    "era5_cds": Reader(
        public_layouts.era5_cds, ("temperature@500", "2m_temperature", _RAIN, _OLR), "*.nc"
    ),
    "noaa_psl": Reader(lambda f: public_layouts.noaa_olr(f / "olr.nc", days=5), (_OLR,), "olr.nc"),
    "cpc_gauge": Reader(
        lambda f: public_layouts.cpc_gauge(f, (2001, 2002), days=3, rows=12),
        (_RAIN,),
        "precip.*.nc",
    ),
    "weatherbench2": Reader(
        lambda f: public_layouts.weatherbench2(f / "wb2.zarr", days=3),
        ("temperature@500", "2m_temperature", _RAIN),
        "wb2.zarr",
        zarr=True,
    ),
    "arco_era5": Reader(
        lambda f: public_layouts.arco_era5(f / "arco.zarr", days=2),
        ("temperature@500", _RAIN, _OLR),
        "arco.zarr",
        zarr=True,
    ),
    "chaosbench": Reader(
        lambda f: public_layouts.chaosbench(f, days=3),
        ("temperature@500", "temperature@10"),
        "era5_full_*.zarr",
        zarr=True,
    ),
    "nature_run": Reader(
        lambda f: nature_run(days=4).to_zarr(f / "run.zarr"),
        ("temperature@500", _OLR),
        "run.zarr",
        True,
    ),
}


def run_case(seed: int, number: int, folder: Path) -> str:
    """Run one case in an empty folder.

    Returns:
        What was done and how it ended: `READER: CHANGES: read` or `...: refused: SENTENCE`.

    Raises:
        Failure: It was neither read rightly nor refused in one sentence.
    """
    draw = np.random.default_rng((seed, number))
    if number % 3 == 2:
        return station_headers.run_case(draw, folder)
    if number % 6 == 1:
        return image_headers.run_case(draw, folder)
    kind = list(READERS)[int(draw.integers(len(READERS)))]
    archive, truth = _clean(kind)
    archive = Archive(dict(archive.parts), {})
    for name in draw.choice(list(CHANGES), size=int(draw.integers(1, 4)), replace=False):
        CHANGES[name](archive, draw)
        archive.applied.append(str(name))
    label = f"{kind}: {', '.join(archive.applied)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _write(archive, folder, READERS[kind])
        except Exception as error:
            return f"{label}: not written ({type(error).__name__}: {error})"
        return judged(
            label,
            lambda: _compare(kind, folder, archive, truth),
            archive.must_refuse,
            must_read=set(archive.applied) <= HARMLESS,
        )


@cache
def _clean(kind: str) -> tuple[Archive, xr.Dataset]:
    """Return an unchanged archive in memory and what is read of it."""
    reader = READERS[kind]
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        reader.write(folder)
        parts = {}
        for path in sorted(folder.glob(reader.pattern)):
            opened = xr.open_dataset(path, engine="zarr" if reader.zarr else "netcdf4")
            parts[path.name] = opened.load().drop_encoding()
            opened.close()
        return Archive(parts), _opened(kind, folder).load()


def _opened(kind: str, folder: Path) -> xr.Dataset:
    reader = READERS[kind]
    path = folder if kind == "chaosbench" else folder / reader.pattern
    config = SourceConfig(kind=kind, path=str(path))
    return open_source(config, tuple(FieldSpec.parse(one) for one in reader.channels))


def _write(archive: Archive, folder: Path, reader: Reader) -> None:
    for name, part in archive.parts.items():
        encoding = {k: v for k, v in archive.encoding.items() if k in part.variables}
        if reader.zarr:
            part.to_zarr(folder / name, encoding=encoding, zarr_format=2, consolidated=True)
        else:
            part.to_netcdf(folder / name, encoding=encoding)


def _compare(kind: str, folder: Path, archive: Archive, truth: xr.Dataset) -> None:
    """Open, check as `slams prepare` does, and compare with what the archive was made of."""
    found = _opened(kind, folder).load()
    days = found["time"].values
    expected = truth.sel(time=[day for day in truth["time"].values if day in set(days)])
    if expected.sizes["time"] != len(days):
        raise Failure(f"found days {days}, expected of {truth['time'].values}")
    for axis in ("latitude", "longitude"):
        if found[axis].shape != truth[axis].shape or not np.allclose(
            found[axis], truth[axis], atol=1e-4
        ):
            raise Failure(f"found {axis} {found[axis].values}, expected {truth[axis].values}")
    specs = [FieldSpec.parse(one) for one in READERS[kind].channels]
    for spec in specs:
        got, like = (_channel(d, spec) for d in (found, expected))
        check_block(
            got[:, None], [spec], days, np.zeros(len(days), bool), (), [spec.name], kind, "data"
        )
        for latitude, longitude in archive.missing:
            row = np.abs(truth["latitude"].values - latitude).argmin()
            gaps = np.abs((truth["longitude"].values - longitude + 180) % 360 - 180)
            like[:, row, gaps.argmin()] = np.nan
        largest = np.nanmax(np.abs(like), initial=0.0)
        bound = (2e-3 if archive.scale else 2e-5) * largest + 1e-6
        if not np.array_equal(np.isnan(got), np.isnan(like)):
            raise Failure(f"{spec.name} is missing at other places")
        worst = np.nanmax(np.abs(got - like), initial=0.0)
        if worst > bound:
            raise Failure(f"{spec.name} differs by {worst:g}, up to {bound:g} is rounding")


def _channel(dataset: xr.Dataset, spec: FieldSpec) -> np.ndarray:
    array = dataset[spec.variable]
    level = level_dimension(array)
    if level is not None:
        array = array.sel({level: spec.level})
    return array.values.astype(np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run cases and print how they ended; return 1 if one failed."""
    parser = argparse.ArgumentParser(description="Random headers over every reader.")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--only", type=int)
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)
    ends: dict[str, int] = {}
    failures = 0
    numbers = range(chosen.count) if chosen.only is None else [chosen.only]
    begin = time.monotonic()
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            try:
                text = run_case(chosen.seed, number, Path(folder))
                end = next(e for e in ("refused", "not written", "read") if f": {e}" in text)
            except Failure as failure:
                text, end = str(failure), "FAILED"
                failures += 1
        ends[end] = ends.get(end, 0) + 1
        if end == "FAILED" or chosen.only is not None:
            print(f"case {number}: {text}\n", flush=True)
    print(f"{ends} in {time.monotonic() - begin:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
