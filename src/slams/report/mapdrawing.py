"""Draws one field on a map: cells, coastlines, stations, colour bar, and honest colour ranges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, PowerNorm

from slams.report.coastlines import cell_edges, draw_coastlines, wrap_longitudes
from slams.report.exhibit import Panel, new_figure, render
from slams.report.mapdata import CaseFields

__all__ = ["MAP_HEIGHT", "centred", "draw_map", "field_panel", "ranged"]

MAP_HEIGHT = 2.85  # inches, for a panel of the usual width


def draw_map(
    axes: Axes,
    field: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
    cmap: str,
    norm: Normalize,
    stations: pd.DataFrame | None = None,
) -> QuadMesh:
    """Draws a field cell by cell with coastlines, and stations as dots.

    Args:
        axes: Where to draw.
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
        axes.scatter(
            (stations["longitude"].to_numpy(float) + 180.0) % 360.0 - 180.0,
            stations["latitude"].to_numpy(float),
            s=3.2,
            c="black",
            edgecolors="white",
            linewidths=0.35,
            zorder=4,
        )
    return mesh


def centred(fields: Sequence[np.ndarray]) -> Normalize:
    """Makes one range for several differences, symmetric about zero, outliers left to the ends."""
    limit = max((float(np.nanpercentile(np.abs(f), 99.5)) for f in fields), default=1.0)
    limit = limit or 1.0
    return Normalize(-limit, limit)


def ranged(fields: Sequence[np.ndarray], zero: bool = False, power: float = 1.0) -> Normalize:
    """Makes one range for several fields, from zero on where asked."""
    low = 0.0 if zero else min(float(np.nanpercentile(f, 0.5)) for f in fields)
    high = max(float(np.nanpercentile(f, 99.5)) for f in fields)
    high = high if high > low else low + 1.0
    return PowerNorm(power, low, high) if power != 1.0 else Normalize(low, high)


def field_panel(
    name: str,
    title: str,
    field: np.ndarray,
    fields: CaseFields,
    cmap: str,
    norm: Normalize,
    label: str,
    dpi: int,
    stations: pd.DataFrame | None = None,
) -> Panel:
    """Draws one map with its colour bar as a panel."""
    figure = new_figure(height=MAP_HEIGHT)
    axes = figure.add_subplot()
    mesh = draw_map(axes, field, fields.latitude, fields.longitude, cmap, norm, stations)
    axes.set_title(title)
    beyond_high = np.nanmax(field) > norm.vmax
    beyond_low = np.nanmin(field) < norm.vmin
    extend = {(0, 0): "neither", (0, 1): "max", (1, 0): "min", (1, 1): "both"}
    bar = figure.colorbar(
        mesh,
        ax=axes,
        orientation="horizontal",
        fraction=0.06,
        pad=0.03,
        aspect=38,
        extend=extend[int(beyond_low), int(beyond_high)],
    )
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)
    return render(figure, name, f"Map: {title}, {label}, {fields.date}", dpi)
