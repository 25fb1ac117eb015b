"""The style of every figure: one colour and one marker per method, one colour map per variable.

Line colours are those of Okabe and Ito (2008), which readers with any of the common colour-vision
deficiencies can distinguish; markers and labels repeat what the colours show. Fields use
perceptually uniform maps, differences a diverging map centred at zero. What figures share
otherwise, as the sizes of letters, is in `figures.mplstyle`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from slams.plugins.methods import Role, find_method

__all__ = [
    "DIFFERENCE_MAP",
    "SPREAD_MAP",
    "FieldStyle",
    "MethodStyle",
    "by_method",
    "field_style",
    "in_order",
    "method_label",
    "method_style",
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


# Styles of methods that define none, or are not installed here.
_SPARE_COLOURS = ("#1b4f72", "#6e2c00", "#145a32", "#4a235a", "#4d5656")

DIFFERENCE_MAP = "RdBu_r"
SPREAD_MAP = "magma_r"


@dataclass(frozen=True)
class FieldStyle:
    """Colours of the maps of one variable.

    Attributes:
        cmap: Colour map.
        signed: Whether the colours are symmetric about zero.
        from_zero: Whether the colours begin at zero.
        power: Exponent of the scale; below 1 it is stretched towards small values.
    """

    cmap: str = "viridis"
    signed: bool = False
    from_zero: bool = False
    power: float = 1.0


# Winds have a sign: they use a diverging map other than that of differences.
_FIELDS = {
    "u_component_of_wind": FieldStyle("PuOr_r", signed=True),
    "v_component_of_wind": FieldStyle("PuOr_r", signed=True),
    "specific_humidity": FieldStyle("YlGnBu", from_zero=True),
    "total_precipitation_24hr": FieldStyle("YlGnBu", from_zero=True, power=0.5),
    "outgoing_longwave_radiation": FieldStyle("magma"),
    "surface_pressure": FieldStyle("cividis"),
}


def field_style(variable: str) -> FieldStyle:
    """Return the colours of the maps of a variable."""
    return _FIELDS.get(variable, FieldStyle())


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
