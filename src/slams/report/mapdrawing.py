"""Draw one field on a map: cells, coastlines, stations, colour bar, comparable colour ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slams.report.coastlines import cell_edges, draw_coastlines, wrap_longitudes
from slams.report.drawing import PANEL_WIDTH, render
from slams.report.mapdata import CaseFields
from slams.report.section import Panel

__all__ = [
    "MAP_FRAME",
    "Map",
    "centred",
    "dot_size",
    "draw_map",
    "map_panels",
    "map_row",
    "place_map",
    "ranged",
]

# Numbers of this size or larger (pressure in Pa) are too wide for the usual number of ticks.
_WIDE = 1e4

# Smallest and largest dot of a station (square points).
_DOT_SIZES = (0.3, 5.0)

MAP_FRAME = 0.88  # inches above and below a map: title, colour bar and its label


@dataclass(frozen=True)
class Map:
    """One map: a field, its colours and its words.

    Attributes:
        name: Name of the file of its panel, without suffix.
        title: Title above the map.
        field: `(H, W)`; NaN is left blank.
        cmap: Colour map.
        norm: Its range.
        label: Label below the colour bar, with units.
        stations: Columns latitude and longitude of dots, or `None`.
    """

    name: str
    title: str
    field: np.ndarray
    cmap: str
    norm: Normalize
    label: str
    stations: pd.DataFrame | None = None


def draw_map(
    axes: Axes,
    field: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    cmap: str,
    norm: Normalize,
    stations: pd.DataFrame | None = None,
) -> QuadMesh:
    """Draw a field cell by cell with coastlines, and stations as dots.

    Args:
        axes: Axes to draw on.
        field: `(H, W)`; NaN is left blank.
        latitude: `(H,)` degrees north.
        longitude: `(W,)` degrees east in [0, 360).
        cmap: Colour map.
        norm: Its range.
        stations: Columns latitude and longitude.
    """
    turned, values = wrap_longitudes(longitude, field)
    latitude_edges, longitude_edges = cell_edges(latitude, turned)
    mesh = axes.pcolormesh(
        longitude_edges, latitude_edges, values, cmap=cmap, norm=norm, rasterized=True
    )
    draw_coastlines(axes)
    if stations is not None:
        east, north = (stations[name].to_numpy(float) for name in ("longitude", "latitude"))
        size = dot_size(axes, len(stations))
        look = {"c": "black", "edgecolors": "white", "linewidths": 0.15 * size**0.5, "zorder": 4}
        axes.scatter((east + 180.0) % 360.0 - 180.0, north, size, **look)
    return mesh


def dot_size(axes: Axes, count: int) -> float:
    """Return the size of the dots of stations (square points, as of matplotlib's `scatter`).

    All dots together cover 2 % of the map, so that more stations or a smaller map make them
    smaller, within the limits of what can be seen.

    Args:
        axes: Axes of the map.
        count: Number of stations.
    """
    box, (across, up) = axes.get_position(), axes.figure.get_size_inches() * 72.0
    area = box.width * across * box.height * up
    return float(np.clip(0.02 * area / max(count, 1), *_DOT_SIZES))


def centred(fields: Sequence[np.ndarray]) -> Normalize:
    """Return one range for several differences, symmetric about zero and clipping outliers."""
    limit = max((float(np.nanpercentile(np.abs(f), 99.5)) for f in fields), default=1.0)
    limit = limit or 1.0
    return Normalize(-limit, limit)


def ranged(fields: Sequence[np.ndarray], zero: bool = False, power: float = 1.0) -> Normalize:
    """Return one range for several fields, optionally starting at zero."""
    low = 0.0 if zero else min(float(np.nanpercentile(f, 0.5)) for f in fields)
    high = max(float(np.nanpercentile(f, 99.5)) for f in fields)
    high = high if high > low else low + 1.0
    return PowerNorm(power, low, high) if power != 1.0 else Normalize(low, high)


def place_map(
    figure: Figure, corner: tuple[float, float], width: float, shown: Map, fields: CaseFields
) -> None:
    """Draw a titled map with its colour bar at an exact place in a figure.

    A map's shape is fixed, and automatic layouts cut its title; positions are therefore in inches.

    Args:
        figure: The figure, without automatic layout.
        corner: Left and bottom of the map with its colour bar (inches).
        width: Width of the map (inches); it is half as high and takes `MAP_FRAME` in addition.
        shown: The map.
        fields: Source of the coordinates.
    """
    across, up = figure.get_size_inches()
    left, bottom = corner

    def box(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        return ((left + x) / across, (bottom + y) / up, w / across, h / up)

    field, norm = shown.field, shown.norm
    axes = figure.add_axes(box(0, 0.54, width, width / 2))
    mesh = draw_map(
        axes, field, fields.latitude, fields.longitude, shown.cmap, norm, shown.stations
    )
    axes.spines[:].set(visible=True, linewidth=0.6)
    axes.set_title(shown.title)
    beyond = int(np.nanmin(field) < norm.vmin), int(np.nanmax(field) > norm.vmax)
    extend = {(0, 0): "neither", (0, 1): "max", (1, 0): "min", (1, 1): "both"}[beyond]
    if norm.vmin == -norm.vmax:  # maps of a row share their scale and get the same ticks
        extend = "both"
    bar_axes = figure.add_axes(box(0, 0.38, width, 0.09))
    bar = figure.colorbar(mesh, cax=bar_axes, orientation="horizontal", extend=extend)
    if max(abs(norm.vmin), abs(norm.vmax)) >= _WIDE:
        bar.locator = MaxNLocator(5)
    bar.set_label(shown.label, labelpad=1.5)
    bar.ax.tick_params(length=2.5, pad=2)
    bar.outline.set_linewidth(0.5)


def map_row(
    rows: Sequence[tuple[str, str, np.ndarray, pd.DataFrame | None]],
    cmap: str,
    scale: Callable[[Sequence[np.ndarray]], Normalize],
    label: str,
) -> list[Map]:
    """Return maps on one colour scale.

    Args:
        rows: Name, title, field and stations of each map.
        cmap: Colour map.
        scale: Function that makes the range from all fields: `centred` or `ranged`.
        label: Label below the colour bars, with units.
    """
    norm = scale([field for _, _, field, _ in rows]) if rows else None
    return [
        Map(name, title, field, cmap, norm, label, stations)
        for name, title, field, stations in rows
    ]


def map_panels(maps: Sequence[Map], fields: CaseFields) -> list[Panel]:
    """Draw each map with its colour bar as a separate panel."""
    width, panels = PANEL_WIDTH - 0.24, []
    for shown in maps:
        figure = Figure(figsize=(PANEL_WIDTH, width / 2 + MAP_FRAME))
        place_map(figure, (0.12, 0.0), width, shown, fields)
        alt = f"Map: {shown.title}, {shown.label}, {fields.date}"
        panels.append(render(figure, shown.name, alt))
    return panels
