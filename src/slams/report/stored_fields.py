"""Open the groups of `analysis.zarr` and `reconstruction.zarr`, and find those that are damaged.

Every group has the variables, grid, levels and cases of the group `truth`. The truth may be
unknown (NaN) in places; where it is known, an analysis has a value.

A group is a dataset of `slams.cf`. The report takes it by case and day of the window, without what
is derived from the members, and with the names of result tables; stores of the version before have
this layout themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from slams.errors import UserError

__all__ = ["damaged_groups", "group_problems", "open_group"]

_STATE = ("case", "day", "level", "latitude", "longitude")


def open_group(store: Path, group: str) -> xr.Dataset | None:
    """Open a group lazily; return `None` where it was not kept.

    Args:
        store: `analysis.zarr` or `reconstruction.zarr`.
        group: Name of the group.
    """
    try:
        dataset = _opened(store, group)
    except (OSError, KeyError, ValueError):  # no such group
        return None
    return None if 0 in dataset.sizes.values() else dataset


def damaged_groups(
    store: Path, missing: list[str], variables: Collection[str] = (), refuse: bool = False
) -> frozenset[str]:
    """Read every group once, one case at a time, and return those that cannot be used.

    Args:
        store: `analysis.zarr` or `reconstruction.zarr`, which need not exist.
        missing: Gains a sentence for each of these groups.
        variables: Variables that the truth must have.
        refuse: Whether to refuse a group that can be read but has wrong content.

    Raises:
        UserError: With `refuse`, a group lacks variables, coordinates or values, or has others
            than the truth.
    """
    found: set[str] = set()
    truth: xr.Dataset | None = None
    names = [path.name for path in store.glob("*") if path.is_dir()]
    for group in sorted(names, key=lambda name: (name != "truth", name)):
        try:
            dataset = _opened(store, group)
            problem = None
            if 0 not in dataset.sizes.values():
                problem = next(group_problems(group, dataset, truth, variables), None)
        except Exception as error:  # every codec raises an error of its own
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            missing.append(f"{group} in {store} is truncated or corrupt ({first}): no maps.")
            found.add(group)
            continue
        if problem and refuse:
            raise UserError(
                f"{store} is damaged, group {group}: {problem}; run `slams assimilate` again with "
                f"resume=overwrite, or remove {store} for a report without maps"
            )
        if problem:
            missing.append(f"{group} in {store} is damaged ({problem}): no maps.")
            found.add(group)
        elif group == "truth":
            truth = dataset
    return frozenset(found)


def _opened(store: Path, group: str) -> xr.Dataset:
    """Open a group lazily, only in format 3: it is written so, and names no Python codec."""
    dataset = xr.open_zarr(store, group=group, consolidated=False, chunks=None, zarr_format=3)
    return _by_case(dataset) if "time" in dataset.dims else dataset


def _by_case(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset of `slams.cf` as `(case, member, day, level, latitude, longitude)`.

    Raises:
        ValueError: The cases are not windows of one length.
    """
    cases = np.unique(dataset["case"].values) if "case" in dataset.coords else np.zeros(1, "i4")
    days, rest = divmod(dataset.sizes["time"], len(cases))
    if rest or ("case" in dataset.coords and (dataset["case"].values != cases.repeat(days)).any()):
        raise ValueError(f"{dataset.sizes['time']} days are not windows of {len(cases)} cases")
    fields = {
        name: array
        for name, array in dataset.data_vars.items()
        if "realization: " not in array.attrs.get("cell_methods", "") and "bnds" not in array.dims
    }
    names = {name: array.attrs.get("weatherbench2_name", name) for name, array in fields.items()}
    names |= {"realization": "member"} if "realization" in dataset.dims else {}
    kept = dataset[list(fields)].drop_vars("case", errors="ignore").rename(names)
    # Chunked, because xarray would read everything to divide an axis.
    windows = kept.chunk(time=days).coarsen(time=days).construct(time=("case", "day"))
    return windows.assign_coords(case=cases).transpose(
        "case", "member", "day", ..., missing_dims="ignore"
    )


def group_problems(
    group: str,
    dataset: xr.Dataset,
    truth: xr.Dataset | None = None,
    variables: Collection[str] = (),
) -> Iterator[str]:
    """Iterate over what is wrong with a group; nothing after the first is reliable.

    Args:
        group: Name of the group.
        dataset: Its content, read here one case at a time.
        truth: The group `truth`; `None` where it is checked itself, or cannot be used.
        variables: Variables that the truth must have.
    """
    names = {str(name) for name in dataset.data_vars}
    if truth is not None and names != set(truth.data_vars):
        expected = sorted(map(str, truth.data_vars))
        yield f"found the variables {_list(sorted(names))}, in group truth {_list(expected)}"
    if group == "truth" and not names.issuperset(variables):
        yield f"found the variables {_list(sorted(names))}, expected {_list(sorted(variables))}"
    for name, array in dataset.data_vars.items():
        dims = tuple(d for d in _STATE if d != "level" or d in array.dims)
        if truth is not None:
            dims = truth[name].dims
        found = tuple(d for d in array.dims if d != "member" or group == "truth")
        if found != dims:
            yield f"{name} has the dimensions {_list(found)}, expected {_list(dims)}"
        if array.dtype.kind != "f":
            yield f"{name} is of type {array.dtype}, expected floating-point numbers"
    yield from _wrong_coordinates(dataset, truth)
    for name, array in dataset.data_vars.items():
        yield from _wrong_values(group, array, None if truth is None else truth[name])


def _wrong_coordinates(dataset: xr.Dataset, truth: xr.Dataset | None) -> Iterator[str]:
    for name in ("latitude", "longitude", "level"):
        if name not in dataset.dims:
            continue
        values = dataset[name].values.astype(float)
        if name not in dataset.coords or not np.isfinite(values).all():
            yield f"{name} is missing"
        steps = np.diff(values)
        if name == "level":
            good = len(set(values)) == len(values) and (values > 0).all()
        else:
            good = (steps > 0).all() or (steps < 0).all()
        if not good or (name == "latitude" and np.abs(values).max() > 90):
            yield f"{name} has impossible or unordered values"
    # Stores without times, of older versions, can be read.
    if "time" in dataset.coords and dataset["time"].dims != ("case", "day"):
        yield f"time has the dimensions {_list(dataset['time'].dims)}, expected case, day"
    for name in ("latitude", "longitude", "level", "case", "time"):
        if truth is None or name not in dataset.coords or name not in truth.coords:
            continue
        if not np.array_equal(dataset[name].values, truth[name].values):
            yield f"{name} is not that of group truth"


def _wrong_values(group: str, array: xr.DataArray, truth: xr.DataArray | None) -> Iterator[str]:
    name = array.name
    for case in range(array.sizes["case"]):
        state = array[{"case": case}].load()
        infinite = int(np.isinf(state).sum())
        if infinite:
            yield f"{name} has {infinite} infinite values"
        if truth is None:
            continue
        # A variable is unknown at levels where it has no channel.
        lost = state.isnull() & np.isfinite(truth[{"case": case}].load())
        if group == "background":  # may be read from a file with missing values
            lost = lost.all(["latitude", "longitude"])
        if lost.any():
            yield f"{name} has {int(state.isnull().sum())} missing values (NaN)"


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
