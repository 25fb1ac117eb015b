"""Write synthetic archives of the layout and size that `experiments/era5_1p5deg.yaml` reads.

    python -m experiments.benchmarks.era5_layout OUTPUT [--years 3] [--stations 8000] [--seed 0]

`OUTPUT` gets a store in the layout of WeatherBench2 (13 levels, 121 x 240 with poles, daily at 00
UTC), NOAA's interpolated outgoing longwave radiation (73 x 144, two passes per day), and reports
in the layout of GHCN-Daily by year with `ghcnd-stations.txt`; era5_1p5deg_synthetic.yaml reads
them from `archives/synthetic`. They show what time and memory the recipe takes: no real weather is
in them, and no score on them is one on ERA5.

The fields are those of a nature run, interpolated bilinearly in space and linearly in log-pressure
(extrapolated below its lowest level), plus noise: Gaussian, of unit variance at the equator and
none at the poles, correlated over 2.5 grid lengths (e-folding) and from day to day by 0.7, times
0.5 K on the levels of the nature run, 4 W m-2 or, for rain, as a factor exp(0.5 noise). Reports
are read from the fields at the stations, corrected for elevation, with errors of 1 K and 0.3 in
log(1 + mm).
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from slams.grid import LatLonGrid

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
ZARR, OLR = "era5_240x121.zarr", "olr.2xdaily.nc"
PERSISTENCE, LENGTH = 0.7, 2.5
NOISE_K, NOISE_OLR, NOISE_RAIN = 0.5, 4.0, 0.5
ERROR_K, ERROR_RAIN, MISSING, FLAGGED = 1.0, 0.3, 0.1, 0.005
LAPSE_RATE, GRAVITY = 0.0065, 9.80665
FILL = np.float32(-9.96921e36)
# Days in memory at a time, a multiple of the days per chunk of the store.
BLOCK, CHUNK = 64, 8
SURFACE = ("2m_temperature", "total_precipitation_24hr", "outgoing_longwave_radiation")


@dataclass(frozen=True)
class Size:
    """Size of the archives: days, rows and columns of the two grids, and number of stations."""

    days: int
    grid: tuple[int, int] = (121, 240)
    olr_grid: tuple[int, int] = (73, 144)
    stations: int = 8000


def poles_grid(shape: tuple[int, int]) -> LatLonGrid:
    """Return an equiangular grid whose first and last rows are the poles."""
    rows, columns = shape
    return LatLonGrid(
        torch.linspace(90, -90, rows, dtype=torch.float64), 360 / columns * torch.arange(columns)
    )


class Regridder:
    """Bilinear interpolation of fields `(..., H, W)` to points or to a grid with poles."""

    def __init__(
        self, source: LatLonGrid, latitude: torch.Tensor, longitude: torch.Tensor
    ) -> None:
        index, weight = source.interpolation(latitude, longitude)
        self._index, self._weight = index.numpy(), weight.numpy().astype(np.float32)

    def __call__(self, fields: np.ndarray) -> np.ndarray:
        """Return the values at the points, `(..., P)` float32."""
        flat = fields.reshape(*fields.shape[:-2], -1)
        corners = range(self._index.shape[1])
        return sum(flat[..., self._index[:, k]] * self._weight[:, k] for k in corners)


class Noise:
    """Smooth noise `(channels, H, W)` that persists from day to day."""

    def __init__(self, channels: int, grid: LatLonGrid, rng: np.random.Generator) -> None:
        self._shape, self._rng = (channels, *grid.shape), rng
        self._taper = np.sqrt(np.cos(np.deg2rad(grid.latitude.numpy())).clip(0))[:, None]
        self._state = self._draw()

    def _draw(self) -> np.ndarray:
        white = self._rng.standard_normal(self._shape, dtype=np.float32)
        # Filtered with sigma s, white noise has the correlation exp(-(r / 2s)^2).
        sigma = LENGTH / 2
        smooth = gaussian_filter(white, (0, sigma, sigma), mode=("nearest", "nearest", "wrap"))
        return smooth * np.float32(2 * np.sqrt(np.pi) * sigma)

    def next(self) -> np.ndarray:
        """Return the noise of the next day."""
        kick = np.float32(np.sqrt(1 - PERSISTENCE**2))
        self._state = np.float32(PERSISTENCE) * self._state + kick * self._draw()
        return self._state * self._taper


class Fields:
    """The daily fields: those of a nature run on finer grids, with noise."""

    def __init__(self, nature: xr.Dataset, size: Size, rng: np.random.Generator) -> None:
        coarse = LatLonGrid(*(torch.tensor(nature[n].values) for n in ("latitude", "longitude")))
        self.grid, self.olr_grid = poles_grid(size.grid), poles_grid(size.olr_grid)
        self._nature = nature
        self._to_grid = Regridder(coarse, *self.grid.points)
        self._to_olr = Regridder(coarse, *self.olr_grid.points)
        self._levels = level_weights(nature["level"].values, LEVELS)
        self._noise = Noise(nature.sizes["level"] + 2, self.grid, rng)
        self._olr_noise = Noise(1, self.olr_grid, rng)

    def block(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return days `[start, stop)`: K, mm and W m-2, each `(days, [13,] H, W)` float32."""
        days = self._nature.isel(time=slice(start, stop)).astype(np.float32).load()
        count, shape = days.sizes["time"], self.grid.shape
        aloft = self._to_grid(days["temperature"].values).reshape(count, -1, *shape)
        near, rain, olr = (days[name].values for name in SURFACE)
        near, rain = (self._to_grid(values).reshape(count, *shape) for values in (near, rain))
        olr = self._to_olr(olr).reshape(count, *self.olr_grid.shape)
        noise = np.stack([self._noise.next() for _ in range(count)]).astype(np.float32)
        aloft += NOISE_K * noise[:, :-2]
        near += NOISE_K * noise[:, -2]
        rain *= np.exp(NOISE_RAIN * noise[:, -1])
        olr += NOISE_OLR * np.stack([self._olr_noise.next()[0] for _ in range(count)])
        found = {"temperature": np.einsum("kl,tlij->tkij", self._levels, aloft)}
        found |= dict(zip(SURFACE, (near, rain, olr), strict=True))
        for values in found.values():  # one value per pole
            values[..., [0, -1], :] = values[..., [0, -1], :].mean(axis=-1, keepdims=True)
        return found


def level_weights(source: np.ndarray, target: tuple[int, ...]) -> np.ndarray:
    """Return `(K, L)` float32 weights, linear in log-pressure, extrapolating at both ends."""
    order = np.argsort(source)
    x, y = np.log(source[order]), np.log(target)
    if len(x) == 1:
        return np.ones((len(y), 1), dtype=np.float32)
    upper = np.clip(np.searchsorted(x, y), 1, len(x) - 1)
    share = (y - x[upper - 1]) / (x[upper] - x[upper - 1])
    weights = np.zeros((len(y), len(x)), dtype=np.float32)
    weights[np.arange(len(y)), order[upper - 1]] = 1 - share
    weights[np.arange(len(y)), order[upper]] = share
    return weights


def terrain(grid: LatLonGrid, rng: np.random.Generator) -> np.ndarray:
    """Return smooth elevations (m), `(H, W)` float32; about half of the globe is at 0."""
    sigma = grid.shape[1] / 24
    white = rng.standard_normal(grid.shape)
    smooth = gaussian_filter(white, sigma, mode=("nearest", "wrap")) * 2 * np.sqrt(np.pi) * sigma
    smooth[[0, -1]] = smooth[[0, -1]].mean(axis=-1, keepdims=True)
    return np.maximum(1000 * smooth, 0).astype(np.float32)


class Stations:
    """Stations, clustered on the heights of the terrain, and their reports."""

    def __init__(
        self, count: int, grid: LatLonGrid, heights: np.ndarray, rng: np.random.Generator
    ) -> None:
        latitude = np.round(np.rad2deg(np.arcsin(rng.uniform(-1, 1, 20 * count))), 4)
        longitude = np.round(rng.uniform(-180, 180, 20 * count), 4)
        places = torch.from_numpy(latitude), torch.from_numpy(longitude)
        height = Regridder(grid, *places)(heights)
        # Most where the land is flat, some at sea and on mountains.
        density = 0.1 + np.where(height > 0, np.exp(-height / 500), 0)
        chosen = rng.choice(len(height), count, replace=False, p=density / density.sum())
        self.latitude, self.longitude = latitude[chosen], longitude[chosen]
        self.names = [f"XX{number:09d}" for number in range(count)]
        self.elevation = np.round(np.maximum(height[chosen] + rng.normal(0, 100, count), 0), 1)
        self._above = self.elevation - height[chosen]
        self._at = Regridder(grid, *(p[torch.from_numpy(chosen)] for p in places))
        self._has_mean = rng.random(count) < 0.25
        self._rng = rng

    def write_list(self, path: Path) -> None:
        """Write `ghcnd-stations.txt`."""
        rows = zip(self.names, self.latitude, self.longitude, self.elevation, strict=True)
        lines = (
            f"{n:<11} {a:8.4f} {o:9.4f} {e:6.1f}    {'SYNTHETIC':<30}\n" for n, a, o, e in rows
        )
        path.write_text("".join(lines), encoding="ascii")

    def lines(self, day: np.datetime64, near: np.ndarray, rain: np.ndarray) -> list[str]:
        """Return the reports of one day, from 2 m temperature (K) and precipitation (mm)."""
        rng, count = self._rng, len(self.names)
        mean = self._at(near) - LAPSE_RATE * self._above - 273.15 + rng.normal(0, ERROR_K, count)
        half = rng.uniform(2, 8, count)
        wet = np.expm1(self._at(np.log1p(rain)) + rng.normal(0, ERROR_RAIN, count)).clip(0)
        with_mean, every = self._has_mean, np.ones(count, dtype=bool)
        date = str(day).replace("-", "")
        lines = []
        for element, values, has in (
            ("TMAX", mean + half, ~with_mean),
            ("TMIN", mean - half, ~with_mean),
            ("TAVG", mean, with_mean),
            ("PRCP", wet, every),
        ):
            there = np.flatnonzero(has & (rng.random(count) >= MISSING))
            tenths = np.rint(10 * values[there]).astype(int).tolist()
            flags = np.where(rng.random(len(there)) < FLAGGED, "X", "").tolist()
            lines += [
                f"{self.names[k]},{date},{element},{value},,{flag},S,\n"
                for k, value, flag in zip(there.tolist(), tenths, flags, strict=True)
            ]
        return lines


def append_zarr(path: Path, days: np.ndarray, fields: dict[str, np.ndarray], size: Size) -> None:
    """Add days to the store in the layout of WeatherBench2, which is made where it is missing."""
    grid, dims = poles_grid(size.grid), ("time", "level", "longitude", "latitude")
    # Derived variables, including accumulations over 24 hours, have no units.
    units = {"temperature": "K", SURFACE[0]: "K", "geopotential_at_surface": "m**2 s**-2"}
    variables = {
        name: (
            {2: dims[2:], 3: (dims[0], *dims[2:]), 4: dims}[values.ndim],
            np.swapaxes(values[..., ::-1, :], -1, -2),
            {"units": units[name]} if name in units else {},
        )
        for name, values in fields.items()
    }
    coords = {
        "time": days.astype("datetime64[ns]"),
        "level": np.array(LEVELS),
        "longitude": grid.longitude.numpy().astype(np.float32),
        "latitude": grid.latitude.numpy()[::-1].astype(np.float32),
    }
    dataset = xr.Dataset(variables, coords)
    if path.exists():
        dataset.to_zarr(path, append_dim="time", consolidated=True)
        return
    encoding = {
        name: {"chunks": (CHUNK, *values.shape[1:])}
        for name, values in dataset.data_vars.items()
        if "time" in values.dims
    }
    encoding["time"] = {"units": "hours since 1959-01-01", "dtype": "int64", "chunks": (4096,)}
    dataset.to_zarr(path, encoding=encoding, zarr_format=2, consolidated=True)


def create_olr(path: Path, grid: LatLonGrid) -> netCDF4.Dataset:
    """Create NOAA's file of interpolated OLR, two passes per day, without a day."""
    file = netCDF4.Dataset(path, "w")
    file.setncatts(
        {"title": "Synthetic, in the layout of interpolated OLR", "Conventions": "COARDS"}
    )
    for name, values in (("time", None), ("lat", grid.latitude), ("lon", grid.longitude)):
        file.createDimension(name, None if values is None else len(values))
        kind = "f8" if values is None else "f4"
        variable = file.createVariable(name, kind, (name,))
        if values is not None:
            variable[:] = values.numpy()
    file["time"].units = "hours since 1800-01-01 00:00:0.0"
    olr = file.createVariable("olr", "f4", ("time", "lat", "lon"), zlib=True, fill_value=FILL)
    olr.setncatts({"units": "W/m^2", "statistic": "Mean", "missing_value": FILL})
    return file


def append_olr(file: netCDF4.Dataset, days: np.ndarray, olr: np.ndarray) -> None:
    """Add daily means as two passes, 3 W m-2 below and above them."""
    hours = (days - np.datetime64("1800-01-01")) // np.timedelta64(1, "h")
    done = len(file["time"])
    there = slice(done, done + 2 * len(days))
    file["time"][there] = (hours[:, None] + [0, 12]).reshape(-1)
    passes = olr[:, None] + np.float32([-3, 3])[:, None, None]
    file["olr"][there] = passes.reshape(-1, *olr.shape[1:])


def make(output: Path, nature: xr.Dataset, size: Size, seed: int = 0) -> None:
    """Write the archives of `size.days` days from the first of a nature run.

    Args:
        output: Directory, empty or missing.
        nature: Nature run (see `slams simulate`) of at least one day more.
        size: Their size.
        seed: Seed of noise, terrain, stations and errors.
    """
    (output / "ghcn-daily").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    fields = Fields(nature, size, rng)
    heights = terrain(fields.grid, rng)
    stations = Stations(size.stations, fields.grid, heights, rng)
    stations.write_list(output / "ghcnd-stations.txt")
    days = nature["time"].values.astype("datetime64[D]")
    years = days.astype("datetime64[Y]").astype(str)
    with create_olr(output / OLR, fields.olr_grid) as olr:
        # The total of the last day ends at the next midnight, the first one's start is unknown.
        before = np.full((1, *size.grid), np.nan, dtype=np.float32)
        for start in range(0, size.days + 1, BLOCK):
            stop = min(start + BLOCK, size.days + 1)
            block = fields.block(start, stop)
            near, rain, radiation = (block.pop(name) for name in SURFACE)
            total = np.concatenate([before, rain[:-1]]) / np.float32(1000)
            before = rain[-1:]
            static = {} if start else {"geopotential_at_surface": heights * np.float32(GRAVITY)}
            stored = {**block, SURFACE[0]: near, SURFACE[1]: total, **static}
            append_zarr(output / ZARR, days[start:stop], stored, size)
            stop = min(stop, size.days)
            append_olr(olr, days[start:stop], radiation[: stop - start])
            for day in range(start, stop):
                lines = stations.lines(days[day], near[day - start], rain[day - start])
                file = output / "ghcn-daily" / f"{years[day]}.csv.gz"
                with gzip.open(file, "at", encoding="ascii", compresslevel=4) as text:
                    text.writelines(lines)
            print(f"{days[stop - 1]}: {stop} of {size.days} days", flush=True)


def main() -> None:
    """Parse the arguments and write the archives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--nature-run", default="../shared/data/nature_run_1980_1984.zarr")
    parser.add_argument("--first-year", type=int, default=1981)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--stations", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    nature = xr.open_dataset(words.nature_run, engine="zarr", chunks=None, consolidated=None)
    nature = nature.sel(time=slice(str(words.first_year), None))
    last = np.datetime64(str(words.first_year + words.years), "D")
    days = int((nature["time"].values.astype("datetime64[D]") < last).sum())
    if days + 1 > nature.sizes["time"]:
        parser.error(f"{words.nature_run} ends before {last}")
    make(words.output, nature, Size(days, stations=words.stations), words.seed)


if __name__ == "__main__":
    main()
