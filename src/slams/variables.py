"""The variables a channel may name, with the physical units of their stored values.

Kept apart from `slams.fields`, so that checking a recipe costs no import of torch.
"""

from __future__ import annotations

__all__ = ["ON_LEVELS", "STANDARD_NAMES", "UNITS"]

# WeatherBench2 names; outgoing longwave radiation has none there and carries its CF name.
UNITS = {
    "temperature": "K",
    "2m_temperature": "K",
    "total_precipitation_24hr": "mm day-1",
    "outgoing_longwave_radiation": "W m-2",
    "surface_pressure": "Pa",
}

# CF standard names of the same.
STANDARD_NAMES = {
    "temperature": "air_temperature",
    "2m_temperature": "air_temperature",
    "total_precipitation_24hr": "lwe_precipitation_rate",
    "outgoing_longwave_radiation": "toa_outgoing_longwave_flux",
    "surface_pressure": "surface_air_pressure",
}

# Those given at pressure levels; the others have one value a column of air.
ON_LEVELS = ("temperature",)
