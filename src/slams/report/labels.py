"""Names of metrics, variables and regions in figures and tables, with their units."""

from __future__ import annotations

from dataclasses import dataclass

from slams.report.display import display_units

__all__ = ["METRICS", "Metric", "metric_label", "quantity", "region_label", "variable_label"]


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


def region_label(region: str) -> str:
    """Return a region's name in words."""
    return "globe" if region == "global" else region.replace("_", " ")


def quantity(name: str, units: str) -> str:
    """Return an axis label: `RMSE (K)`, or the name alone for a quantity without units."""
    if not units:
        return name
    # No-break spaces: units must not be broken over lines.
    units = units.replace("-1", "⁻¹").replace("-2", "⁻²").replace(" ", "\N{NO-BREAK SPACE}")
    return f"{name} ({units})"
