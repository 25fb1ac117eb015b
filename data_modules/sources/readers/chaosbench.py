"""Reader of ChaosBench's ERA5: a directory with one Zarr store per day.

Layout (https://github.com/leap-stc/ChaosBench): `era5_full_1.5deg_YYYYMMDD.zarr` (Zarr 2), each
with `t` (K), `u`, `v` (m s-1), `q` (kg kg-1) and others on (level 10: 10..1000 hPa, latitude 121:
90..-90, longitude 240: 0..358.5) at 00 UTC; `time` is one date without a dimension, or a dimension
of one. Values may be packed as int16 with a different scale in each store.

Repaired and recorded: order of dimensions and directions, as in `sources.canonical`. Refused: a
missing day between others or in `data.period`; a store whose grid, levels or units differ from
the first; one whose `time` is not the date in its name; two stores of one date; a directory
without any such store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.canonical.units import same_units
from data_modules.sources.files.joining import same_coordinate
from data_modules.sources.files.opening import open_zarr
from slams.calendar.days import day_of
from slams.errors import UserError

__all__ = ["open_chaosbench"]

_NAME = re.compile(r".*_(\d{4})(\d{2})(\d{2})\.zarr")
_LAYOUT = {
    "temperature": VariableLayout("t", units="K"),
    "u_component_of_wind": VariableLayout("u", units="m s**-1"),
    "v_component_of_wind": VariableLayout("v", units="m s**-1"),
    "specific_humidity": VariableLayout("q", units="kg kg**-1"),
}


def open_chaosbench(reading: Reading) -> xr.Dataset:
    """Open the daily stores of a directory lazily, each when its day is read.

    Args:
        reading: What is requested: temperature, winds, humidity; `config.path` is the directory
            `era5`.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: A day is missing, a store differs from the first, or the dataset cannot be
            made canonical.
    """
    days, stores = _daily_stores(reading)
    first = _open_day(stores[0], days[0], reading.key)
    variables = {}
    for name in first.data_vars:
        inner = _StoresArray(stores, days, str(name), first[name], reading.key)
        lazy = indexing.LazilyIndexedArray(inner)
        variables[name] = xr.Variable(("time", *first[name].dims), lazy, first[name].attrs)
    coords: dict[str, Any] = {n: c for n, c in first.coords.items() if n in first.dims}
    dataset = xr.Dataset(variables, coords={"time": days.astype("datetime64[ns]"), **coords})
    return canonicalise(dataset, _LAYOUT, reading)


class _StoresArray(BackendArray):
    """Lazy array of one variable, read from the stores of the selected days."""

    def __init__(
        self, stores: Sequence[Path], days: np.ndarray, name: str, like: xr.DataArray, key: str
    ) -> None:
        self._stores, self._days, self._name, self._key = list(stores), days, name, key
        self._dims, self._units = like.dims, like.attrs.get("units")
        self._places = {d: like[d].load() for d in like.dims if d in like.coords}
        self.shape = (len(self._stores), *like.shape)
        self.dtype = like.dtype

    def __getitem__(self, key: Any) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Read the selected days; each part of the key is a number, a slice or an array."""
        numbers, inner = np.arange(self.shape[0])[key[0]], key[1:]
        days = [self._day(int(n)).variable[inner].values for n in np.atleast_1d(numbers)]
        return np.stack(days) if np.ndim(numbers) else days[0]

    def _day(self, number: int) -> xr.DataArray:
        store, day = self._stores[number], self._days[number]
        dataset = _open_day(store, day, self._key)
        if self._name not in dataset:
            raise UserError(f"source {store}: variable {self._name!r} is missing")
        array = dataset[self._name]
        same = array.dims == self._dims and same_units(array.attrs.get("units"), self._units)
        for dim, values in self._places.items():
            same = same and dim in array.coords and same_coordinate(array[dim], values)
        if not same:
            raise UserError(
                f"source {store}: {self._name} has other dimensions, coordinates or units than in "
                f"{self._stores[0].name}"
            )
        return array


def _daily_stores(reading: Reading) -> tuple[np.ndarray, list[Path]]:
    """Return dates and stores in order; refuse a missing day."""
    folder = Path(reading.path)
    if not folder.is_dir():
        raise UserError(
            f"{reading.key}.path: {folder} does not exist; expected a directory with one Zarr "
            f"store per day, era5_full_1.5deg_YYYYMMDD.zarr"
        )
    found: dict[np.datetime64, Path] = {}
    for store in sorted(folder.iterdir()):
        match = _NAME.fullmatch(store.name)
        if not match:
            continue
        try:
            day = np.datetime64("-".join(match.groups()), "D")
        except ValueError:
            raise reading.fault(f"{store.name} has no date in its name") from None
        if day in found:
            raise reading.fault(f"{day} has two stores, {found[day].name} and {store.name}")
        found[day] = store
    if not found:
        raise reading.fault("found no daily store, expected era5_full_1.5deg_YYYYMMDD.zarr")
    first, last = min(found), max(found)
    if reading.period is not None:
        first, last = (np.datetime64(day_of(day), "D") for day in reading.period)
    wanted = np.arange(first, last + np.timedelta64(1, "D"))
    missing = [day for day in wanted if day not in found]
    if missing:
        prefix = next(iter(found.values())).name.rpartition("_")[0]
        name = f"{prefix}_{str(missing[0]).replace('-', '')}.zarr"
        raise reading.fault(
            f"{name} is missing ({len(missing)} of {len(wanted)} days from {first} to {last} "
            f"are); complete the directory, or select other days with data.period"
        )
    return wanted, [found[day] for day in wanted]


def _open_day(store: Path, day: np.datetime64, key: str) -> xr.Dataset:
    dataset = open_zarr(str(store), "a daily store of ChaosBench", key)
    if "time" in dataset.variables:
        if dataset["time"].size != 1:
            raise UserError(f"source {store}: found {dataset['time'].size} dates, expected one")
        time = dataset["time"].values.reshape(-1)[0]
        if np.datetime64(time, "D") != day:
            raise UserError(
                f"source {store}: its time is {np.datetime_as_string(time, unit='h')}, expected "
                f"the date in its name"
            )
        if "time" in dataset.dims:
            dataset = dataset.isel(time=0)
    return dataset.drop_vars("time", errors="ignore")
