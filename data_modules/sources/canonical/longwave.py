"""The direction of longwave radiation at the top of the atmosphere.

ECMWF counts all vertical fluxes positive downwards, whatever standard name a conversion gave them:
`ttr` of the Climate Data Store is named `toa_outgoing_longwave_flux` and is about -8.5e5 J m-2 per
hour (https://confluence.ecmwf.int/display/CKB/ERA5+data+documentation, "vertical fluxes"). `rlut`,
`olr` and `ulwrf` of other archives are positive upwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["OLR", "upward_factor"]

OLR = "outgoing_longwave_radiation"
# Names of the net flux in ECMWF's files, and its numbers in the parameter database.
_DOWNWARD = (
    "ttr",
    "mtnlwrf",
    "avg_tnlwrf",
    "top_net_thermal_radiation",
    "mean_top_net_long_wave_radiation_flux",
)
_PARAMETERS = (179, 235040)


def upward_factor(name: str, attributes: Mapping[Any, Any]) -> float:
    """Return the factor to a flux that is positive upwards, 1 or -1.

    Args:
        name: Name of the variable in its file.
        attributes: Its attributes: `GRIB_shortName`, `GRIB_paramId`, `standard_name`.
    """
    names = {name.lower(), str(attributes.get("GRIB_shortName", "")).lower()}
    if names & set(_DOWNWARD) or str(attributes.get("GRIB_paramId")) in map(str, _PARAMETERS):
        return -1.0
    return -1.0 if "downward" in str(attributes.get("standard_name", "")) else 1.0
