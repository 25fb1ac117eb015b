"""The base classes of observation operators: `y = H f + offset`, affine in channel units.

Operators of one channel define `H` and its transpose on one horizontal plane; this module handles
channels and leading dimensions.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec, channel_index
from slams.grid import LatLonGrid

__all__ = ["LinearOperator", "PointOperator", "WeightedOperator"]


class LinearOperator(ABC):
    """Base class of operators that observe `P` points of the state.

    A subclass implements `linear` and `adjoint` and sets the attributes. An operator of another
    package subclasses it and is named in a recipe through its `OperatorSpec`
    (`slams.plugins.operators`).

    Attributes:
        latitude: `(P,)` float64 degrees north of each observed point.
        longitude: `(P,)` float64 degrees east.
        variable: The observed variable, second part of the name of its observations.
        units: Units of `y`.
        offset: `(P,)` float64 in the operator's units, or `None`: the constant part of `H`.
        one_quantity: Whether all points observe the same quantity, so that those near one another
            may be averaged (`slams.observations.superobs`). False by default: the points of an
            operator may differ in level or wavelength.
    """

    latitude: Tensor
    longitude: Tensor
    variable: str
    units: str
    offset: Tensor | None = None
    one_quantity: bool = False

    def __len__(self) -> int:
        return self.latitude.shape[0]

    def __call__(self, state: Tensor) -> Tensor:
        """Observe `(..., C, H, W)` in channel units; return `(..., P)`."""
        observed = self.linear(state)
        if self.offset is not None:
            observed = observed + self.offset.to(observed.dtype)
        return observed

    @abstractmethod
    def linear(self, state: Tensor) -> Tensor:
        """Apply the linear part of `H`, for anomalies and increments.

        Args:
            state: `(..., C, H, W)` channel units.

        Returns:
            `(..., P)`.
        """

    @abstractmethod
    def adjoint(self, values: Tensor) -> Tensor:
        """Apply the transpose of the linear part: `(..., P)` to `(..., C, H, W)`."""

    def touches(self, points: Tensor) -> Tensor:
        """Return which observed points depend on marked grid points.

        Valid for operators without negative weights, in which no terms can cancel.

        Args:
            points: `(..., C, H, W)` bool, for example where the truth is missing.

        Returns:
            `(..., P)` bool.
        """
        return self.linear(points.to(torch.float32)) > 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the operator on a device; this one is not moved."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device, non_blocking=non_blocking))
        return moved


class PointOperator(LinearOperator):
    """Operator of one channel at `P` points; a subclass handles one horizontal plane.

    Attributes:
        channel: Index of the observed channel.
        channel_name: Name of the observed channel.
        units: Units of `y`, the channel's units after its transform.

    Raises:
        UserError: The channel does not exist.
    """

    one_quantity = True

    def __init__(self, grid: LatLonGrid, channels: Sequence[FieldSpec], channel_name: str) -> None:
        try:
            self.channel = channel_index(channels, channel_name)
        except KeyError as error:
            raise UserError(f"observed {error.args[0]}") from None
        self.channel_name = self.variable = channel_name
        self.units = channels[self.channel].channel_units
        self.state_shape = (len(channels), *grid.shape)

    def linear(self, state: Tensor) -> Tensor:
        """Apply the linear part of `H`, see `LinearOperator`.

        Raises:
            ValueError: The state has a different number of channels or a different grid.
        """
        if tuple(state.shape[-3:]) != self.state_shape:
            raise ValueError(
                f"state of shape {tuple(state.shape)}; expected (..., C, H, W) with (C, H, W) = "
                f"{self.state_shape}"
            )
        return self._observe(state[..., self.channel, :, :])

    def adjoint(self, values: Tensor) -> Tensor:
        """Apply the transpose of the linear part: `(..., P)` to `(..., C, H, W)`."""
        plane = self._scatter(values)
        state = plane.new_zeros(*values.shape[:-1], *self.state_shape)
        state[..., self.channel, :, :] = plane
        return state

    @abstractmethod
    def _observe(self, plane: Tensor) -> Tensor:
        """Map `(..., H, W)` to `(..., P)`."""

    @abstractmethod
    def _scatter(self, values: Tensor) -> Tensor:
        """Map `(..., P)` to `(..., H, W)` by the transpose of `_observe`."""


class WeightedOperator(PointOperator):
    """Operator of weighted sums of grid points, the same number `K` for every observed point.

    A subclass sets `_index` `(P, K)` int64, positions in the flattened grid, and `_weight`
    `(P, K)` float64.
    """

    _index: Tensor
    _weight: Tensor

    def _observe(self, plane: Tensor) -> Tensor:
        flat = plane.flatten(-2).index_select(-1, self._index.reshape(-1))
        corners = flat.unflatten(-1, self._index.shape)
        return (corners * self._weight.to(plane.dtype)).sum(dim=-1)

    def _scatter(self, values: Tensor) -> Tensor:
        parts = (values.unsqueeze(-1) * self._weight.to(values.dtype)).flatten(-2)
        rows, columns = self.state_shape[1:]
        plane = values.new_zeros(*values.shape[:-1], rows * columns)
        plane = plane.index_add(-1, self._index.reshape(-1), parts)
        return plane.unflatten(-1, (rows, columns))
