"""Packed fields: 16-bit integers that compress to half a byte per value.

A packed store holds normalised anomalies, rounded to a multiple of `STEP` standard deviations.
Neighbouring values differ little, so that differences along longitude, then along latitude, are
stored; integer arithmetic wraps around, and the sums restore every value exactly. Rounding adds
an error with a variance of STEP^2 / 12 (8e-5), independent from point to point, to anomalies of
variance 1. A packed store serves as an archive, from which methods estimate covariances; it is not
made to train on.

Fields that are read for an archive are rounded in the same way whatever store they come from
(`data_modules.stream.archive`), so that a method fitted to a store and one fitted to its packed
copy are the same.
"""

from __future__ import annotations

import numpy as np

__all__ = ["STEP", "pack", "unpack"]

# Standard deviations per unit of the packed integers.
STEP = 1 / 32
# Packed value of what is missing.
_MISSING = np.iinfo(np.int16).min


def pack(normalised: np.ndarray) -> np.ndarray:
    """Pack anomalies.

    Args:
        normalised: `(..., H, W)`, NaN where missing.

    Returns:
        `(..., H, W)` int16.
    """
    rounded = np.rint(np.nan_to_num(normalised, nan=0.0) / STEP)
    whole = np.clip(rounded, _MISSING + 1, np.iinfo(np.int16).max).astype(np.int16)
    whole[np.isnan(normalised)] = _MISSING
    for axis in (-1, -2):
        whole = np.diff(whole, axis=axis, prepend=np.int16(0))
    return whole


def unpack(packed: np.ndarray) -> np.ndarray:
    """Return the anomalies of `pack`, rounded: `(..., H, W)` float32, NaN where missing."""
    whole = packed
    for axis in (-2, -1):
        whole = np.cumsum(whole, axis=axis, dtype=np.int16)
    return np.where(whole == _MISSING, np.float32(np.nan), whole.astype(np.float32) * STEP)
