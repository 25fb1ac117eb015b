"""The variables a channel may name, with the physical units of their stored values.

Separate from `slams.fields`, so that a recipe can be checked without importing torch.
"""

from __future__ import annotations

__all__ = [
    "NEVER_NEGATIVE",
    "ON_LEVELS",
    "STANDARD_NAMES",
    "TRANSFORM_OF",
    "TRANSFORM_UNITS",
    "UNITS",
    "channel_units",
]

# WeatherBench2 names; outgoing longwave radiation has none there and uses its CF name.
UNITS = {
    "temperature": "K",
    "u_component_of_wind": "m s-1",
    "v_component_of_wind": "m s-1",
    "specific_humidity": "kg kg-1",
    "2m_temperature": "K",
    "total_precipitation_24hr": "mm day-1",
    "outgoing_longwave_radiation": "W m-2",
    "surface_pressure": "Pa",
}

# CF standard names of the same variables.
STANDARD_NAMES = {
    "temperature": "air_temperature",
    "u_component_of_wind": "eastward_wind",
    "v_component_of_wind": "northward_wind",
    "specific_humidity": "specific_humidity",
    "2m_temperature": "air_temperature",
    "total_precipitation_24hr": "lwe_precipitation_rate",
    "outgoing_longwave_radiation": "toa_outgoing_longwave_flux",
    "surface_pressure": "surface_air_pressure",
}

# Variables on pressure levels; the others have one value per column of air.
ON_LEVELS = (
    "temperature",
    "u_component_of_wind",
    "v_component_of_wind",
    "specific_humidity",
)

# Values below zero are numerical noise of the archive: `slams prepare` replaces them by zero and
# counts them. (Precipitation is not listed: stores made before this rule keep its noise, which
# its transform treats as zero.)
NEVER_NEGATIVE = ("specific_humidity",)

# Transform of each variable that is not normalised directly, see `slams.normalisation`.
TRANSFORM_OF = {
    "total_precipitation_24hr": "log1p",
    "specific_humidity": "square_root",
}

# Units after each transform; the physical units replace the braces.
TRANSFORM_UNITS = {
    "identity": "{}",
    "log1p": "log(1 + {})",
    "square_root": "sqrt({})",
}


def channel_units(variable: str) -> str:
    """Return the units of a variable after its transform, or "" for an unknown variable."""
    if variable not in UNITS:
        return ""
    return TRANSFORM_UNITS[TRANSFORM_OF.get(variable, "identity")].format(UNITS[variable])
