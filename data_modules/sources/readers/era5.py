"""How the WeatherBench2 and ARCO stores hold what ERA5 has.

Names, units and accumulation conventions are those of ECMWF: a value of precipitation or of a
mean flux covers the hours that end at its time stamp; fluxes count downwards, so that outgoing
longwave radiation is minus the net thermal radiation at the top of the atmosphere. Precipitation
is in m, radiation in W m-2 or, accumulated, in J m-2.
"""

from __future__ import annotations

import xarray as xr

from data_modules.sources.canonical.layouts import Held

__all__ = ["era5_layout", "with_terrain"]

_GRAVITY = 9.80665  # m s-2, the constant that ECMWF divides geopotential by

# In the order of preference: what is first there is read.
_CHOICES = {
    "temperature": (Held("temperature", units="K"),),
    "u_component_of_wind": (Held("u_component_of_wind", units="m s**-1"),),
    "v_component_of_wind": (Held("v_component_of_wind", units="m s**-1"),),
    "specific_humidity": (Held("specific_humidity", units="kg kg**-1"),),
    "2m_temperature": (Held("2m_temperature", units="K"),),
    "total_precipitation_24hr": (
        Held("total_precipitation_24hr", units="m", hours=24, stamp="end"),
        Held("total_precipitation_12hr", units="m", hours=12, stamp="end"),
        Held("total_precipitation_6hr", units="m", hours=6, stamp="end"),
        Held("total_precipitation", units="m", hours=1, stamp="end"),
    ),
    "outgoing_longwave_radiation": (
        Held(
            "mean_top_net_long_wave_radiation_flux",
            units="W m**-2",
            factor=-1.0,
            hours=1,
            stamp="end",
        ),
        Held("top_net_thermal_radiation", units="J m**-2", factor=-1.0, hours=1, stamp="end"),
    ),
    "surface_pressure": (Held("surface_pressure", units="Pa"),),
}


def era5_layout(dataset: xr.Dataset) -> dict[str, Held]:
    """Find how a store holds each variable: the first choice that it has, or the first of all."""
    return {
        variable: next((held for held in choices if held.name in dataset), choices[0])
        for variable, choices in _CHOICES.items()
    }


def with_terrain(dataset: xr.Dataset) -> xr.Dataset:
    """Add `surface_elevation` (m) where the store has the geopotential at the surface."""
    name = "geopotential_at_surface"
    if name not in dataset or "time" in dataset[name].dims:
        return dataset
    return dataset.assign(surface_elevation=dataset[name] / _GRAVITY)
