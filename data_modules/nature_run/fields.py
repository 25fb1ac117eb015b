"""Convert model output to the fields of a nature run: levels, units, names, orientation."""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.nature_run.layout import HUMIDITY_LEVELS, LEVELS, to_pressure_levels

__all__ = ["run_fields"]

_REFERENCE_PRESSURE = 1e5
_DAY_SECONDS = 86400.0


def run_fields(output: xr.Dataset, *, instants: bool = False) -> xr.Dataset:
    """Convert the model's output to the fields of a nature run.

    The winds are those along longitude and latitude: jcm divides by the cosine of latitude
    itself, and its humidity is in kg kg-1.

    Args:
        output: Output of jcm: dims (time, [level,] lon, lat), `level` the sigma of full levels.
        instants: Whether the steps are instants, whose dates are kept; otherwise they are daily
            means, dated at the beginning of the day.

    Returns:
        Latitude from north to south; on pressure levels temperature (K), eastward and northward
        wind (m s-1) and specific humidity (kg kg-1, NaN above `HUMIDITY_LEVELS`); 2 m temperature
        (K), precipitation (mm day-1; the daily total, or the rate at the instant), OLR (W m-2)
        and surface pressure (Pa).
    """
    output = output.transpose("time", "level", "lat", "lon", ...).sortby("lat", ascending=False)
    pressure = output["normalized_surface_pressure"].values * _REFERENCE_PRESSURE
    sigma = output["level"].values

    def on_levels(name: str, levels: tuple[int, ...] = LEVELS) -> np.ndarray:
        return to_pressure_levels(output[name].values, sigma, pressure / 100.0, levels)

    dims = ("time", "latitude", "longitude")
    columns = ("time", "level", *dims[1:])
    times = output["time"].values
    if not instants:  # jcm dates means at noon
        times = times.astype("datetime64[D]")
    humidity = np.full((len(times), len(LEVELS), *pressure.shape[1:]), np.nan, dtype=np.float32)
    moist = [LEVELS.index(level) for level in HUMIDITY_LEVELS]
    # Spectral ripples can produce slightly negative values.
    humidity[:, moist] = np.maximum(on_levels("specific_humidity", HUMIDITY_LEVELS), 0.0)
    rain = np.maximum(output["surface_exchange.precipitation"].values, 0.0) * _DAY_SECONDS
    return xr.Dataset(
        {
            "temperature": (columns, on_levels("temperature")),
            "2m_temperature": (dims, output["surface_flux.t0"].values),
            "precipitation_rate" if instants else "total_precipitation_24hr": (dims, rain),
            "outgoing_longwave_radiation": (dims, output["longwave_rad.ftop"].values),
            "surface_pressure": (dims, pressure),
            "u_component_of_wind": (columns, on_levels("u_wind")),
            "v_component_of_wind": (columns, on_levels("v_wind")),
            "specific_humidity": (columns, humidity),
        },
        coords={
            "time": times.astype("datetime64[ns]"),
            "level": list(LEVELS),
            "latitude": output["lat"].values,
            "longitude": output["lon"].values,
        },
    )
