"""Regridding between global latitude-longitude grids by separable matrices.

With the cells of source and target bounded in `s = sin(latitude)` and longitude, conservative
regridding computes the area mean

    g_ij = sum_kl A_ik B_jl f_kl,   A_ik = |s_i cap s_k| / |s_i|,   B_jl = |x_j cap x_l| / |x_j|,

so that `sum_ij |s_i||x_j| g_ij = sum_kl |s_k||x_l| f_kl` and a constant stays constant. Bilinear
regridding has two weights per row of each matrix; beyond the outermost row it continues across
the pole, 180 degrees of longitude away. Missing values are left out of the means, and a cell of
which less than half is known is missing.
"""

from __future__ import annotations

import numpy as np

from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.linalg.overlaps import column_overlaps, row_overlaps

__all__ = ["METHODS", "AreaSums", "Regridder", "known_mean"]

METHODS = ("conservative", "bilinear")

# Smallest known fraction of a target cell's area (or weight) for which it has a value.
_KNOWN = 0.5


class _Separable:
    """Linear map of fields by one matrix along latitude and one along longitude.

    A subclass sets `_rows` `(H', H)` and `_columns` `(W', W)`.
    """

    _rows: np.ndarray
    _columns: np.ndarray

    def parts(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map the known values and the mask of what is known.

        Args:
            values: `(..., H, W)` any units, NaN where missing.

        Returns:
            `(..., H', W')` float64 each: the weighted sum of the known values, and their weight.
        """
        known = np.isfinite(values)
        weight = self._apply(known.astype(np.float64))
        return self._apply(np.where(known, values, 0.0)), weight

    def _apply(self, values: np.ndarray) -> np.ndarray:
        return (self._rows @ values) @ self._columns.T


def known_mean(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the mean of known values, NaN where less than half is known.

    Args:
        total: Weighted sums of the known values.
        weight: Their weights, 1 where everything is known; same shape.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight >= _KNOWN - 1e-9, total / weight, np.nan)


class AreaSums(_Separable):
    """Conservative regridding of a regular grid, which need not be global, to a global one.

    `parts` returns area means over each target cell, in which unknown values and places outside
    the source count as zero, and the known share of the cell.

    Args:
        latitude: `(H,)` degrees north of the source, north to south.
        longitude: `(W,)` degrees east of the source, in any range and order.
        spacing: Distance (degrees) between two of its longitudes.
        target: The global grid.
    """

    def __init__(
        self, latitude: np.ndarray, longitude: np.ndarray, spacing: float, target: LatLonGrid
    ) -> None:
        middle = (latitude[1:] + latitude[:-1]) / 2
        ends = latitude[0] + (latitude[0] - middle[0]), latitude[-1] + (latitude[-1] - middle[-1])
        bounds = np.clip([ends[0], *middle, ends[1]], -90.0, 90.0)
        self._rows = row_overlaps(bounds, target.latitude_bounds.numpy())
        self._columns = column_overlaps(
            np.mod(longitude, 360.0), spacing, target.longitude.numpy(), target.spacing
        )


class Regridder(_Separable):
    """Regridding of fields from one grid to another.

    Args:
        source: Grid of the input.
        target: Grid of the output.
        method: `conservative` or `bilinear`.
        key: Dotted key of the source in the recipe, for the message.

    Raises:
        UserError: The method is unknown.
    """

    def __init__(
        self, source: LatLonGrid, target: LatLonGrid, method: str, key: str = "data.source"
    ) -> None:
        if method not in METHODS:
            raise UserError(
                f"{key}.regrid: found {method!r}, expected one of {', '.join(METHODS)}"
            )
        self.source, self.target, self.method = source, target, method
        lat_s, lat_t = source.latitude.numpy(), target.latitude.numpy()
        lon_s, lon_t = source.longitude.numpy(), target.longitude.numpy()
        if method == "conservative":
            self._rows = row_overlaps(
                source.latitude_bounds.numpy(), target.latitude_bounds.numpy()
            )
            self._columns = column_overlaps(lon_s, source.spacing, lon_t, target.spacing)
        else:
            self._half_turn = _periodic_weights(lon_s, np.mod(lon_s + 180.0, 360.0))
            self._rows = _row_weights(lat_s, lat_t)
            self._columns = _periodic_weights(lon_s, lon_t)

    @property
    def identity(self) -> bool:
        """Return whether both grids are the same, so that nothing is computed."""
        return self.source.fingerprint == self.target.fingerprint

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Regrid `(..., H, W)` in any units, NaN missing; return `(..., H', W')` float64."""
        values = np.asarray(values, dtype=np.float64)
        if self.identity:
            return values
        if np.isfinite(values).all():
            return self._apply(values)
        return known_mean(*self.parts(values))

    def fields(self, values: np.ndarray) -> np.ndarray:
        """Regrid `(n, C, H, W)` float32 step by step; return `(n, C, H', W')` float32.

        Sums are in float64, with only one step in memory at a time.
        """
        if self.identity:
            return values
        out = np.empty((*values.shape[:2], *self.target.shape), np.float32)
        for step, fields in enumerate(values):
            out[step] = self(fields)
        return out

    def _apply(self, values: np.ndarray) -> np.ndarray:
        if self.method == "bilinear":
            north = values[..., :1, :] @ self._half_turn.T
            south = values[..., -1:, :] @ self._half_turn.T
            values = np.concatenate([north, values, south], axis=-2)
        return super()._apply(values)


def _periodic_weights(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return `(W', W)` linear weights between equally spaced longitudes."""
    count = len(source)
    position = np.mod(target - source[0], 360.0) / (360.0 / count)
    # Rounding of coordinates in float32 must not give a neighbour any weight.
    near = np.round(position)
    position = np.where(np.abs(position - near) < 1e-6, near, position)
    west = np.floor(position).astype(np.int64)
    share = position - west
    weights = np.zeros((len(target), count))
    rows = np.arange(len(target))
    np.add.at(weights, (rows, west % count), 1.0 - share)
    np.add.at(weights, (rows, (west + 1) % count), share)
    return weights


def _row_weights(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return `(H', H + 2)` linear weights on the source rows with one row beyond each pole."""
    rows = np.concatenate([[180.0 - source[0]], source, [-180.0 - source[-1]]])
    weights = np.zeros((len(target), len(rows)))
    for i, latitude in enumerate(target):
        near = np.flatnonzero(np.abs(rows - latitude) < 1e-6)
        if len(near):
            weights[i, near] = 1.0 / len(near)
            continue
        below = int(np.flatnonzero(rows < latitude)[0])
        share = (rows[below - 1] - latitude) / (rows[below - 1] - rows[below])
        weights[i, below - 1], weights[i, below] = 1.0 - share, share
    return weights
