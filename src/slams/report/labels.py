"""Names of metrics, variables and regions in figures and tables, with their units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slams.report.display import display_units
from slams.variables import ON_LEVELS

__all__ = [
    "METRICS",
    "Metric",
    "latitude_label",
    "longitude_label",
    "metric_label",
    "quantity",
    "region_label",
    "temperature_first",
    "variable_label",
]


@dataclass(frozen=True)
class Metric:
    """A metric that is drawn and tabulated for every variable.

    Attributes:
        name: Name in figures and tables.
        perfect: Its value for a perfect ensemble; `None` where smaller is better.
        physical: Whether it has the units of its variable.
    """

    name: str
    perfect: float | None = None
    physical: bool = True


METRICS = {
    "rmse": Metric("RMSE"),
    "crps": Metric("CRPS"),
    "bias": Metric("bias", perfect=0.0),
    "spread_skill": Metric("spread / skill", perfect=1.0, physical=False),
}

# Names that are more than the identifier with spaces.
_VARIABLES = {
    "u_component_of_wind": "eastward wind",
    "v_component_of_wind": "northward wind",
    "2m_temperature": "2 m temperature",
    "total_precipitation_24hr": "precipitation",
}


def metric_label(metric: str, variable: str = "temperature") -> str:
    """Return the label of one of `METRICS`: `CRPS (K)`."""
    known = METRICS[metric]
    return quantity(known.name, display_units(variable) if known.physical else "")


def variable_label(variable: str, short: bool = False) -> str:
    """Return a variable's name in words, or in a short form for headings of tables."""
    if short and variable == "outgoing_longwave_radiation":
        return "OLR"
    return _VARIABLES.get(variable, variable.replace("_", " "))


def temperature_first(variables: Iterable[str]) -> list[str]:
    """Return each variable once: temperature, then those with levels, then the others, by name."""

    def key(name: str) -> tuple[bool, bool, str]:
        return name != "temperature", name not in ON_LEVELS, name

    return sorted(set(variables), key=key)


def region_label(region: str) -> str:
    """Return a region's name in words."""
    return "globe" if region == "global" else region.replace("_", " ")


def latitude_label(latitude: float) -> str:
    """Return a latitude (degrees north) as `45° S`."""
    side = "N" if latitude > 0 else "S"
    return f"{abs(latitude):g}° {side}" if latitude else "0°"


def longitude_label(longitude: float) -> str:
    """Return a longitude (degrees east, in any range) as `120° W`."""
    longitude = (longitude + 180.0) % 360.0 - 180.0
    side = "E" if longitude > 0 else "W"
    return f"{abs(longitude):g}°" + (f" {side}" if longitude % 180.0 else "")


def quantity(name: str, units: str) -> str:
    """Return an axis label: `RMSE (K)`, or the name alone for a quantity without units."""
    if not units:
        return name
    # No-break spaces: units must not be broken over lines.
    units = units.replace("-1", "⁻¹").replace("-2", "⁻²").replace(" ", "\N{NO-BREAK SPACE}")
    return f"{name} ({units})"
