"""Layout of ERA5 variables in WeatherBench2 and ARCO stores.

Names, units and accumulation conventions are those of ECMWF: a value of precipitation or of a
mean flux covers the hours that end at its time stamp; fluxes are positive downwards, so outgoing
longwave radiation is minus the net thermal radiation at the top of the atmosphere. Precipitation
is in m, radiation in W m-2 or, accumulated, in J m-2.
"""

from __future__ import annotations

import xarray as xr

from data_modules.sources.canonical.layouts import VariableLayout

__all__ = ["GRAVITY", "era5_layout", "with_terrain"]

GRAVITY = 9.80665  # m s-2, the constant by which ECMWF divides geopotential

# In order of preference: the first variable that exists is read.
_CHOICES = {
    "temperature": (VariableLayout("temperature", units="K"),),
    "u_component_of_wind": (VariableLayout("u_component_of_wind", units="m s**-1"),),
    "v_component_of_wind": (VariableLayout("v_component_of_wind", units="m s**-1"),),
    "specific_humidity": (VariableLayout("specific_humidity", units="kg kg**-1"),),
    "2m_temperature": (VariableLayout("2m_temperature", units="K"),),
    "total_precipitation_24hr": (
        VariableLayout("total_precipitation_24hr", units="m", hours=24, stamp="end"),
        VariableLayout("total_precipitation_12hr", units="m", hours=12, stamp="end"),
        VariableLayout("total_precipitation_6hr", units="m", hours=6, stamp="end"),
        VariableLayout("total_precipitation", units="m", hours=1, stamp="end"),
    ),
    "outgoing_longwave_radiation": (
        VariableLayout(
            "mean_top_net_long_wave_radiation_flux",
            units="W m**-2",
            factor=-1.0,
            hours=1,
            stamp="end",
        ),
        VariableLayout(
            "top_net_thermal_radiation", units="J m**-2", factor=-1.0, hours=1, stamp="end"
        ),
    ),
    "surface_pressure": (VariableLayout("surface_pressure", units="Pa"),),
}


def era5_layout(dataset: xr.Dataset, step: float = 1.0) -> dict[str, VariableLayout]:
    """Return the layout of each variable: the first choice that the store has, or the first.

    Args:
        dataset: The store.
        step: Length (days) of the steps to read; choices over longer hours come last.
    """
    found = {}
    for variable, choices in _CHOICES.items():
        there = [one for one in choices if one.name in dataset] or list(choices)
        short = [one for one in there if (one.hours or 0) <= 24 * step]
        found[variable] = (short or there)[0]
    return found


def with_terrain(dataset: xr.Dataset) -> xr.Dataset:
    """Add `surface_elevation` (m) where the store has the geopotential at the surface."""
    name = "geopotential_at_surface"
    if name not in dataset or "time" in dataset[name].dims:
        return dataset
    return dataset.assign(surface_elevation=dataset[name] / GRAVITY)
