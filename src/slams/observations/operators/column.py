"""Weighted means over levels at points, as of a sounder: `variable`, `levels`, `weights`.

The weights are normalised to a sum of one. The mean at a point is that of the column interpolated
to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.instruments import OperatorRequest
from slams.observations.operator import LinearOperator
from slams.observations.stations import StationOperator
from slams.plugins.operators import OperatorSpec

__all__ = ["SPEC", "ColumnOperator"]


class ColumnOperator(LinearOperator):
    """Operator of weighted means of a variable over levels.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        variable: The variable, which has levels.
        levels: Levels (hPa), each of which is a channel.
        weights: Weights of the levels, not negative.
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.

    Raises:
        UserError: A level does not exist or is listed twice, or the weights are negative, all zero
            or not one per level.
    """

    one_quantity = True

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        variable: str,
        levels: Sequence[int],
        weights: Sequence[float],
        latitude: Tensor,
        longitude: Tensor,
    ) -> None:
        if not _are(levels, int) or not _are(weights, (int, float)):
            raise UserError(
                f"a column of levels {levels!r} and weights {weights!r}; expected a list of whole "
                f"numbers (hPa) and one of finite numbers"
            )
        if len(levels) != len(weights) or len(set(levels)) != len(levels) or not levels:
            raise UserError(
                f"a column of {len(levels)} levels and {len(weights)} weights; expected as many "
                f"weights as levels, each level once"
            )
        if min(weights) < 0 or not sum(weights) > 0:
            raise UserError(f"weights of a column {list(weights)}; expected 0 or more, not all 0")
        self.latitude, self.longitude, self.variable = latitude, longitude, variable
        self._levels = [
            StationOperator(grid, channels, f"{variable}@{level}", latitude, longitude)
            for level in levels
        ]
        self.units = self._levels[0].units
        share = torch.tensor(weights, dtype=torch.float64)
        self._weights = (share / share.sum()).tolist()

    def linear(self, state: Tensor) -> Tensor:
        """Return the weighted means of `(..., C, H, W)`, `(..., P)`."""
        parts = zip(self._weights, self._levels, strict=True)
        return sum(weight * level.linear(state) for weight, level in parts)

    def adjoint(self, values: Tensor) -> Tensor:
        """Apply the transpose: `(..., P)` to `(..., C, H, W)`."""
        parts = zip(self._weights, self._levels, strict=True)
        return sum(level.adjoint(weight * values) for weight, level in parts)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ColumnOperator:
        """Return the operator on a device; this one is not moved."""
        moved = super().to(device, non_blocking)
        moved._levels = [level.to(device, non_blocking) for level in self._levels]
        return moved


def _are(values: object, kinds: type | tuple[type, ...]) -> bool:
    """Return whether an object is a list of finite numbers of a type."""
    return isinstance(values, list | tuple) and all(
        isinstance(v, kinds) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )


def _build(request: OperatorRequest) -> ColumnOperator:
    options = request.take(variable="temperature", levels=list, weights=list)
    return ColumnOperator(
        request.grid,
        request.channels,
        **options,
        latitude=request.latitude,
        longitude=request.longitude,
    )


SPEC = OperatorSpec("column", _build)
