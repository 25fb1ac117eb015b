"""The style of every figure: one colour and one marker per method, one set of colour maps.

Line colours are those of Okabe and Ito (2008), which readers with any of the common colour-vision
deficiencies can distinguish; markers and labels repeat what the colours show. Fields use
perceptually uniform maps, differences a diverging map centred at zero.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from slams.plugins.methods import Role, find_method
from slams.report.display import display_units

__all__ = [
    "DIFFERENCE_MAP",
    "FIELD_MAPS",
    "FROM_ZERO",
    "METRICS",
    "RC",
    "SIGNED",
    "SPREAD_MAP",
    "MethodStyle",
    "Metric",
    "by_method",
    "in_order",
    "method_label",
    "method_style",
    "metric_label",
    "quantity",
    "region_label",
    "variable_label",
]


@dataclass(frozen=True)
class MethodStyle:
    """Style of one method in every figure.

    Attributes:
        label: Name in figures and tables.
        colour: Hexadecimal colour.
        marker: Matplotlib marker.
    """

    label: str
    colour: str
    marker: str

    @property
    def line(self) -> dict[str, str]:
        """Return the arguments of matplotlib for its lines."""
        return {"color": self.colour, "label": self.label}

    def points(self, edge: float = 0.6) -> dict[str, Any]:
        """Return the arguments of matplotlib for lines with markers, edged white (in points)."""
        look = {"marker": self.marker, "markeredgecolor": "white", "markeredgewidth": edge}
        return {**self.line, **look}


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

# Styles of methods that define none, or are not installed here.
_SPARE_COLOURS = ("#1b4f72", "#6e2c00", "#145a32", "#4a235a", "#4d5656")

_VARIABLE_LABELS = {
    "temperature": "temperature",
    "u_component_of_wind": "eastward wind",
    "v_component_of_wind": "northward wind",
    "specific_humidity": "specific humidity",
    "2m_temperature": "2 m temperature",
    "total_precipitation_24hr": "precipitation",
    "outgoing_longwave_radiation": "outgoing longwave radiation",
    "surface_pressure": "surface pressure",
}

_REGION_LABELS = {
    "global": "globe",
    "northern_extratropics": "northern extratropics",
    "southern_extratropics": "southern extratropics",
}

FIELD_MAPS = {
    "temperature": "viridis",
    # Winds have a sign: use a diverging map other than that of differences.
    "u_component_of_wind": "PuOr_r",
    "v_component_of_wind": "PuOr_r",
    "specific_humidity": "YlGnBu",
    "2m_temperature": "viridis",
    "total_precipitation_24hr": "YlGnBu",
    "outgoing_longwave_radiation": "magma",
    "surface_pressure": "cividis",
}
# Variables whose colours are symmetric about zero, and those whose colours begin there.
SIGNED = ("u_component_of_wind", "v_component_of_wind")
FROM_ZERO = ("total_precipitation_24hr", "specific_humidity")
DIFFERENCE_MAP = "RdBu_r"
SPREAD_MAP = "magma_r"

_INK = "#222222"
_FAINT = "#d9d9d9"
RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 9.5,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": _INK,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.cmap": "viridis",
}


def method_style(method: str) -> MethodStyle:
    """Return a method's label, colour and marker, the same in every figure of every report.

    A method on a first guess keeps its colour, lighter or darker, and has its own marker.
    """
    base, _, guess = method.partition("@")
    spec, first_guess = find_method(method)
    if spec is None or (guess and first_guess is None):
        return MethodStyle(method.replace("_", " "), _spare_colour(method), "h")
    colour = spec.style.colour if spec.style else _spare_colour(base)
    if first_guess is None:
        return MethodStyle(spec.label, colour, spec.style.marker if spec.style else "h")
    if spec.role is Role.BACKGROUND:  # by itself a first guess is a forecast
        label = first_guess.label
    else:
        label = spec.labels.get(guess, f"{spec.label} on {first_guess.label}")
    return MethodStyle(label, _mix(colour, *first_guess.tint), first_guess.marker)


def method_label(method: str) -> str:
    """Return a method's name in figures and tables."""
    return method_style(method).label


def in_order(methods: Iterable[str]) -> list[str]:
    """Sort methods for tables and legends; unknown ones come last, by name."""

    def key(name: str) -> tuple[float, float, str]:
        spec, first_guess = find_method(name)
        place = first_guess.order if first_guess else 1 if "@" not in name else math.inf
        return spec.order if spec else math.inf, place, name

    return sorted(set(methods), key=key)


def by_method(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Go through the methods of a table with a column `method`, in order, each with its rows."""
    for method in in_order(rows["method"]):
        yield method, rows[rows["method"] == method]


def _spare_colour(method: str) -> str:
    """Choose a colour that depends only on a method's name."""
    digest = hashlib.blake2b(method.encode(), digest_size=2).digest()
    return _SPARE_COLOURS[int.from_bytes(digest, "big") % len(_SPARE_COLOURS)]


def _mix(colour: str, other: str, share: float) -> str:
    """Mix a share of another colour into a hexadecimal colour."""
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def variable_label(variable: str, short: bool = False) -> str:
    """Return a variable's name in words, or in a short form for headings of tables."""
    if short and variable == "outgoing_longwave_radiation":
        return "OLR"
    return _VARIABLE_LABELS.get(variable, variable.replace("_", " "))


def region_label(region: str) -> str:
    """Return a region's name in words."""
    return _REGION_LABELS.get(region, region.replace("_", " "))


def metric_label(metric: str, variable: str = "temperature") -> str:
    """Return the label of one of `METRICS`: `CRPS (K)`."""
    known = METRICS[metric]
    return quantity(known.name, display_units(variable) if known.physical else "")


def quantity(name: str, units: str) -> str:
    """Return an axis label: `RMSE (K)`, or the name alone for a quantity without units."""
    if not units:
        return name
    # No-break spaces: units must not be broken over lines.
    units = units.replace("-1", "⁻¹").replace("-2", "⁻²").replace(" ", "\N{NO-BREAK SPACE}")
    return f"{name} ({units})"
