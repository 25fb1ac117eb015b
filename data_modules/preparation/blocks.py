"""Reading, stacking and checking blocks of time of a source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from data_modules.sources.canonical.form import VALID_RANGE, level_dimension
from data_modules.store.training_store import iso_date
from slams.errors import UserError, first_line
from slams.fields import FieldSpec
from slams.normalisation import TRANSFORMS
from slams.variables import NEVER_NEGATIVE

__all__ = ["channel_units", "check_block", "clear_noise", "read_block"]


def read_block(
    source: xr.Dataset,
    channels: Sequence[FieldSpec],
    start: int,
    stop: int,
    absent: Sequence[str],
    where: str,
) -> np.ndarray:
    """Read steps `[start, stop)` of a canonical dataset and stack the channels.

    Returns:
        `(n, C, H, W)` float32 physical, NaN where missing and in absent channels.

    Raises:
        UserError: A chunk of the source is truncated or corrupt.
    """
    shape = (stop - start, len(channels), source.sizes["latitude"], source.sizes["longitude"])
    out = np.full(shape, np.nan, dtype=np.float32)
    for variable in dict.fromkeys(c.variable for c in channels if c.name not in absent):
        part = source[variable].isel(time=slice(start, stop))
        try:
            values = part.compute(scheduler="synchronous").values
        except (MemoryError, UserError):
            raise
        except Exception as error:
            first, last = (iso_date(source["time"].values[i]) for i in (start, stop - 1))
            raise UserError(
                f"source {where}: {variable} between {first} and {last} cannot be read, the file "
                f"is truncated or corrupt ({type(error).__name__}: {first_line(error)})"
            ) from error
        for index, spec in enumerate(channels):
            if spec.variable != variable or spec.name in absent:
                continue
            if spec.level is None:
                out[:, index] = values
            else:
                levels = list(part[level_dimension(part)].values)
                out[:, index] = values[:, levels.index(spec.level)]
    return out


def check_block(
    values: np.ndarray,
    channels: Sequence[FieldSpec],
    time: np.ndarray,
    train: np.ndarray,
    absent: Sequence[str],
    gaps: Sequence[str],
    where: str,
    key: str,
) -> None:
    """Refuse what is physically impossible, and missing values that are not allowed.

    Args:
        values: `(n, C, H, W)` physical.
        channels: The channels.
        time: `(n,)` days since 1970-01-01.
        train: `(n,)` bool, days of the training split.
        absent: Channels that are missing throughout.
        gaps: Channels that may have missing values.
        where: Path of the source, for messages.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: A value is outside the range of its units, a field is one number or has no value
            at all, or a value is missing on a training day.
    """
    for index, spec in enumerate(channels):
        if spec.name in absent:
            continue
        field = values[:, index]
        known = np.isfinite(field)
        low, high = VALID_RANGE[spec.units]
        wrong = known & ((field < low) | (field > high))
        if wrong.any():
            step = int(np.argwhere(wrong)[0][0])
            actual = field[wrong].flat[0]
            raise UserError(
                f"source {where}: {spec.name} of {iso_date(time[step])} has the value {actual:g}, "
                f"expected {low:g} to {high:g} {spec.units}; check units, sign and fill value"
            )
        # NaN where a value is missing: what is left of a field may well be alike.
        lowest = field.min(axis=(1, 2))
        uniform = np.flatnonzero(lowest == field.max(axis=(1, 2)))
        if len(uniform):
            step = int(uniform[0])
            raise UserError(
                f"source {where}: {spec.name} of {iso_date(time[step])} is {lowest[step]:g} "
                f"{spec.units} everywhere, which is no field; leave this day out of the source, "
                f"or make its values missing (NaN) and add the channel to {key}.gaps"
            )
        if known.all() or spec.name in gaps:
            continue
        empty = np.flatnonzero(~known.any(axis=(1, 2)))
        if len(empty):
            raise UserError(
                f"source {where}: {spec.name} of {iso_date(time[empty[0]])} has no value at all; "
                f"add the channel to {key}.gaps if this is expected"
            )
        holes = np.flatnonzero(~known.all(axis=(1, 2)) & train)
        if len(holes):
            step = int(holes[0])
            raise UserError(
                f"source {where}: {spec.name} of {iso_date(time[step])}, a training day, has "
                f"{int((~known[step]).sum())} missing values (NaN); add the channel to {key}.gaps "
                f"if this is expected"
            )


def clear_noise(values: np.ndarray, channels: Sequence[FieldSpec]) -> int:
    """Set negative values of variables that cannot be negative (humidity) to zero, in place.

    Spectral models and packed archives contain such values; `check_block` refuses those that are
    too large to be noise.

    Args:
        values: `(n, C, H, W)` physical.
        channels: The channels.

    Returns:
        The number of values changed.
    """
    changed = 0
    for index, spec in enumerate(channels):
        if spec.variable in NEVER_NEGATIVE:
            below = values[:, index] < 0
            if below.any():
                values[:, index][below] = 0.0
                changed += int(below.sum())
    return changed


def channel_units(values: np.ndarray, channels: Sequence[FieldSpec]) -> np.ndarray:
    """Transform physical values and flatten the grid.

    Args:
        values: `(n, C, H, W)` physical.
        channels: The channels.

    Returns:
        `(n, C, H * W)` float64 channel units.
    """
    out = values.astype(np.float64).reshape(*values.shape[:2], -1)
    for index, spec in enumerate(channels):
        if spec.transform != "identity":
            out[:, index] = TRANSFORMS[spec.transform].forward_array(out[:, index])
    return out
