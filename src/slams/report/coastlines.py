"""Coastlines on a plate carree map; see `slams.metrics.land_sea_mask` for their source."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from slams.metrics.land_sea_mask import coastlines

__all__ = ["cell_edges", "draw_coastlines", "wrap_longitudes"]


def draw_coastlines(axes: Axes, width: float = 0.7) -> None:
    """Draw the coastlines and set the axes to the whole globe.

    A light edge under the dark line keeps it visible on any colour.
    """
    lines = LineCollection(list(coastlines()), colors="#1a1a1a", linewidths=width, zorder=3)
    lines.set_path_effects([patheffects.withStroke(linewidth=width + 0.7, foreground="#ffffff70")])
    axes.add_collection(lines, autolim=False)
    axes.set(xlim=(-180, 180), ylim=(-90, 90), aspect="equal", xticks=[], yticks=[])
    axes.grid(False)


def wrap_longitudes(longitude: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift a field on [0, 360) so that its seam falls on the date line.

    The first column is repeated at the end, so that a map over [-180, 180] has no gap.

    Args:
        longitude: `(W,)` degrees east, equally spaced over the globe.
        values: `(..., W)`.

    Returns:
        Longitudes `(W + 1,)` increasing from about -180, and values `(..., W + 1)`.
    """
    turned = (np.asarray(longitude, dtype=float) + 180.0) % 360.0 - 180.0
    order = np.argsort(turned)
    order = np.append(order, order[0])
    turned = turned[order]
    turned[-1] += 360.0
    return turned, np.asarray(values)[..., order]


def cell_edges(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the cells, midway between their centres, with the poles at +-90.

    Args:
        latitude: `(H,)` degrees north, monotone.
        longitude: `(W,)` degrees east, increasing, equally spaced.

    Returns:
        Latitudes `(H + 1,)` and longitudes `(W + 1,)` of the bounds.
    """
    latitude = np.asarray(latitude, dtype=float)
    between = (latitude[1:] + latitude[:-1]) / 2
    pole = 90.0 if latitude[0] > latitude[-1] else -90.0
    half = (longitude[1] - longitude[0]) / 2
    return (
        np.concatenate([[pole], between, [-pole]]),
        np.append(longitude - half, longitude[-1] + half),
    )
