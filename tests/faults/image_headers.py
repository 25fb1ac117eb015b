"""Random headers of imagery: gridded OLR in three layouts, swaths and tables of pixels.

Each case changes how a small archive describes what is in it, see `headers`. A day that is read
must have the values of the unchanged archive at the same places; what else is missing of it must
be counted; otherwise the archive must be refused in one sentence.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.preparation.target_grid import regular_grid
from data_modules.sources.imagery import open_imagery
from data_modules.sources.imagery.images import ImageDays, Imagery
from slams.config.schema import SatelliteConfig, SatelliteSourceConfig
from tests.data_modules.image_layouts import write_ceres, write_hirs, write_noaa
from tests.faults.header_changes import CHANGES, HARMLESS, Archive
from tests.faults.judging import Failure, judged

__all__ = ["IMAGES", "run_case"]

_FIRST, _LAST = np.datetime64("2001-03-27"), np.datetime64("2001-04-02")
_DAYS = np.arange(int(_FIRST.astype(int)), int(_LAST.astype(int)) + 1)
_LATITUDE, _LONGITUDE = np.arange(85.0, -90, -10), np.arange(5.0, 360, 10)
_TIMES = np.datetime64("2001-03-28", "ns") + np.arange(4) * np.timedelta64(1, "D")
# What a swath and a table are changed by: they have no axes.
_OF_PIXELS = ("units", "wrong_units", "no_units", "order", "types", "time_units", "odd_time")


def _fluxes(latitude: np.ndarray) -> np.ndarray:
    """Return fluxes that differ from cell to cell, with a gap."""
    y, x = np.deg2rad(latitude)[:, None], np.deg2rad(_LONGITUDE)[None]
    one = 200 + 40 * np.cos(y) + 20 * np.cos(y) * np.sin(x)
    values = one + 5.0 * np.arange(len(_TIMES))[:, None, None]
    values[1, 4:6, 7:9] = np.nan
    return values


def _noaa(path: Path) -> None:
    write_noaa(path, _TIMES, _fluxes(_LATITUDE), _LATITUDE, _LONGITUDE, packed=False)


def _ceres(path: Path) -> None:
    rows = _LATITUDE[::-1]
    write_ceres(path, _TIMES, _fluxes(rows), rows, _LONGITUDE)


def _hirs(path: Path) -> None:
    rows = _LATITUDE[::-1]
    write_hirs(path, _TIMES, _fluxes(rows), rows, _LONGITUDE)


def _pixels() -> pd.DataFrame:
    number = np.arange(200)
    return pd.DataFrame(
        {
            "time": _TIMES[number % 4] + (number % 24) * np.timedelta64(1, "h"),
            "latitude": 80.0 - 0.8 * number,
            "longitude": (37.0 * number) % 360,
            "value": 200.0 + 0.25 * number,
            "error": 4.0 + number % 3,
        }
    )


def _swath(path: Path) -> None:
    table, dims = _pixels(), ("scan", "pixel")
    value, latitude, longitude = (
        table[name].to_numpy().reshape(20, 10) for name in ("value", "latitude", "longitude")
    )
    own = {"units": "W m-2", "coordinates": "latitude longitude"}
    xr.Dataset(
        {"olr": (dims, value, own)},
        coords={
            "latitude": (dims, latitude, {"units": "degrees_north"}),
            "longitude": (dims, longitude, {"units": "degrees_east"}),
            "time": ("scan", np.sort(table["time"].to_numpy())[::10]),
        },
    ).to_netcdf(path)


def _table(path: Path) -> None:
    _pixels().to_csv(path, index=False)


# Layouts: kind of source, name of the file, what writes it.
IMAGES: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "noaa_olr": ("gridded_olr", "olr.nc", _noaa),
    "ceres_olr": ("gridded_olr", "olr.nc", _ceres),
    "hirs_olr": ("gridded_olr", "olr.nc", _hirs),
    "swath": ("pixels", "swath.nc", _swath),
    "pixel_table": ("pixels", "pixels.csv", _table),
}


def run_case(draw: np.random.Generator, folder: Path) -> str:
    """Run one case in an empty folder; see `headers.run_case`."""
    layout = list(IMAGES)[int(draw.integers(len(IMAGES)))]
    kind, name, write = IMAGES[layout]
    path, archive = folder / name, Archive({})
    if layout == "pixel_table":
        table = _changed_table(draw, archive)
        table.to_csv(path, index=False)
    else:
        write(path)
        with xr.open_dataset(path, engine="netcdf4") as opened:
            archive = Archive({name: opened.load().drop_encoding()})
        path.unlink()
        choices = [*CHANGES] if kind == "gridded_olr" else [*_OF_PIXELS, "attributes", "scalars"]
        for one in draw.choice(choices, size=int(draw.integers(1, 4)), replace=False):
            refused = archive.must_refuse
            CHANGES[one](archive, draw)
            if one == "cut":  # a part of the globe is an image, perhaps without what was wrong
                archive.must_refuse = refused and "nan_coordinate" not in archive.applied
            archive.applied.append(str(one))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                archive.first.to_netcdf(path, encoding=archive.encoding)
            except Exception as error:
                said = f"not written ({type(error).__name__}: {error})"
                return f"{layout}: {', '.join(archive.applied)}: {said}"
    harmless = set(archive.applied) <= HARMLESS | {"cut", "permuted", "added"}
    # Together they give two columns one longitude, which no archive does.
    harmless &= not {"repeated_meridian", "west"} <= set(archive.applied)
    return judged(
        f"{layout}: {', '.join(archive.applied)}",
        lambda: _compare(layout, path, archive),
        archive.must_refuse,
        must_read=harmless and not archive.must_refuse,
    )


def _changed_table(draw: np.random.Generator, archive: Archive) -> pd.DataFrame:
    """Change the columns, the spelling or one cell of a table of pixels, 1 or 2 times."""
    table = _pixels()
    for _ in range(int(draw.integers(1, 3))):
        choice = str(draw.choice(["permuted", "spelled", "dropped", "added", "cell", "zones"]))
        archive.applied.append(choice)
        if choice == "permuted":
            table = table[draw.permutation(list(table))]
        elif choice == "spelled":
            table = table.rename(columns=str.upper)
        elif choice == "dropped":
            table = table.drop(columns=str(draw.choice(list(table))))
        elif choice == "added":
            table = table.assign(remark="x")
        elif choice == "cell":
            table, name = table.astype(object), str(draw.choice(list(table)))
            # Of a value that is missing, and of another place, there is nothing to say.
            garbage = ["abc", "1e999", "é", *(["0", "", "-9999"] if name == "error" else [])]
            table.loc[int(draw.integers(len(table))), name] = str(draw.choice(garbage))
        elif "time" in table:
            table = table.assign(time=table["time"].astype(str) + "+00:00")
    return table


def _open(layout: str, path: Path) -> tuple[Imagery, ImageDays]:
    kind = IMAGES[layout][0]
    source = SatelliteSourceConfig(kind=kind, path=str(path), cell=10.0 if kind == "pixels" else 0)
    satellite = SatelliteConfig(source=source, error=5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = open_imagery(satellite, regular_grid(12, 24), _FIRST, _LAST)
        images = found.read(_DAYS)
    found.record.check()
    return found, images


@cache
def _clean(layout: str) -> tuple[Imagery, ImageDays]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / IMAGES[layout][1]
        IMAGES[layout][2](path)
        return _open(layout, path)


def _compare(layout: str, path: Path, archive: Archive) -> None:
    """Compare images with those of the unchanged archive, place by place."""
    (clean, truth), (found, images) = _clean(layout), _open(layout, path)
    rows = _places(found.grid.latitude.numpy(), clean.grid.latitude.numpy(), "latitude")
    columns = _places(
        found.grid.longitude.numpy() % 360, clean.grid.longitude.numpy(), "longitude"
    )
    expected = truth.values[:, rows][:, :, columns]
    known, wanted = np.isfinite(images.values), np.isfinite(expected)
    if IMAGES[layout][0] == "pixels":
        _compare_pixels(images, expected, known, found)
        return
    if (known & ~wanted).any():
        raise Failure(f"read {int((known & ~wanted).sum())} values in gaps")
    worst = np.abs(images.values - expected)[known].max(initial=0.0)
    bound = archive.scale + 1e-4 * 260
    if worst > bound:
        raise Failure(f"values differ by {worst:g}, up to {bound:g} is rounding")
    lost = wanted & ~known
    whole = lost.any(axis=(1, 2)) & ~known.any(axis=(1, 2))  # days that were left out of the file
    if lost[whole].any() and "dates" not in archive.applied:
        raise Failure(f"lost {int(whole.sum())} days without a word")
    rest = int(lost[~whole].sum())
    said = sum(one.number for one in found.record.left_out.records)
    holes = len(archive.missing) * len(_TIMES)
    if rest > said + holes:
        raise Failure(f"lost {rest} values without a word")


def _places(found: np.ndarray, clean: np.ndarray, name: str) -> np.ndarray:
    """Return the place of each coordinate in the unchanged ones."""
    apart = np.abs(found[:, None] - clean[None])
    if apart.min(axis=1).max() > 1e-4:
        raise Failure(f"found {name} {found}, expected of {clean}")
    return apart.argmin(axis=1)


def _compare_pixels(
    images: ImageDays, expected: np.ndarray, known: np.ndarray, found: Imagery
) -> None:
    """Compare the means of cells; a pixel that is left out and counted may change one."""
    both = known & np.isfinite(expected)
    said = sum(one.number for one in found.record.left_out.records) + len(found.record.notes)
    differ = int((np.abs(images.values - expected)[both] > 0.03).sum())
    other = int((known != np.isfinite(expected)).sum()) + differ
    if other and not said:
        raise Failure(f"{other} cells differ without a word")
    if other > 8 * max(said, 1):
        raise Failure(f"{other} cells differ, {said} pixels were left out")
