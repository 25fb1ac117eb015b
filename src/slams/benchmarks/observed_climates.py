"""Observed climatologies, read from the files of their publishers, for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from data_modules.preparation.regridding import Regridder
from slams.benchmarks.recipes import ClimateConfig
from slams.errors import UserError
from slams.grid import LatLonGrid

__all__ = ["annual_forcing", "compare_with_observed", "global_mean"]


@dataclass(frozen=True)
class _Source:
    """Where a variable of ours is in a published file, and its conversion.

    Attributes:
        name: Name in the file.
        level: Name of its dimension of pressure levels (hPa); "" at the surface.
        factor: Factor that converts its values to our units.
    """

    name: str
    level: str = ""
    factor: float = 1.0


# NCAR's collection of June means on 17 levels, T42.
_JUNE = {
    "temperature": _Source("T", "lev"),
    "u_component_of_wind": _Source("U", "lev"),
    "v_component_of_wind": _Source("V", "lev"),
    "specific_humidity": _Source("SHUM", "lev2", 1e-3),
    "2m_temperature": _Source("TREFHT"),
    "outgoing_longwave_radiation": _Source("FLUT"),
    "surface_pressure": _Source("PS", factor=100.0),
}
# GPCP as in CMIP5, kg m-2 s-1 in twelve months.
_PRECIPITATION = {"total_precipitation_24hr": _Source("pr", factor=86400.0)}
_Row = tuple[str, str, float, float, float, float]
_COLUMNS = ["channel", "months", "nature_run", "observed", "difference", "rms"]


def compare_with_observed(segments: Sequence[xr.Dataset], config: ClimateConfig) -> pd.DataFrame:
    """Compare the climate of nature runs with observed ones on the grid of the nature run.

    Args:
        segments: Results of `climate.monthly_climate`; all of their years are used together.
        config: The recipe, which names the files.

    Returns:
        Columns channel, months, nature_run and observed (global means), difference (of these), rms
        (over the globe of the maps' differences; for precipitation over the twelve months too).
        No rows where the recipe names no file.

    Raises:
        UserError: A file is missing or lacks the content of the published file.
    """
    months = xr.concat([s["mean"] for s in segments], dim="time")
    cycle = months.groupby("time.month").mean()
    rows: list[_Row] = []
    if config.june:
        rows += _compare(cycle.sel(month=[6]), "june", config.june, _JUNE, "June")
    if config.precipitation:
        rows += _compare(cycle, "precipitation", config.precipitation, _PRECIPITATION, "all")
    return pd.DataFrame(rows, columns=_COLUMNS)


def annual_forcing(path: str, annual: pd.DataFrame) -> pd.DataFrame:
    """Average the anomalies that drove a nature run over the globe and over its years.

    Args:
        path: The file of jcm, `ssta(time, lat, lon)` in K, monthly.
        annual: Result of `climate.annual_means`, with the years of each segment.

    Returns:
        Rows like those of `annual`, for the channel `sea_surface_temperature_anomaly` (K).

    Raises:
        UserError: The file cannot be read, or holds no such variable.
    """
    observed = _open("forcing", path, decode_times=True)
    if "ssta" not in observed:
        raise UserError(f"key 'forcing': {path} has no variable ssta, expected the file of jcm")
    years = global_mean(observed["ssta"], "lat", "lon").groupby("time.year").mean()
    rows = annual[["segment", "year"]].drop_duplicates()
    rows = rows[rows["year"].isin(years["year"].values)]
    means = years.sel(year=rows["year"].to_numpy()).values
    return rows.assign(channel="sea_surface_temperature_anomaly", mean=means)


def global_mean(
    values: xr.DataArray, latitude: str = "latitude", longitude: str = "longitude"
) -> xr.DataArray:
    """Average over the globe, weighted by area.

    Args:
        values: Values on a global grid.
        latitude: Name of its latitudes (degrees north).
        longitude: Name of its longitudes (degrees east).
    """
    weights = _grid(values[latitude], values[longitude]).weights.numpy()
    weights = xr.DataArray(weights, {latitude: values[latitude]}, (latitude,))
    return values.weighted(weights).mean((latitude, longitude))


def _open(key: str, path: str, decode_times: bool = False) -> xr.Dataset:
    try:
        with warnings.catch_warnings():
            # NCAR's file has two values for missing data; both are decoded.
            warnings.simplefilter("ignore", xr.SerializationWarning)
            with xr.open_dataset(path, decode_times=decode_times) as dataset:
                return dataset.load()
    except (OSError, ValueError) as error:
        raise UserError(f"key {key!r}: {path} cannot be read as NetCDF ({error})") from error


def _compare(
    cycle: xr.DataArray, key: str, path: str, sources: dict[str, _Source], months: str
) -> Iterator[_Row]:
    observed = _open(key, path)
    grid = _grid(cycle["latitude"], cycle["longitude"])
    weights = (grid.weights / grid.weights.sum()).numpy()[:, None] / grid.shape[1]
    for channel in cycle["channel"].values:
        variable, _, level = str(channel).partition("@")
        source, count = sources.get(variable), cycle.sizes["month"]
        field = None if source is None else _observed(observed, source, level, count, key)
        if field is None:
            continue
        there = Regridder(_grid(field["lat"], field["lon"]), grid, "conservative")(field.values)
        here = cycle.sel(channel=channel).transpose("month", "latitude", "longitude").values
        known = np.isfinite(there)
        share = np.where(known, weights, 0.0)
        share = share / share.sum()
        here, there = np.where(known, here, 0.0), np.where(known, there, 0.0)
        means = float((share * here).sum()), float((share * there).sum())
        rms = float(np.sqrt((share * (here - there) ** 2).sum()))
        yield str(channel), months, *means, means[0] - means[1], rms


def _observed(
    observed: xr.Dataset, source: _Source, level: str, months: int, key: str
) -> xr.DataArray | None:
    """Return a field `(time, lat, lon)` in our units; `None` at a level that the file lacks."""
    if source.name not in observed or observed[source.name].sizes.get("time") != months:
        raise UserError(
            f"key {key!r}: the file has no variable {source.name} of {months} months, expected "
            f"the climatology as published"
        )
    field = observed[source.name]
    if source.level:
        if float(level) not in field[source.level].values:
            return None
        field = field.sel({source.level: float(level)})
    field = field.transpose("time", "lat", "lon").sortby("lat", ascending=False)
    return field * source.factor


def _grid(latitude: xr.DataArray, longitude: xr.DataArray) -> LatLonGrid:
    return LatLonGrid(np.array(latitude, np.float64), np.array(longitude, np.float64))
