"""Reader of the training datasets of anemoi-datasets (Zarr, a directory or an address).

Layout (https://github.com/ecmwf/anemoi-datasets, `create`): one array `data(time, variable,
ensemble, cell)`, `dates(time)`, `latitudes(cell)`, `longitudes(cell)`; the attribute `variables`
names what is along `variable`, by ECMWF's short names with the level (hPa) behind an underscore:
`t_850`, `q_700`, `2t`, `tp`. Units are those of ECMWF's parameter database: K, m s-1, kg kg-1, Pa,
m and J m-2, the latter two accumulated over the hours that end at the date; radiation is positive
downwards. `variables_metadata` has units and hours in some stores; otherwise an accumulation
covers the step between dates. `missing_dates` are dates without data.

Repaired and recorded: as in `sources.canonical`; cells of a full latitude-longitude grid in any
order are put in rows and columns; days with a missing date are left out. Refused: cells of another
grid (reduced Gaussian, octahedral, HEALPix, a limited area), and more than one ensemble member.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import canonicalise
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import open_zarr
from data_modules.store.training_store import iso_date
from slams.calendar.days import days_since_epoch
from slams.calendar.steps import beginning_of_step

__all__ = ["open_anemoi"]

_SHORT = {
    "temperature": ("t", "K"),
    "u_component_of_wind": ("u", "m s**-1"),
    "v_component_of_wind": ("v", "m s**-1"),
    "specific_humidity": ("q", "kg kg**-1"),
    "2m_temperature": ("2t", "K"),
    "surface_pressure": ("sp", "Pa"),
    "total_precipitation_24hr": ("tp", "m"),
    "outgoing_longwave_radiation": ("ttr", "J m**-2"),
}
_ACCUMULATED = ("total_precipitation_24hr", "outgoing_longwave_radiation")
_GRAVITY = 9.80665  # m s-2, by which ECMWF divides geopotential
_ARRAYS = ("data", "dates", "latitudes", "longitudes")
_HOURS = re.compile(r"(\d+)(h|s|)")  # as in "6h"


def open_anemoi(reading: Reading) -> xr.Dataset:
    """Open a dataset of anemoi lazily.

    Args:
        reading: What is requested.

    Returns:
        Canonical dataset (see `sources.canonical`).

    Raises:
        UserError: The store is missing, has another layout, grid or ensemble, or cannot be made
            canonical.
    """
    # Coordinates have the fill value 0, which xarray would take for missing.
    expected = "a dataset of anemoi-datasets (Zarr)"
    store = open_zarr(reading.path, expected, reading.key, masked=False)
    missing = [name for name in _ARRAYS if name not in store.variables]
    if missing or store["data"].ndim != 4:
        raise reading.fault(
            f"found no {' and '.join(missing) or 'data with four dimensions'}, expected the "
            f"arrays data(time, variable, ensemble, cell), dates, latitudes and longitudes of "
            f"anemoi-datasets"
        )
    data = xr.DataArray(store["data"].variable, dims=("time", "variable", "ensemble", "cell"))
    if data.sizes["ensemble"] != 1:
        raise reading.fault(
            f"found {data.sizes['ensemble']} ensemble members, expected one; write one of them to "
            f"a store of its own with anemoi-datasets"
        )
    names = [str(name) for name in store.attrs.get("variables", [])]
    if len(names) != data.sizes["variable"]:
        raise reading.fault(
            f"the attribute `variables` has {len(names)} names for {data.sizes['variable']} "
            f"variables; expected one each"
        )
    cells = _Cells(store["latitudes"].values, store["longitudes"].values, reading)
    dates = store["dates"].values
    fields, layouts = {}, {}
    for variable in reading.variables:
        short, units = _SHORT[variable]
        levels = [c.level for c in reading.wanted if c.variable == variable and c.level]
        wanted = [f"{short}_{level}" for level in levels] or [short]
        absent = [name for name in wanted if name not in names]
        if absent:
            raise reading.fault(
                f"{absent[0]} ({variable}) is missing; found {', '.join(names)}; add its channel "
                f"to {reading.key}.absent if the source does not have it"
            )
        parts = [cells.grid(data[:, names.index(name), 0]) for name in wanted]
        array = xr.concat(parts, "level").assign_coords(level=levels) if levels else parts[0]
        about = store.attrs.get("variables_metadata", {}).get(wanted[0], {})
        fields[variable] = array.assign_attrs(
            {"units": about["units"]} if about.get("units") else {}
        )
        hours = _hours(about) if variable in _ACCUMULATED else 0.0
        factor = -1.0 if short == "ttr" else 1.0
        layouts[variable] = VariableLayout(
            variable, units=units, factor=factor, hours=hours, stamp="end"
        )
    if "z" in names and len(dates):
        terrain = cells.grid(data[:1, names.index("z"), 0])[0] / _GRAVITY
        fields["surface_elevation"] = terrain
    dataset = xr.Dataset(fields, coords={"time": dates, **cells.coordinates})
    found = canonicalise(dataset, layouts, reading)
    return _without(found, store.attrs.get("missing_dates", []), layouts, reading)


class _Cells:
    """The cells of a full latitude-longitude grid.

    Args:
        latitude: `(cells,)` degrees.
        longitude: `(cells,)` degrees.
        reading: What is requested, for the message.

    Raises:
        UserError: The cells are not those of such a grid.
    """

    def __init__(self, latitude: np.ndarray, longitude: np.ndarray, reading: Reading) -> None:
        # Grids in float32 have noise of about 1e-5 degrees.
        rows, row = np.unique(np.round(latitude.astype(np.float64), 4), return_inverse=True)
        columns, column = np.unique(np.round(longitude.astype(np.float64), 4), return_inverse=True)
        self._shape = (len(rows), len(columns))
        place = row * len(columns) + column
        if len(place) != len(rows) * len(columns) or len(np.unique(place)) != len(place):
            raise reading.fault(
                f"its {len(latitude)} cells are not a full grid of latitudes and longitudes "
                f"({len(rows)} and {len(columns)} distinct ones), but a reduced Gaussian, "
                f"octahedral, HEALPix or limited-area grid; expected a regular one, such as "
                f"`grid: 1.5/1.5` in the recipe of anemoi-datasets"
            )
        order = np.argsort(place)
        self._order = None if np.array_equal(order, np.arange(len(order))) else order
        self.coordinates = {"latitude": rows, "longitude": columns}

    def grid(self, array: xr.DataArray) -> xr.DataArray:
        """Arrange the cells of `array` `(time, cell)` in rows and columns, lazily."""
        chunks = array.encoding.get("preferred_chunks", {})
        # Each step of the archive is a chunk of its own, with all variables.
        values = array.chunk({"time": chunks.get("time", 1), "cell": -1}).data
        if self._order is not None:
            values = values[:, self._order]
        return xr.DataArray(
            values.reshape(values.shape[0], *self._shape), dims=("time", "latitude", "longitude")
        )


def _hours(about: dict[str, Any]) -> float | None:
    """Return the hours of an accumulation: those of its metadata, or of the step (`None`)."""
    period = about.get("period")
    numbers = [_HOURS.fullmatch(str(one)) for one in period] if isinstance(period, list) else []
    if len(numbers) == 2 and all(numbers):
        first, last = (float(one[1]) / (3600 if one[2] == "s" else 1) for one in numbers if one)
        return last - first
    return None


def _without(
    found: xr.Dataset, missing: list[str], layouts: dict[str, VariableLayout], reading: Reading
) -> xr.Dataset:
    """Leave out the days that need a date without data."""
    if not missing:
        return found
    dates = days_since_epoch(np.array(missing, dtype="datetime64[ns]"))
    days = set()
    for layout in layouts.values():
        step = reading.step
        if layout.hours != 0:  # accumulated up to the date
            days |= {*((np.ceil(dates / step) - 1) * step)}
        elif reading.config.daily == "mean":
            days |= {*beginning_of_step(dates, step)}
        else:
            days |= {*dates[dates == beginning_of_step(dates, step)]}
    lost = np.isin(found["time"].values, sorted(days))
    if lost.all():
        raise reading.fault("every day has a date without data (missing_dates)")
    if not lost.any():
        return found
    first = iso_date(found["time"].values[lost][0])
    note = f"time: {int(lost.sum())} days with missing dates left out, the first {first}"
    attributes = {**found.attrs, "repairs": [*found.attrs["repairs"], note]}
    return found.isel(time=~lost).assign_attrs(attributes)
