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

import xarray as xr
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
    run = xr.open_zarr(source, consolidated=False, mask_and_scale=False)
    missing = [name for name in VARIABLES if name not in run]
    if missing:
        raise UserError(f"{source}: variable {missing[0]!r} is missing")
    sample = run[list(VARIABLES)].sel(time=slice(str(FIRST_DAY), str(LAST_DAY))).drop_encoding()
    expected = (LAST_DAY - FIRST_DAY).days + 1
    if sample.sizes["time"] != expected:
        raise UserError(
            f"{source}: found {sample.sizes['time']} days from {FIRST_DAY} to {LAST_DAY}, "
            f"expected {expected}"
        )
    sample.attrs["comment"] = (
        f"{FIRST_DAY} to {LAST_DAY}, cut from a longer run. Packed: 0.1 K, 1 W m-2, 0.1 mm day-1."
    )
    encoding: dict[str, dict[str, object]] = {name: _encoding(sample[name]) for name in VARIABLES}
    encoding["time"] = {"units": f"days since {FIRST_DAY} 00:00:00", "dtype": "int64"}
    sample.load().to_zarr(target, zarr_format=3, consolidated=False, encoding=encoding)


def _encoding(array: xr.DataArray) -> dict[str, object]:
    return {
        "chunks": (CHUNK_DAYS, *array.shape[1:]),
        "compressors": BloscCodec(
            typesize=array.dtype.itemsize, cname="zstd", clevel=9, shuffle="bitshuffle"
        ),
        # The packed missing value, so that a lost chunk is read as missing, never as a number.
        "fill_value": array.attrs["_FillValue"],
    }


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
