"""Final and preliminary data of ERA5 in one file (`expver`).

The Climate Data Store delivers preliminary data (ERA5T, `expver` 5) for about the last three
months. Its older files have both on a dimension `expver` (1, 5), each missing where the other has
values; newer ones have one value per step and `expver(valid_time)`, "0001" or "0005".
(https://confluence.ecmwf.int/display/CKB/ERA5+data+documentation)
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.sources.canonical.reading import Reading

__all__ = ["join_versions"]

_FINAL, _PRELIMINARY = 1, 5
# Steps per dask chunk of fields of which there are two versions.
_STEPS = 16


def join_versions(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Take final values where there are, preliminary ones elsewhere, and record their dates.

    Args:
        dataset: The file, with canonical names of dimensions.
        reading: What is requested; dates with preliminary data are recorded.

    Raises:
        UserError: The dimension `expver` has other versions than 1 and 5.
    """
    if "expver" not in dataset.variables and "expver" not in dataset.dims:
        return dataset
    if "expver" not in dataset.dims:
        return _per_step(dataset, reading)
    versions = _numbers(dataset["expver"]) if "expver" in dataset.coords else np.empty(0)
    if sorted(versions) not in ([_FINAL], [_PRELIMINARY], [_FINAL, _PRELIMINARY]):
        raise reading.fault(
            f"dimension expver has the values {', '.join(map(str, dataset['expver'].values))}, "
            f"expected 1 (final) and 5 (preliminary)"
        )
    final, preliminary = (
        dataset.isel(expver=int(np.argmax(versions == version)), drop=True)
        if version in versions
        else None
        for version in (_FINAL, _PRELIMINARY)
    )
    if final is None or preliminary is None:
        whole = dataset.isel(expver=0, drop=True)
        if final is None and "time" in whole.coords:
            _record(whole["time"].values, reading)
        return whole
    used = np.zeros(dataset.sizes["time"], dtype=bool)
    joined = {}
    for name, array in dataset.data_vars.items():
        if "expver" not in array.dims or "time" not in array.dims:
            continue
        first, second = (part[name].chunk({"time": _STEPS}) for part in (final, preliminary))
        joined[name] = first.where(first.notnull(), second).assign_attrs(array.attrs)
        # One point of a step says which version it has, without reading the whole file.
        point = {d: 0 for d in first.dims if d != "time"}
        used |= (final[name].isel(point).isnull() & preliminary[name].isel(point).notnull()).values
    _record(dataset["time"].values[used], reading)
    return final.assign(joined)


def _per_step(dataset: xr.Dataset, reading: Reading) -> xr.Dataset:
    """Record the dates of preliminary data where `expver` is a variable."""
    versions = dataset["expver"]
    if versions.dims in ((), ("time",)) and "time" in dataset.coords:
        chosen = np.broadcast_to(_numbers(versions) == _PRELIMINARY, dataset["time"].shape)
        _record(dataset["time"].values[chosen], reading)
    return dataset.drop_vars("expver")


def _numbers(versions: xr.DataArray) -> np.ndarray:
    """Return versions as numbers, 0 for what is none."""
    found = [str(v.decode() if isinstance(v, bytes) else v) for v in versions.values.reshape(-1)]
    numbers = [int(float(v)) if v.replace(".", "", 1).isdigit() else 0 for v in found]
    return np.array(numbers).reshape(versions.shape)


def _record(times: np.ndarray, reading: Reading) -> None:
    if times.dtype.kind != "M" or not len(times):
        return
    days = np.unique(times.astype("datetime64[D]"))
    reading.repairs.append(
        f"expver: preliminary data (ERA5T) on {len(days)} day{'s' if len(days) > 1 else ''}, "
        f"{days[0]} to {days[-1]}"
    )
