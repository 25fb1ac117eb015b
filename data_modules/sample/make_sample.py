"""Cut the embedded sample out of a longer nature run, keeping the packed integers as they are.

    python -m data_modules.sample.make_sample INPUT.zarr OUTPUT.zarr

The values are copied in packed form (int16 with scale and offset), never decoded, so that the
sample is identical to its source. Chunks are long in time: the sample is read once, from beginning
to end, and long chunks compress better and need fewer files.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from slams.errors import UserError

__all__ = ["CHUNK_DAYS", "FIRST_DAY", "LAST_DAY", "VARIABLES", "make_sample"]

FIRST_DAY = date(1981, 7, 1)
LAST_DAY = date(1984, 6, 30)
VARIABLES = (
    "temperature",
    "2m_temperature",
    "total_precipitation_24hr",
    "outgoing_longwave_radiation",
)
CHUNK_DAYS = 137  # eight equal chunks of the three years


def make_sample(source: Path, target: Path) -> None:
    """Write the sample.

    Args:
        source: Nature run (Zarr v3, CF-packed int16, time in "days since YYYY-MM-DD").
        target: Zarr store to write; must not exist.

    Raises:
        UserError: The source does not cover the period or lacks a variable, or the target
            exists.
    """
    if target.exists():
        raise UserError(f"{target} exists; remove it first")
    run = zarr.open_group(str(source), mode="r")
    units = str(run["time"].attrs["units"])
    epoch = np.datetime64(units.removeprefix("days since ").split()[0], "D")
    days = epoch + np.asarray(run["time"][:]).astype("timedelta64[D]")
    inside = np.flatnonzero((days >= np.datetime64(FIRST_DAY)) & (days <= np.datetime64(LAST_DAY)))
    expected = (LAST_DAY - FIRST_DAY).days + 1
    if len(inside) != expected:
        raise UserError(
            f"{source}: found {len(inside)} days from {FIRST_DAY} to {LAST_DAY}, "
            f"expected {expected}"
        )
    missing = [name for name in VARIABLES if name not in run]
    if missing:
        raise UserError(f"{source}: variable {missing[0]!r} is missing")
    period = slice(int(inside[0]), int(inside[-1]) + 1)
    sample = zarr.create_group(str(target), attributes=_attributes(run))
    for name in VARIABLES:
        _copy(run[name], sample, name, run[name][period])
    for name in ("level", "latitude", "longitude"):
        _copy(run[name], sample, name, run[name][:])
    _copy(run["time"], sample, "time", np.arange(expected, dtype=np.int64))
    sample["time"].attrs["units"] = f"days since {FIRST_DAY} 00:00:00"


def _attributes(run: zarr.Group) -> dict[str, str]:
    attributes = dict(run.attrs)
    attributes["comment"] = (
        f"{FIRST_DAY} to {LAST_DAY}, cut from a longer run. Packed: 0.1 K, 1 W m-2, 0.1 mm day-1."
    )
    return attributes


def _copy(array: zarr.Array, target: zarr.Group, name: str, values: np.ndarray) -> None:
    days = min(CHUNK_DAYS, values.shape[0]) if values.ndim > 1 else values.shape[0]
    copy = target.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(days, *values.shape[1:]),
        compressors=BloscCodec(
            typesize=values.itemsize, cname="zstd", clevel=9, shuffle="bitshuffle"
        ),
        # The packed missing value, so that a lost chunk is read as missing, never as a number.
        fill_value=array.attrs["_FillValue"] if values.ndim > 1 else array.fill_value,
        dimension_names=array.metadata.dimension_names,
        attributes=dict(array.attrs),
    )
    copy[...] = values


def main() -> None:
    """Read the two paths from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        make_sample(arguments.input, arguments.output)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
