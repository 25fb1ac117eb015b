"""Names of dimensions and variables in datasets of users, and units that they omit."""

from __future__ import annotations

import xarray as xr

from data_modules.sources.canonical.axes import DIMENSIONS
from data_modules.sources.canonical.reading import Reading
from data_modules.sources.readers.cf import find_names, name_dimensions
from slams.variables import ON_LEVELS, UNITS, find_variable

__all__ = ["find_name", "name_axes", "state_units"]


def name_axes(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Give levels, latitudes and longitudes their canonical names where the dataset has them.

    Args:
        dataset: Any dataset.
        reading: What is requested; renamings are recorded.
    """
    dataset = name_dimensions(dataset, reading)
    renamed = {}
    for canonical in ("level", "latitude", "longitude"):
        there = [n for n in DIMENSIONS[canonical] if n in dataset.dims or n in dataset.coords]
        if there and there[0] != canonical:
            renamed[there[0]] = canonical
    if renamed:
        text = ", ".join(f"{old} to {new}" for old, new in renamed.items())
        reading.repairs.append(f"renamed {text}")
    return dataset.rename(renamed)


def find_name(dataset: xr.Dataset, variable: str, reading: Reading) -> str | None:
    """Return the name of a variable in a dataset, or `None` where it is not there.

    Args:
        dataset: The dataset, with levels in the dimension `level`.
        variable: Its canonical name.
        reading: What is requested, for messages.

    Raises:
        UserError: Several variables have its standard name or a short name.
    """
    if variable in dataset.data_vars:
        return variable
    found = [
        str(name)
        for name, array in dataset.data_vars.items()
        if find_variable(str(name)) == variable
        and ("level" in array.dims) == (variable in ON_LEVELS)
    ]
    found = found or [
        name
        for name, _ in find_names(dataset, variable)
        # The spread of an ensemble has the standard name of its members.
        if "standard_deviation" not in str(dataset[name].attrs.get("cell_methods", ""))
    ]
    if len(found) > 1:
        raise reading.fault(f"{' and '.join(found)} may both be {variable}; leave out one of them")
    return found[0] if found else None


def state_units(dataset: xr.Dataset, name: str, variable: str, reading: Reading) -> xr.Dataset:
    """Add the canonical units to a variable without units.

    Args:
        dataset: The dataset.
        name: Name of the variable in it.
        variable: Its canonical name.
        reading: What is requested; an addition is recorded.

    Raises:
        UserError: It is precipitation, whose units cannot be told from its values.
    """
    if dataset[name].attrs.get("units"):
        return dataset
    units = UNITS[variable]
    if variable == "total_precipitation_24hr":
        raise reading.fault(
            f"{name!r} states no units; set its attribute units, such as 'mm day-1' or 'm'"
        )
    reading.repairs.append(f"{name}: no units stated, taken as {units}")
    return dataset.assign({name: dataset[name].assign_attrs(units=units)})
