"""The variables a channel may name, with the physical units of their stored values.

Separate from `slams.fields`, so that a recipe can be checked without importing torch.
"""

from __future__ import annotations

import re

from slams.errors import UserError, nearest

__all__ = [
    "DAY_METHODS",
    "DEFAULT_ERRORS",
    "NEVER_NEGATIVE",
    "ON_LEVELS",
    "OTHER_NAMES",
    "PLAUSIBLE_MEANS",
    "SHORT_NAMES",
    "STANDARD_NAMES",
    "TRANSFORM_OF",
    "TRANSFORM_UNITS",
    "UNITS",
    "channel_units",
    "check_channel",
    "find_variable",
    "split_channel",
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

# Range of the mean over the globe, or over the part with data, of days of any season and at any
# level, in these units: a mean outside of it is not of this variable in these units and sign.
PLAUSIBLE_MEANS = {
    "temperature": (170.0, 320.0),
    "u_component_of_wind": (-60.0, 80.0),
    "v_component_of_wind": (-20.0, 20.0),
    "specific_humidity": (0.0, 0.03),
    "2m_temperature": (200.0, 320.0),
    "total_precipitation_24hr": (0.05, 30.0),
    "outgoing_longwave_radiation": (100.0, 350.0),
    "surface_pressure": (5e4, 1.1e5),
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

# Other names of the same variables in tables and files: those of ECMWF, CMIP and NOAA PSL. A name
# stands for one variable, and case does not matter.
OTHER_NAMES = {
    "temperature": ("t", "ta", "temp", "air", "air_temperature"),
    "u_component_of_wind": ("u", "ua", "uwnd", "eastward_wind"),
    "v_component_of_wind": ("v", "va", "vwnd", "northward_wind"),
    "specific_humidity": ("q", "hus", "shum"),
    "2m_temperature": ("t2m", "2t", "tas"),
    "total_precipitation_24hr": ("tp", "pr", "precip", "precipitation", "total_precipitation"),
    "outgoing_longwave_radiation": (
        "olr",
        "rlut",
        "toa_outgoing_longwave_flux",
        "toa_lw_all_daily",  # CERES
    ),
    "surface_pressure": ("sp", "ps", "surface_air_pressure"),
}

# Standard deviation of the error of a point observation for which neither the report nor the
# recipe states one, in the units of the channel (K, m s-1, log(1 + mm day-1), root of kg kg-1, W
# m-2, Pa): instrument and representativeness for grid cells of 150 to 400 km together. They are
# rounded from docs/observations.md and the shipped recipes, not fitted to the user's network. That
# of pressure is large because a station's pressure is not adjusted to the model's terrain.
DEFAULT_ERRORS = {
    "temperature": 1.5,
    "u_component_of_wind": 3.0,
    "v_component_of_wind": 3.0,
    "specific_humidity": 0.01,
    "2m_temperature": 2.0,
    "total_precipitation_24hr": 0.4,
    "outgoing_longwave_radiation": 10.0,
    "surface_pressure": 1000.0,
}

# Names in CF files, which must begin with a letter; result tables keep the WeatherBench2 names.
SHORT_NAMES = {
    "temperature": "temperature",
    "u_component_of_wind": "u_component_of_wind",
    "v_component_of_wind": "v_component_of_wind",
    "specific_humidity": "specific_humidity",
    "2m_temperature": "t2m",
    "total_precipitation_24hr": "tp",
    "outgoing_longwave_radiation": "olr",
    "surface_pressure": "sp",
}

# How values represent the day of their date, where this is the same for every source: amounts and
# fluxes are averaged over the UTC day. (A total in mm day-1 is a mean rate, not a sum.)
DAY_METHODS = {
    "total_precipitation_24hr": "mean",
    "outgoing_longwave_radiation": "mean",
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


def find_variable(name: str) -> str | None:
    """Return the variable that a name stands for, its own or one of `OTHER_NAMES`, or `None`.

    Args:
        name: A name in a table or a file; its case does not matter.
    """
    lower = name.strip().lower()
    if lower in UNITS:
        return lower
    return next((variable for variable, names in OTHER_NAMES.items() if lower in names), None)


def split_channel(name: str, key: str = "") -> tuple[str, int | None]:
    """Read the variable and the level (hPa) of a channel as written in recipes.

    Args:
        name: `temperature@850` or `2m_temperature`.
        key: Key that names it, for the message.

    Raises:
        UserError: The variable is unknown, or the level is not a whole number of hPa.
    """
    where = f"key {key!r}: channel {name!r}" if key else f"channel {name!r}"
    variable, at, level = name.partition("@")
    if variable not in UNITS:
        hint = nearest(variable, tuple(UNITS))
        raise UserError(f"{where}: variable {variable!r} is unknown; {hint}")
    if at and not re.fullmatch(r"[1-9][0-9]{0,3}", level):
        raise UserError(f"{where}: level {level!r} is not a whole number of hPa")
    return variable, int(level) if at else None


def check_channel(key: str, name: str) -> None:
    """Refuse a channel whose variable has no levels where it names one, or the reverse.

    Args:
        key: Key that names it, for the message.
        name: As in `split_channel`.

    Raises:
        UserError: They do not fit, or as in `split_channel`.
    """
    variable, level = split_channel(name, key)
    form, has = (f"{variable}@850", "has") if variable in ON_LEVELS else (variable, "has no")
    if (variable in ON_LEVELS) != (level is not None):
        raise UserError(
            f"key {key!r}: found {name!r}, expected the form {form}, since {variable} {has} levels"
        )
