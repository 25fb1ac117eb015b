"""Write a few days of synthetic fields of the shape that `experiments/era5_0p25deg.yaml` reads.

    python -m experiments.benchmarks.synthetic_store OUTPUT [--days 12] [--grid 721x1440]

`OUTPUT` is a Zarr store in the layout of a nature run (13 levels, 2 m temperature, precipitation,
outgoing longwave radiation; rows with poles), of a size that matters for memory and time alone:
the mean falls towards the poles and with height, the rest is noise without a scale. One day is in
memory at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
FIRST_DAY = np.datetime64("1979-01-01", "ns")


def fields(day: int, grid: tuple[int, int], rng: np.random.Generator) -> xr.Dataset:
    """Return one day: temperatures in K, precipitation in mm day-1, radiation in W m-2.

    Args:
        day: Number of the day, 0 for the first.
        grid: Number of rows, from pole to pole, and of columns.
        rng: Generator of the noise.
    """
    rows, columns = grid
    latitude = np.linspace(90, -90, rows)
    warm = np.float32(30) * np.cos(np.deg2rad(latitude)).astype(np.float32)[:, None]
    dims = ("latitude", "longitude")
    cold = 4 * np.arange(len(LEVELS), dtype=np.float32)[::-1, None, None]

    def noise(*lead: int) -> np.ndarray:
        return rng.standard_normal((1, *lead, rows, columns), dtype=np.float32)

    variables = {
        "temperature": (("time", "level", *dims), 255 + warm - cold + 2 * noise(13), "K"),
        "2m_temperature": (("time", *dims), 260 + warm + 2 * noise(), "K"),
        "total_precipitation_24hr": (("time", *dims), np.maximum(3 * noise(), 0), "mm day-1"),
        "outgoing_longwave_radiation": (("time", *dims), 220 + warm + 8 * noise(), "W m-2"),
    }
    return xr.Dataset(
        {name: (on, values, {"units": units}) for name, (on, values, units) in variables.items()},
        coords={
            "time": [FIRST_DAY + np.timedelta64(day, "D")],
            "level": ("level", list(LEVELS), {"units": "hPa"}),
            "latitude": latitude,
            "longitude": 360 / columns * np.arange(columns),
        },
        attrs={"title": "synthetic fields of a size", "license": "free to use"},
    )


def write(output: Path, days: int, grid: tuple[int, int], seed: int = 0) -> None:
    """Write the store, one chunk per day and variable.

    Args:
        output: The Zarr directory, which must not exist.
        days: Number of days.
        grid: Number of rows and columns.
        seed: Seed of the noise.
    """
    rng = np.random.default_rng(seed)
    for day in range(days):
        one = fields(day, grid, rng)
        if day == 0:
            first = {"units": f"days since {str(FIRST_DAY)[:10]}", "dtype": "float64"}
            one.chunk({"time": 1}).to_zarr(
                output, mode="w-", encoding={"time": first}, consolidated=False
            )
        else:
            one.to_zarr(output, append_dim="time", consolidated=False)


def main() -> None:
    """Read the command line and write the store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--grid", default="721x1440", help="rows x columns")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows, columns = (int(n) for n in given.grid.split("x"))
    write(given.output, given.days, (rows, columns), given.seed)


if __name__ == "__main__":
    main()
