"""Joining several stores of one source along time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from data_modules.sources.canonical.reading import Reading
from data_modules.sources.files.opening import concatenate
from slams.calendar.days import day_of
from slams.errors import UserError

__all__ = ["Segment", "join_segments"]

# Coordinates and fields without time that all segments share, with their names in messages.
_SHARED = {
    "latitude": "another grid (latitude)",
    "longitude": "another grid (longitude)",
    "level": "other levels",
    "surface_elevation": "another surface_elevation",
}


@dataclass(frozen=True, eq=False)
class Segment:
    """One of the stores to be joined.

    Attributes:
        path: Path of the store, for messages.
        stored: The dataset as opened.
        daily: The dataset in canonical form, with all its days.
    """

    path: str
    stored: xr.Dataset
    daily: xr.Dataset


def join_segments(segments: Sequence[Segment], reading: Reading) -> xr.Dataset:
    """Join stores along time, lazily.

    Args:
        segments: At least two, in any order, with all requested variables.
        reading: What is requested.

    Returns:
        Canonical dataset (see `canonical.form`). Its attribute `stores` lists the segments.

    Raises:
        UserError: Segments have days in common, differ in grid, levels, units or steps, or have
            no day of the period.
    """
    ordered = sorted(segments, key=lambda one: float(one.daily["time"].values[0]))
    for before, after in pairwise(ordered):
        last, first = before.daily["time"].values[-1], after.daily["time"].values[0]
        if first <= last:
            raise UserError(
                f"{reading.key}.path: {after.path} begins on {day_of(first)}, and {before.path} "
                f"has days until {day_of(last)}; stores to be joined must not have a day in common"
            )
    for other in ordered[1:]:
        difference = _difference(ordered[0], other, reading.variables)
        if difference:
            raise UserError(
                f"{reading.key}.path: {other.path} has {difference} than {ordered[0].path}; "
                f"stores to be joined must have the same grid, levels, units and steps"
            )
    shared = [name for name in _SHARED if name in ordered[0].daily.data_vars]
    joined = concatenate([ordered[0].daily, *(one.daily.drop_vars(shared) for one in ordered[1:])])
    for name in reading.variables:
        if name in joined:
            # The amount read per chunk (`canonical.form`) is the largest of the segments'.
            readings = [one.daily[name].encoding for one in ordered]
            joined[name].encoding = max(readings, key=_steps_read)
    every = [one.daily.attrs for one in ordered]
    names = dict.fromkeys(name for attrs in every for name in attrs if name != "repairs")
    # Each text once: title, source and license are usually the same in all segments.
    joined.attrs = {
        name: "; ".join(dict.fromkeys(attrs[name] for attrs in every if name in attrs))
        for name in names
    }
    joined.attrs["stores"] = ", ".join(one.path for one in ordered)
    joined.attrs["repairs"] = list(
        dict.fromkeys(text for attrs in every for text in attrs["repairs"])
    )
    return joined.isel(time=reading.of_period(joined["time"].values))


def _difference(first: Segment, other: Segment, variables: Sequence[str]) -> str:
    """Describe how a segment differs from the first; "" if it does not."""
    for name, words in _SHARED.items():
        ours, theirs = (one.stored.variables.get(name) for one in (first, other))
        if (ours is None) != (theirs is None):
            return words
        if ours is not None and not np.array_equal(ours.values, theirs.values):
            return words
    for name in variables:
        found = [str(one.stored[name].attrs.get("units")) for one in (other, first)]
        if found[0] != found[1]:
            return f"other units of {name} ({found[0]})"
    if _step(first.stored) != _step(other.stored):
        return "other steps (daily means, or instants)"
    if first.daily.attrs["time"] != other.daily.attrs["time"]:
        return "another definition of daily values"
    return ""


def _step(stored: xr.Dataset) -> float:
    """Return the time between the first steps (days)."""
    steps = np.diff(stored["time"].values[:2]) / np.timedelta64(1, "D")
    return float(steps[0]) if len(steps) else 1.0


def _steps_read(encoding: dict[str, dict[str, int]]) -> int:
    return encoding.get("preferred_chunks", {}).get("time", 0)
