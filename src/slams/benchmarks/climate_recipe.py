"""The keys of `slams bench climate`, and their validation.

The comment above a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slams.errors import UserError

__all__ = ["ClimateConfig", "check_climate"]


@dataclass
class ClimateConfig:
    """Nature runs whose climates are compared with one another and with observed ones."""

    # Stores written by `slams simulate`, in the order of time; each is a segment with its own
    # spin-up.
    segments: list[str] = field(default_factory=list)
    # First and last day to read of each segment (ISO dates, in pairs); empty for all of them.
    days: list[str] = field(default_factory=list)
    # June means of the NCEP/NCAR reanalysis, the file `ncep_june_climo_17lev_T42.nc` of NCAR; ""
    # omits the comparison.
    june: str = ""
    # Annual cycle of precipitation from GPCP, the file `gpcp_pr_annualcycle.nc`; "" omits the
    # comparison.
    precipitation: str = ""
    # Sea surface temperature anomalies that drove the nature run, the file
    # `sea_surface_temperature_anomaly.nc` of jcm: their trend is printed next to the model's; ""
    # omits them.
    forcing: str = ""


def check_climate(config: ClimateConfig) -> None:
    """Refuse a recipe that names no segment, or days that do not come in pairs.

    Raises:
        UserError: The key, what was found, what is expected.
    """
    if not config.segments:
        raise UserError("key 'segments': found none, expected stores that `slams simulate` wrote")
    if len(config.days) not in (0, 2 * len(config.segments)):
        raise UserError(
            f"key 'days': found {len(config.days)} days, expected the first and the last of each "
            f"of the {len(config.segments)} segments, or no days"
        )
