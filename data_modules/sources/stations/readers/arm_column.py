"""Reader of ARM's constrained variational analyses of one column (NetCDF).

Up to four quantities at one location: temperature on pressure levels and near the surface,
precipitation, and outgoing longwave radiation. Campaigns differ in names, units, levels and steps:
each quantity is found by the names in ARM's documents, otherwise by its `long_name`, and converted
from the units that the file states. What was taken is printed, and recorded in the store.

Precipitation is the mean, or the amount, of the interval that ends with the step. -9999, -8888 and
fill values are missing; the elevation is the geopotential of the ground `phis` (m2 s-2), or `alt`
(m).

Source: the files of summer 1997 (`Temp`, `Ts_Air`, `Prec`, `TOA_LW_Up`), and, for later campaigns,
public readers of `varana` files (`T`, `T_srf`, `prec_srf`, `lw_net_toa`); the documents themselves
(https://www.arm.gov/capabilities/science-data-products/vaps/varanal) could not be read here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.sources.canonical.units import conversion, examples, level_factor
from data_modules.sources.files.opening import refused
from data_modules.sources.stations.reports.columns import numbers
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.table import StationReports
from slams.errors import UserError
from slams.runtime.ranks import say
from slams.variables import UNITS

__all__ = ["read_arm_column"]

_GRAVITY = 9.80665
_MISSING = "missing values left out"
_RAIN = "total_precipitation_24hr"


@dataclass(frozen=True)
class _Quantity:
    """How a quantity is found.

    Attributes:
        names: Names in ARM's documents, by preference.
        words: Pattern of its `long_name`.
        units: Usual units, for messages.
        on_levels: Whether it has levels.
    """

    names: tuple[str, ...]
    words: str
    units: str
    on_levels: bool = False


_QUANTITIES = {
    "temperature": _Quantity(("Temp", "T", "temp"), r"^(air )?temperature\b", "K", True),
    "2m_temperature": _Quantity(
        ("Ts_Air", "T_srf", "Tsair"), r"\b(surface|srf|2 ?-?m(eters?)?) air temperature", "C"
    ),
    _RAIN: _Quantity(("Prec", "prec_srf"), r"\bprecipitation\b|\brain", "mm/hour"),
    "outgoing_longwave_radiation": _Quantity(
        ("TOA_LW_Up", "lw_net_toa", "lw_up_toa"),
        r"toa .*(lw|longwave).*\b(up|net)|(lw|longwave).*\b(up|net)\w* .*toa|outgoing longwave",
        "W/m2",
    ),
}
_LATITUDE, _LONGITUDE = ("y", "lat", "latitude"), ("x", "lon", "longitude")


def read_arm_column(request: ReportRequest) -> StationReports:
    """Read the reports of a column.

    Args:
        request: What is requested; `config.path` is a NetCDF file, a directory of them, or a
            pattern.

    Raises:
        UserError: A file is not such a column, or a quantity is missing or has unknown units.
    """
    variables = [variable for variable in request.variables if variable in _QUANTITIES]
    parts, taken = [], {}
    for file in request.files(".cdf", ".nc"):
        column = _open(file)
        for variable in variables:
            part, words = _read(column, variable, file, request)
            parts.append(part)
            taken[variable] = words
    if taken:
        say(f"{request.config.path}: {'; '.join(f'{k} from {v}' for k, v in taken.items())}")
    return request.reports(
        parts,
        {
            "day": "UTC; instants, precipitation over the interval that ends with the step",
            **{f"{variable} from": words for variable, words in taken.items()},
        },
    )


def _read(
    column: xr.Dataset, variable: str, file: Path, request: ReportRequest
) -> tuple[pd.DataFrame, str]:
    """Return the reports of a quantity, and a description of what it was read from."""
    array = _find(column, variable, file)
    name, stated = str(array.name), str(array.attrs.get("units", "")).strip()
    target = UNITS[variable]
    unit = conversion(stated, target) if stated else None
    if unit is None:
        raise UserError(
            f"station archive {file}: {name} has units {array.attrs.get('units')!r}, expected "
            f"{_QUANTITIES[variable].units} (or {examples(target)})"
        )
    time = _times(column, file)
    hours = _step(time, file) if variable == _RAIN else 0.0
    (dimension,) = [d for d in array.dims if d != "time"] or [None]
    values = array.transpose("time", ...).values.reshape(len(time), -1)
    levels = [np.nan] if dimension is None else _levels(column, str(dimension), file)
    found = []
    for level, own in zip(levels, values.T, strict=True):
        value = numbers(pd.Series(own))
        value = value * unit.factor + unit.offset
        if variable == _RAIN and not unit.amount:
            value = value * (hours / 24)  # from a rate per day
        part = pd.DataFrame({"time": time, "hours": hours, "variable": variable, "level": level})
        found.append(part.assign(value=value.to_numpy()))
    table = pd.concat(found, ignore_index=True)
    words = f"{name} ({stated}"
    if variable == "outgoing_longwave_radiation" and table["value"].mean() < 0:
        # The net flux is downward in some files; what leaves the Earth is positive.
        table["value"] = -table["value"]
        words += ", with its sign changed"
    words += f", {array.attrs['long_name']})" if "long_name" in array.attrs else ")"
    request.repairs[_MISSING] += int(table["value"].isna().sum())
    table = request.inside(table.dropna(subset="value"))
    return table.assign(**_place(column, file)), words


def _open(file: Path) -> xr.Dataset:
    """Open the column without its horizontal dimensions."""
    wrong = f"station archive {file}: cannot be read as NetCDF"
    with refused(wrong), warnings.catch_warnings():
        # There are two fill values, both of which mean missing.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        column = xr.open_dataset(file, engine="netcdf4", decode_timedelta=False).load()
    for names in (_LATITUDE, _LONGITUDE):
        for name in names:
            if column.sizes.get(name, 1) != 1:
                raise UserError(f"station archive {file}: found several columns, expected one")
    return column.squeeze([d for d in (*_LATITUDE, *_LONGITUDE) if d in column.dims])


def _find(column: xr.Dataset, variable: str, file: Path) -> xr.DataArray:
    """Return a quantity by its name, otherwise by its long name."""
    quantity = _QUANTITIES[variable]
    dimensions = 2 if quantity.on_levels else 1

    def fits(array: xr.DataArray) -> bool:
        return array.ndim == dimensions and "time" in array.dims

    for name in quantity.names:
        if name in column and fits(column[name]):
            return column[name]
    found = [
        name
        for name, array in column.data_vars.items()
        if fits(array)
        and re.search(quantity.words, str(array.attrs.get("long_name", "")), re.IGNORECASE)
    ]
    if len(found) == 1:
        return column[found[0]]
    what = f"{', '.join(map(str, found))} all have" if found else "no variable has"
    raise UserError(
        f"station archive {file}: {variable}: {quantity.names[0]!r} is missing, and {what} the "
        f"long_name of it, expected one of {', '.join(quantity.names)}; found "
        f"{', '.join(map(str, list(column.variables)[:8]))}..."
    )


def _times(column: xr.Dataset, file: Path) -> np.ndarray:
    """Return the times, `(n,)` datetime64[ns] UTC, to the minute."""
    time = column.get("time")
    if time is None or not np.issubdtype(time.dtype, np.datetime64):
        if not {"base_time", "time_offset"} <= {*column.variables}:
            raise UserError(
                f"station archive {file}: 'time' is missing or has no units such as days since "
                f"1970-01-01, expected the column analysis of ARM"
            )
        seconds = column["time_offset"].values.astype("float64").round().astype("timedelta64[s]")
        base = column["base_time"].values
        if not np.issubdtype(base.dtype, np.datetime64):
            base = np.asarray(base, dtype="int64").astype("datetime64[s]")
        time_values = base.astype("datetime64[s]") + seconds
    else:
        # Days as float32 are rounded by some seconds.
        time_values = time.values + np.timedelta64(30, "s")
    return time_values.astype("datetime64[m]").astype("datetime64[ns]")


def _step(time: np.ndarray, file: Path) -> float:
    """Return the hours of a step."""
    if len(time) < 2:
        raise UserError(
            f"station archive {file}: found {len(time)} step, expected at least two, from which "
            f"the hours follow that precipitation covers"
        )
    steps = np.diff(time) / np.timedelta64(1, "h")
    if not np.allclose(steps, steps[0], rtol=0.02):  # to the minute
        raise UserError(
            f"station archive {file}: has steps of {steps.min():g} to {steps.max():g} h, expected "
            f"equal steps in order, from which the hours follow that precipitation covers"
        )
    return float(np.median(steps))


def _levels(column: xr.Dataset, dimension: str, file: Path) -> Sequence[float]:
    """Return the levels (hPa)."""
    if dimension not in column.variables:
        raise UserError(f"station archive {file}: the levels {dimension!r} have no values")
    levels = column[dimension].values.astype("float64")
    stated = str(column[dimension].attrs.get("units", "")).strip()
    # The files of 1997 state "hP".
    levels = levels * (level_factor(stated) or 1.0)
    if not (levels.min() > 0 and 200 < levels.max() <= 1100):
        raise UserError(
            f"station archive {file}: the levels {dimension!r} are {levels.min():g} to "
            f"{levels.max():g} {stated}, expected pressures in hPa or Pa"
        )
    return levels.tolist()


def _place(column: xr.Dataset, file: Path) -> dict[str, object]:
    """Return the name and the place of the column."""

    def number(names: Sequence[str]) -> float:
        for name in names:
            if name in column.variables:
                return float(numbers(pd.Series(column[name].values.reshape(-1)[:1]))[0])
        return np.nan

    latitude, longitude = number(_LATITUDE), number(_LONGITUDE)
    if np.isnan(latitude) or np.isnan(longitude):
        raise UserError(
            f"station archive {file}: the position is missing, expected {' or '.join(_LATITUDE)} "
            f"and {' or '.join(_LONGITUDE)}"
        )
    elevation = number(("phis",)) / _GRAVITY if "phis" in column.variables else number(("alt",))
    return {
        "station_id": "ARM",
        "latitude": latitude,
        "longitude": longitude,
        "elevation": elevation,
    }
