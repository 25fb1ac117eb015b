"""Packing of fields into 16-bit integers, and the largest error that this makes.

A value `x` is stored as the nearest integer `q` of `(x - add_offset) / scale_factor`, and read as
`q * scale_factor + add_offset`, in the precision of these two.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["pack"]

# Integers of values, -32765 to 32765: a few are left over for rounding, and -32768 is missing.
_LARGEST = 32765
_MISSING = np.int16(-32768)


def pack(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose fields are packed when it is written.

    Args:
        dataset: Any dataset; variables of floating-point numbers are packed, each with its own
            scale, coordinates and counts are not.

    Returns:
        The same values, with the encoding, and the attribute `packing_error`: the largest
        difference (in the variable's units) between a value and what will be read.
    """
    packed = dataset.copy()
    for name in dataset.data_vars:
        variable = packed.variables[name]
        if variable.dtype.kind == "f" and "latitude" in variable.dims:
            scale, offset = _scale(variable.values)
            error = _largest_error(variable.values, scale, offset)
            variable.attrs = {**variable.attrs, "packing_error": error}
            variable.encoding = {
                "dtype": "int16",
                "scale_factor": scale,
                "add_offset": offset,
                "_FillValue": _MISSING,
            }
    return packed


def _scale(values: np.ndarray) -> tuple[np.float32, np.float32]:
    """Return the scale and the offset; the smallest value is read exactly where it is zero."""
    known = values[np.isfinite(values)]
    if not known.size:
        return np.float32(1), np.float32(0)
    low, high = np.float32(known.min()), np.float32(known.max())
    # No finer than single precision resolves the values themselves.
    finest = np.spacing(max(abs(low), abs(high), np.float32(1e-30)))
    fraction, exponent = np.frexp(max((high - low) / np.float32(2 * _LARGEST), finest))
    # Of nine binary digits, so that its product with any stored integer is exact.
    scale = np.ldexp(np.ceil(fraction * np.float32(512)) / np.float32(512), exponent)
    return np.float32(scale), np.float32(low + np.float32(_LARGEST) * np.float32(scale))


def _largest_error(values: np.ndarray, scale: np.float32, offset: np.float32) -> float:
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0
    stored = np.around((known.astype(np.float32) - offset) / scale)
    # NetCDF keeps the precision of the scale; JSON, and so Zarr, makes it double.
    single = stored * scale + offset
    double = stored.astype(np.float64) * np.float64(scale) + np.float64(offset)
    return float(max(np.abs(read - known).max() for read in (single, double)))
