"""Shared areas of the cells of two latitude-longitude grids, as two matrices of fractions.

With cells bounded in `s = sin(latitude)` and in longitude `x`, the mean over cell `ij` of one grid
of what is constant in each cell `kl` of another one is

    g_ij = sum_kl A_ik B_jl f_kl,   A_ik = |s_i cap s_k| / |s_i|,   B_jl = |x_j cap x_l| / |x_j|.
"""

from __future__ import annotations

import numpy as np

__all__ = ["column_overlaps", "row_overlaps"]


def row_overlaps(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return `A`, `(H', H)` area fractions of each target band.

    Args:
        source: `(H + 1,)` degrees north, bounds of the source's bands, from the north.
        target: `(H' + 1,)` degrees north, those of the target's bands.
    """
    s, t = np.sin(np.deg2rad(source)), np.sin(np.deg2rad(target))
    upper = np.minimum(t[:-1, None], s[None, :-1])
    lower = np.maximum(t[1:, None], s[None, 1:])
    return np.clip(upper - lower, 0.0, None) / (t[:-1] - t[1:])[:, None]


def column_overlaps(source: np.ndarray, ds: float, target: np.ndarray, dt: float) -> np.ndarray:
    """Return `B`, `(W', W)` fractions of each target sector, periodic in longitude.

    Args:
        source: `(W,)` degrees east of the centres of the source's sectors, in [0, 360).
        ds: Their width (degrees).
        target: `(W',)` degrees east of the centres of the target's sectors, in [0, 360).
        dt: Their width (degrees).
    """
    shares = np.zeros((len(target), len(source)))
    for shift in (-360.0, 0.0, 360.0):
        right = np.minimum(target[:, None] + dt / 2, source[None] + shift + ds / 2)
        left = np.maximum(target[:, None] - dt / 2, source[None] + shift - ds / 2)
        shares += np.clip(right - left, 0.0, None)
    return shares / dt
