"""The look of every figure: one colour and one marker a method, one set of colour maps.

Line colours are those of Okabe and Ito (2008), which readers with any of the common colour-vision
deficiencies tell apart; markers and labels repeat what the colours say. Fields use perceptually
uniform maps, differences a diverging map centred at zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DIFFERENCE_MAP",
    "FIELD_MAPS",
    "RC",
    "SPREAD_MAP",
    "MethodStyle",
    "in_order",
    "method_style",
    "quantity",
    "variable_label",
]


@dataclass(frozen=True)
class MethodStyle:
    """Says how one method is drawn in every figure.

    Attributes:
        label: Name in figures and tables.
        colour: Hexadecimal colour.
        marker: Matplotlib marker.
    """

    label: str
    colour: str
    marker: str


# In the order of tables and legends: from knowing nothing to knowing most.
_METHODS = {
    "climatology": MethodStyle("climatology", "#7f7f7f", "s"),
    "background": MethodStyle("background", "#e69f00", "D"),
    "optimal_interpolation": MethodStyle("optimal interpolation", "#0072b2", "^"),
    "3dvar": MethodStyle("3D-Var", "#56b4e9", "v"),
    "enkf": MethodStyle("EnKF", "#cc79a7", "<"),
    "letkf": MethodStyle("LETKF", "#7b3294", ">"),
    "latent_3dvar": MethodStyle("latent 3D-Var", "#8c6d1f", "P"),
    "pixel_diffusion": MethodStyle("pixel diffusion", "#009e73", "X"),
    "latent_diffusion": MethodStyle("latent diffusion", "#d55e00", "o"),
}
_SPARE_COLOURS = ("#1b4f72", "#6e2c00", "#145a32", "#4a235a", "#4d5656")

_VARIABLE_LABELS = {
    "temperature": "temperature",
    "2m_temperature": "2 m temperature",
    "total_precipitation_24hr": "precipitation",
    "outgoing_longwave_radiation": "outgoing longwave radiation",
}

FIELD_MAPS = {
    "temperature": "viridis",
    "2m_temperature": "viridis",
    "total_precipitation_24hr": "YlGnBu",
    "outgoing_longwave_radiation": "magma",
}
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
    """Gives a method's label, colour and marker, the same in every figure of every report."""
    if method in _METHODS:
        return _METHODS[method]
    # A method that came after this table: its colour hangs on its name, not on its neighbours.
    digest = hashlib.blake2b(method.encode(), digest_size=2).digest()
    colour = _SPARE_COLOURS[int.from_bytes(digest, "big") % len(_SPARE_COLOURS)]
    return MethodStyle(method.replace("_", " "), colour, "h")


def in_order(methods: Iterable[str]) -> list[str]:
    """Sorts methods for tables and legends; unknown ones come last, by name."""
    rank = {name: index for index, name in enumerate(_METHODS)}
    return sorted(set(methods), key=lambda name: (rank.get(name, len(rank)), name))


def variable_label(variable: str, short: bool = False) -> str:
    """Gives a variable's name in words, or as short as headings of tables want it."""
    if short and variable == "outgoing_longwave_radiation":
        return "OLR"
    return _VARIABLE_LABELS.get(variable, variable.replace("_", " "))


def quantity(name: str, units: str) -> str:
    """Labels an axis: `RMSE (K)`, or the name alone for a quantity without units."""
    if not units:
        return name
    # No-break spaces: units stay in one piece.
    units = units.replace("-1", "⁻¹").replace("-2", "⁻²").replace(" ", "\N{NO-BREAK SPACE}")
    return f"{name} ({units})"
