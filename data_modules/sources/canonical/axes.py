"""Dimensions of a file: their names, its levels, and its grid, in canonical order.

Latitude is from north to south, longitude in [0, 360), increasing, level in hPa in the requested
order. Grids that are not global, not regular or have a value twice are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from data_modules.sources.canonical.reading import Reading
from data_modules.sources.canonical.units import level_factor

__all__ = [
    "DIMENSIONS",
    "coordinate_values",
    "grid_dimensions",
    "missing_levels",
    "order_latitude",
    "order_longitude",
    "pressure_levels",
    "refuse_swath",
    "rename",
    "select_levels",
]

# Canonical names, with the usual ones in files.
DIMENSIONS = {
    "time": ("time", "valid_time"),
    "level": ("level", "pressure_level", "isobaricInhPa", "plev", "lev"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}


def rename(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Give the dimensions their canonical names.

    Args:
        dataset: The opened file.
        reading: What is requested; a renaming is recorded.

    Raises:
        UserError: A dimension other than the level is missing, or the file is a swath.
    """
    refuse_swath(dataset, reading)
    mapping = {}
    for canonical, aliases in DIMENSIONS.items():
        found = [name for name in aliases if name in dataset.dims]
        if found:
            mapping[found[0]] = canonical
        elif canonical != "level":
            raise reading.fault(
                f"dimension {canonical!r} is missing; found {', '.join(map(str, dataset.dims))}"
            )
    changed = {old: new for old, new in mapping.items() if old != new}
    if changed:
        text = ", ".join(f"{old} to {new}" for old, new in changed.items())
        reading.repairs.append(f"renamed {text}")
    return dataset.rename(changed)


def grid_dimensions(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Name the dimensions of a regular grid `lat(y)`, `lon(x)` after its coordinates.

    Points with a latitude and a longitude each, of one dimension, are left as they are.

    Args:
        dataset: Any dataset.
        reading: What is requested; a change is recorded.
    """
    along = {
        dataset[name].dims[0]: name
        for canonical in ("latitude", "longitude")
        for name in DIMENSIONS[canonical]
        if name in dataset.variables and name not in dataset.dims and dataset[name].ndim == 1
    }
    if len(along) != 2 or set(along) & set(dataset.variables):
        return dataset
    reading.repairs.append(
        "dimensions " + ", ".join(f"{old} named {new}" for old, new in along.items())
    )
    return dataset.set_coords(list(along.values())).swap_dims(along)


def refuse_swath(dataset: xr.Dataset, reading: Reading) -> None:
    """Refuse latitudes and longitudes over two dimensions.

    Args:
        dataset: The opened file.
        reading: What is requested, for messages.

    Raises:
        UserError: The file is a swath of a satellite, or on a grid that is not regular.
    """
    for name, array in dataset.variables.items():
        usual = name in DIMENSIONS["latitude"] or array.attrs.get("standard_name") == "latitude"
        if usual and array.ndim == 2:
            raise reading.fault(
                f"{name} has two dimensions, ({', '.join(map(str, array.dims))}), as in a swath "
                f"of a satellite; expected a regular grid: read pixels as observations "
                f"(observations.satellite.source.kind: pixels), or regrid them"
            )


def pressure_levels(array: xr.DataArray, variable: str, reading: Reading) -> np.ndarray:
    """Return the levels of a variable, `(L,)` float64 hPa.

    Args:
        array: A variable of the file with the dimension `level`.
        variable: Its canonical name, for messages.
        reading: What is requested; a conversion of units is recorded.

    Raises:
        UserError: The levels have unknown units, or one of them occurs twice.
    """
    coordinate = array["level"]
    units = str(coordinate.attrs.get("units", "hPa"))
    factor = level_factor(units)
    if factor is None:
        raise reading.fault(f"level has units {units!r}, expected hPa or Pa")
    values = _numbers(coordinate, "level", reading) * factor
    if factor != 1.0:
        reading.repairs.append(f"level: {units} converted to hPa")
    if len(np.unique(values)) != len(values):
        raise reading.fault(f"a level occurs twice; found {_shown(values)} hPa")
    return values


def missing_levels(values: np.ndarray, levels: Sequence[int]) -> list[int]:
    """Return those of some levels that are not among `values` `(L,)`, all in hPa."""
    there = _near(values, levels).any(axis=1)
    return [level for level, known in zip(levels, there, strict=True) if not known]


def select_levels(
    array: xr.DataArray, levels: Sequence[int], variable: str, reading: Reading
) -> xr.DataArray:
    """Select levels, in hPa.

    Args:
        array: A variable of the file.
        levels: The requested levels (hPa).
        variable: Its canonical name, for messages.
        reading: What is requested; a conversion of units is recorded.

    Raises:
        UserError: The variable has no levels, levels of unknown units, one of them twice, or
            lacks a requested one.
    """
    if "level" not in array.dims:
        raise reading.fault(
            f"{array.name!r} ({variable}) has no levels, expected "
            f"{', '.join(map(str, levels))} hPa"
        )
    values = pressure_levels(array, variable, reading)
    for level in missing_levels(values, levels):
        raise reading.fault(
            f"level {level} hPa of {variable} is missing; found {_shown(values)} hPa"
        )
    chosen = _near(values, levels).argmax(axis=1)
    return array.isel(level=chosen).assign_coords(level=list(levels))


def order_latitude(dataset: xr.Dataset, reading: Reading) -> tuple[np.ndarray, slice | np.ndarray]:
    """Return latitudes from north to south, and the rows of the file in that order.

    Args:
        dataset: The file, with canonical names of dimensions.
        reading: What is requested; a reversal is recorded.

    Raises:
        UserError: The latitudes are not those of a global grid.
    """
    values, rows = coordinate_values(dataset, "latitude", reading), slice(None)
    outside = values[np.abs(values) > 90 + 1e-6]
    if len(outside):
        raise reading.fault(f"found latitude {outside[0]:g}, expected -90 to 90")
    if len(values) < 2:
        raise reading.fault(f"found {len(values)} latitudes, expected a global grid")
    steps = np.diff(values)
    if (steps > 0).all():
        reading.repairs.append("latitude: south to north reversed to north to south")
        rows = slice(None, None, -1)
        values = values[rows]
    elif not (steps < 0).all():
        raise reading.fault("latitude is not monotonic")
    gap = max(np.abs(np.diff(values)).max(), 1e-6)
    if values[0] < 90 - gap or values[-1] > -90 + gap:
        raise reading.fault(
            f"latitude reaches from {values[0]:g} to {values[-1]:g}, expected a global grid"
        )
    return np.clip(values, -90.0, 90.0), rows


def order_longitude(
    dataset: xr.Dataset, reading: Reading
) -> tuple[np.ndarray, slice | np.ndarray]:
    """Return longitudes eastwards from 0, and the columns of the file in that order.

    Args:
        dataset: The file, with canonical names of dimensions.
        reading: What is requested; changes are recorded.

    Raises:
        UserError: The longitudes are not equally spaced around the globe.
    """
    found = coordinate_values(dataset, "longitude", reading)
    if not len(found):
        raise reading.fault("found no longitudes, expected a global grid")
    values = np.mod(found, 360.0)
    values[values > 360.0 - 1e-6] = 0.0
    order = np.argsort(values, kind="stable")
    keep = np.concatenate([[True], np.diff(values[order]) > 1e-6])
    if not keep.all():
        if (~keep).sum() > 1:
            raise reading.fault("longitudes occur more than once")
        reading.repairs.append("longitude: repeated meridian dropped")
        order = order[keep]
    if not np.array_equal(values, found):
        reading.repairs.append("longitude: wrapped into 0..360")
    sorted_before = np.array_equal(order, np.arange(len(found)))
    if not sorted_before:
        reading.repairs.append("longitude: sorted")
    values = values[order]
    spacing = 360.0 / len(values)
    if len(values) < 4 or np.abs(np.diff(values) - spacing).max() > 0.01 * spacing:
        raise reading.fault(
            f"{len(values)} longitudes from {values[0]:g} to {values[-1]:g} are not equally "
            f"spaced around the globe"
        )
    return values, slice(None) if sorted_before else order


def _near(values: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Return which values `(L,)` are which levels, `(len(levels), L)` bool."""
    return np.abs(values - np.array(levels)[:, None]) < 0.01


def _shown(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)


def coordinate_values(
    dataset: xr.Dataset | xr.DataArray, name: str, reading: Reading
) -> np.ndarray:
    """Return the values of a coordinate, `(n,)` float64.

    Args:
        dataset: The file, or a variable of it, with canonical names of dimensions.
        name: Name of the coordinate.
        reading: What is requested, for messages.

    Raises:
        UserError: It has no values, one is missing, or they are not numbers.
    """
    if name not in dataset.coords:
        raise reading.fault(f"coordinate {name!r} has no values")
    values = _numbers(dataset[name], name, reading)
    if not np.isfinite(values).all():
        raise reading.fault(f"coordinate {name!r} has a missing value")
    return values


def _numbers(coordinate: xr.DataArray, name: str, reading: Reading) -> np.ndarray:
    try:
        return np.asarray(coordinate.values, dtype=np.float64)
    except (TypeError, ValueError):
        raise reading.fault(f"coordinate {name!r} is not numbers") from None
