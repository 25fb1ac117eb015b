"""Land and sea, from the coastlines that are part of the package.

The data are Natural Earth's land at 1:110 million, in the public domain, taken from world-atlas
2.0.2 (its notice is in `coastline_110m.txt`): lines cut at the date line, in hundredths of a
degree. Nothing is ever downloaded.

A point is on land if its meridian, followed to the south pole, crosses coastlines an even number
of times, because the pole itself is on land. Lakes as large as the Caspian count as sea.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from slams.grid import LatLonGrid

__all__ = ["coastlines", "is_land", "land_share"]

_ASSET = "coastline_110m.json"

# Points in each direction per cell, of which the fraction on land is computed.
_WITHIN = 4


@cache
def coastlines() -> tuple[np.ndarray, ...]:
    """Read the coastlines: one `(N, 2)` array of longitude and latitude (degrees) per line.

    Longitudes lie in [-180, 180] and no line crosses the date line.
    """
    document = json.loads(files("slams").joinpath(_ASSET).read_text(encoding="utf-8"))
    return tuple(np.asarray(line, dtype=float).reshape(-1, 2) / 100 for line in document["lines"])


def is_land(latitude: Tensor, longitude: Tensor) -> Tensor:
    """Return which points are on land.

    Args:
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east, in any range.

    Returns:
        `(P,)` bool, on the CPU.
    """
    y = torch.as_tensor(latitude).detach().cpu().double().numpy()
    x = torch.as_tensor(longitude).detach().cpu().double().numpy()
    meridians, which = np.unique(x, return_inverse=True)
    order = np.argsort(which, kind="stable")
    groups = np.split(order, np.searchsorted(which[order], np.arange(1, len(meridians))))
    land = np.empty(len(y), dtype=bool)
    for meridian, here in zip(meridians, groups, strict=True):
        land[here] = _along(meridian, y[here])
    return torch.from_numpy(land)


def land_share(grid: LatLonGrid) -> Tensor:
    """Return the fraction of land in every cell of a grid, `(H, W)` float64 on the CPU."""
    rows, columns = grid.shape
    share = (torch.arange(_WITHIN, dtype=torch.float64) + 0.5) / _WITHIN
    bounds = grid.latitude_bounds.cpu()
    latitude = bounds[:-1, None] + share * (bounds[1:] - bounds[:-1])[:, None]
    longitude = grid.longitude.cpu()[:, None] + (share - 0.5) * grid.spacing
    inside = np.stack([_along(x, latitude.reshape(-1).numpy()) for x in longitude.reshape(-1)])
    inside = torch.from_numpy(inside.T.astype(np.float64))
    return inside.reshape(rows, _WITHIN, columns, _WITHIN).mean(dim=(1, 3))


def _along(meridian: float, latitude: np.ndarray) -> np.ndarray:
    """Return which latitudes of a meridian (degrees east, in any range) are on land."""
    begin, end = _segments()
    x = (float(meridian) + 180) % 360 - 180
    spans = (begin[:, 0] > x) != (end[:, 0] > x)
    a, b = begin[spans], end[spans]
    crossings = a[:, 1] + (x - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    return np.searchsorted(np.sort(crossings), latitude) % 2 == 0


@cache
def _segments() -> tuple[np.ndarray, np.ndarray]:
    begin = np.concatenate([line[:-1] for line in coastlines()])
    return begin, np.concatenate([line[1:] for line in coastlines()])
