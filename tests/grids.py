"""Grids with and without points on the poles, and a field to interpolate."""

from __future__ import annotations

import numpy as np
import torch

from slams.grid import LatLonGrid


def gaussian_grid(rows: int, columns: int) -> LatLonGrid:
    nodes = np.polynomial.legendre.leggauss(rows)[0][::-1]
    return LatLonGrid(
        torch.tensor(np.degrees(np.arcsin(nodes)).copy()),
        torch.arange(columns, dtype=torch.float64) * 360 / columns,
    )


def grid_with_poles(rows: int, columns: int) -> LatLonGrid:
    return LatLonGrid(
        torch.linspace(90, -90, rows, dtype=torch.float64),
        torch.arange(columns, dtype=torch.float64) * 360 / columns,
    )


def smooth(latitude: torch.Tensor, longitude: torch.Tensor) -> torch.Tensor:
    """A polynomial of the unit sphere, odd under the half-turn: x y z + x."""
    latitude, longitude = torch.deg2rad(latitude), torch.deg2rad(longitude)
    x, y = latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin()
    return x * y * latitude.sin() + x
