"""The layout of nature runs: pressure levels, packing, and the Zarr store they are written to.

A store is created in full size and filled piece by piece along time. One piece is one chunk of
each array, so that writing a piece touches no file of another, and writing it again after an
interruption produces the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec

__all__ = [
    "HUMIDITY_LEVELS",
    "LEVELS",
    "PIECE_STEPS",
    "VARIABLES",
    "Variable",
    "create_nature_run",
    "round_mantissa",
    "to_pressure_levels",
    "write_piece",
]

LEVELS = (925, 850, 700, 500, 300, 200, 100, 30)
# There is hardly any water above these; the other levels are missing (NaN) in the store.
HUMIDITY_LEVELS = (925, 850, 700, 500)
# Time steps per piece, and per chunk.
PIECE_STEPS = 30

_MISSING = -32768
_LARGEST = 32767
# Explicit mantissa bits kept, out of 23 in float32: a relative error of at most 2^-11, 0.05 %.
_MANTISSA_BITS = 10


@dataclass(frozen=True)
class Variable:
    """Storage format of a variable of a nature run.

    Attributes:
        units: Physical units.
        on_levels: Whether it has the dimension `level`.
        scale: Step of the packed integers (in `units`); 0 stores float32 of reduced precision,
            for variables that span orders of magnitude.
        offset: Value of the packed integer 0 (in `units`).
    """

    units: str
    on_levels: bool = False
    scale: float = 0.0
    offset: float = 0.0


# Names and units of WeatherBench2, where it has the variable; the first five are packed as in
# the embedded sample.
VARIABLES: dict[str, Variable] = {
    "temperature": Variable("K", True, 0.1, 250.0),
    "2m_temperature": Variable("K", False, 0.1, 280.0),
    "total_precipitation_24hr": Variable("mm day-1", False, 0.1),
    "outgoing_longwave_radiation": Variable("W m-2", False, 1.0, 200.0),
    "surface_pressure": Variable("Pa", False, 10.0, 80000.0),
    "u_component_of_wind": Variable("m s-1", True, 0.02),
    "v_component_of_wind": Variable("m s-1", True, 0.02),
    # From 2e-2 at the surface of the tropics to 1e-6 and below: no fixed step resolves both.
    "specific_humidity": Variable("kg kg-1", True),
    # Replaces the daily total where the steps are instants.
    "precipitation_rate": Variable("mm day-1", False, 0.1),
}


def to_pressure_levels(
    values: np.ndarray, sigma: np.ndarray, surface_pressure: np.ndarray, levels: Sequence[int]
) -> np.ndarray:
    """Interpolate from sigma to pressure levels, linearly in log-pressure.

    Below the lowest and above the highest model level the value of that level is used.

    Args:
        values: `(n, K, H, W)` on the model's levels.
        sigma: `(K,)` pressure of each model level as a fraction of the surface pressure.
        surface_pressure: `(n, H, W)` hPa.
        levels: The `L` target pressure levels (hPa).

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


def round_mantissa(values: np.ndarray, bits: int = _MANTISSA_BITS) -> np.ndarray:
    """Round float32 to fewer mantissa bits, to nearest with ties to even.

    The result compresses well; zeros and NaN are unchanged, and the relative error of any other
    normal number is at most 2^-(bits + 1).

    Args:
        values: Any shape, finite or NaN.
        bits: Explicit mantissa bits to keep, 1 to 22.

    Returns:
        float32 of the same shape.
    """
    values = np.asarray(values, dtype=np.float32)
    dropped = np.uint32(23 - bits)
    raw = values.view(np.uint32)
    half = np.uint32((1 << (23 - bits - 1)) - 1) + ((raw >> dropped) & np.uint32(1))
    rounded = ((raw + half) >> dropped) << dropped
    return np.where(np.isnan(values), np.float32(np.nan), rounded.view(np.float32))


def create_nature_run(
    path: Path, first: xr.Dataset, times: np.ndarray, attributes: Mapping[str, str]
) -> None:
    """Create the store of a nature run: coordinates, terrain and empty arrays for all steps.

    Args:
        path: Zarr directory to write.
        first: The fields of some steps, for names and grid; `surface_elevation` (m) is written as
            it is.
        times: `(n,)` datetime64 of all steps of the run.
        attributes: Attributes of the store.
    """
    encoding: dict[str, dict[str, object]] = {"time": _time_encoding(times)}
    arrays = {}
    for name in _packed(first):
        variable, dims = VARIABLES[name], first[name].dims
        shape = (len(times), *first[name].shape[1:])
        chunks = (min(PIECE_STEPS, len(times)), *shape[1:])
        encoding[name] = {"chunks": chunks, **_encoding(variable)}
        kept = {"units": variable.units, "long_name": name.replace("_", " ")}
        # Never computed: only the shape is used.
        arrays[name] = (dims, da.zeros(shape, chunks=chunks, dtype=np.float32), kept)
    if "surface_elevation" in first:
        elevation = first["surface_elevation"]
        arrays["surface_elevation"] = (elevation.dims, elevation.values, {"units": "m"})
    north = {"units": "degrees_north", "standard_name": "latitude"}
    east = {"units": "degrees_east", "standard_name": "longitude"}
    coordinates = {
        "time": times.astype("datetime64[ns]"),
        "level": ("level", first["level"].values, {"units": "hPa"}),
        "latitude": ("latitude", first["latitude"].values, north),
        "longitude": ("longitude", first["longitude"].values, east),
    }
    dataset = xr.Dataset(arrays, coordinates, dict(attributes))
    dataset.to_zarr(path, encoding=encoding, zarr_format=3, consolidated=False, compute=False)


def write_piece(path: Path, fields: xr.Dataset, start: int) -> None:
    """Write the fields of one piece into a store made by `create_nature_run`.

    Args:
        path: The store.
        fields: At most `PIECE_STEPS` steps of the run's variables.
        start: Index of the first step in the run, a multiple of `PIECE_STEPS`.

    Raises:
        ValueError: The piece does not start at a chunk boundary, or a value does not fit the
            packing of its variable.
    """
    if start % PIECE_STEPS:
        raise ValueError(f"step {start} is not the first of a chunk of {PIECE_STEPS} steps")
    fields = fields[_packed(fields)].drop_vars(["level", "latitude", "longitude", "time"])
    for name, array in fields.items():
        variable = VARIABLES[str(name)]
        if not variable.scale:
            fields[name] = array.copy(data=round_mantissa(array.values))
        elif np.abs(array.values - variable.offset).max() > _LARGEST * variable.scale:
            raise ValueError(f"{name}: a value does not fit the packing ({variable})")
    region = {"time": slice(start, start + fields.sizes["time"])}
    fields.to_zarr(path, region=region, mode="r+", zarr_format=3, consolidated=False)


def _packed(fields: xr.Dataset) -> list[str]:
    return [name for name in VARIABLES if name in fields]


def _encoding(variable: Variable) -> dict[str, object]:
    if not variable.scale:
        codec = BloscCodec(typesize=4, cname="zstd", clevel=9, shuffle="bitshuffle")
        # A lost chunk is read as missing, never as a number.
        return {"dtype": "float32", "compressors": codec, "fill_value": np.float32(np.nan)}
    return {
        "dtype": "int16",
        "scale_factor": variable.scale,
        "add_offset": variable.offset,
        "_FillValue": _MISSING,
        # The same in Zarr: a lost chunk is read as missing, never as a number.
        "fill_value": _MISSING,
        "compressors": BloscCodec(typesize=2, cname="zstd", clevel=9, shuffle="bitshuffle"),
    }


def _time_encoding(times: np.ndarray) -> dict[str, str]:
    first = np.datetime_as_string(times[0].astype("datetime64[ns]"), unit="D")
    daily = (times == times.astype("datetime64[D]")).all()
    return {"units": f"{'days' if daily else 'hours'} since {first} 00:00:00", "dtype": "int64"}
