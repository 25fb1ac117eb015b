"""The layout of nature runs: pressure levels, packing, and the Zarr store they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec

__all__ = ["LEVELS", "PACKING", "to_pressure_levels", "write_nature_run"]

LEVELS = (925, 850, 700, 500, 300, 200, 100, 30)

# Units, scale and offset of each variable, those of the embedded sample.
PACKING: dict[str, tuple[str, float, float]] = {
    "temperature": ("K", 0.1, 250.0),
    "2m_temperature": ("K", 0.1, 280.0),
    "total_precipitation_24hr": ("mm day-1", 0.1, 0.0),
    "outgoing_longwave_radiation": ("W m-2", 1.0, 200.0),
    "surface_pressure": ("Pa", 10.0, 80000.0),
}

_CHUNK_DAYS = 137
_MISSING = -32768


def to_pressure_levels(
    values: np.ndarray, sigma: np.ndarray, surface_pressure: np.ndarray, levels: Sequence[int]
) -> np.ndarray:
    """Interpolates from sigma to pressure levels, linearly in log-pressure.

    Below the lowest and above the highest model level the value of that level is kept.

    Args:
        values: `(n, K, H, W)` on the model's levels.
        sigma: `(K,)` pressure of each model level as a share of the surface's.
        surface_pressure: `(n, H, W)` hPa.
        levels: The `L` pressure levels wanted (hPa).

    Returns:
        `(n, L, H, W)`.
    """
    order = np.argsort(sigma)
    log_sigma, values = np.log(sigma[order]), values[:, order]
    out = np.empty((values.shape[0], len(levels), *values.shape[2:]), dtype=np.float64)
    for number, level in enumerate(levels):
        wanted = np.clip(np.log(level / surface_pressure), log_sigma[0], log_sigma[-1])
        below = np.clip(np.searchsorted(log_sigma, wanted), 1, len(sigma) - 1)
        share = (wanted - log_sigma[below - 1]) / (log_sigma[below] - log_sigma[below - 1])
        upper = np.take_along_axis(values, below[:, None] - 1, axis=1)[:, 0]
        lower = np.take_along_axis(values, below[:, None], axis=1)[:, 0]
        out[:, number] = upper + share * (lower - upper)
    return out


def write_nature_run(dataset: xr.Dataset, path: Path) -> None:
    """Writes a nature run, packed as the embedded sample is.

    Args:
        dataset: The variables of `PACKING`, and `surface_elevation` (m) if it is known.
        path: Zarr directory to write.
    """
    encoding: dict[str, dict[str, object]] = {}
    dataset = dataset.copy()
    for name, (units, scale, offset) in PACKING.items():
        shape = dataset[name].shape
        encoding[name] = {
            "dtype": "int16",
            "scale_factor": scale,
            "add_offset": offset,
            "_FillValue": _MISSING,
            # The same in Zarr: a lost chunk reads as missing and never as a number.
            "fill_value": _MISSING,
            "chunks": (min(_CHUNK_DAYS, shape[0]), *shape[1:]),
            "compressors": BloscCodec(typesize=2, cname="zstd", clevel=9, shuffle="bitshuffle"),
        }
        dataset[name].attrs = {"units": units, "long_name": name.replace("_", " ")}
    dataset["level"].attrs = {"units": "hPa"}
    dataset["latitude"].attrs = {"units": "degrees_north", "standard_name": "latitude"}
    dataset["longitude"].attrs = {"units": "degrees_east", "standard_name": "longitude"}
    if "surface_elevation" in dataset:
        dataset["surface_elevation"].attrs = {"units": "m"}
    first = np.datetime_as_string(dataset["time"].values[0], unit="D")
    encoding["time"] = {"units": f"days since {first} 00:00:00", "dtype": "int64"}
    dataset.to_zarr(path, encoding=encoding, zarr_format=3, consolidated=False)
