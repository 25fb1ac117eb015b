r"""Superobservations: the reports of one variable and day, averaged in cells.

Many reports inside one cell of the grid say little more than their mean: no method resolves what
differs between them, and the cost of an analysis grows with their number. With the `n` points of a
cell, of which `k` report on a day, and any state `x_b` close to the truth,

    H_s = (1/n) sum_{all} H_i,
    y_s = H_s(x_b) + (1/k) sum_{active} (y_i - H_i(x_b)),
    R_s = ((1 - rho) sum_{active} s_i^2 + rho (sum_{active} s_i)^2) / k^2,

which is `s^2 (rho + (1 - rho) / k)` for `k` reports of one error variance `s^2`. The operator
`H_s` averages *all* points of the cell, also those that do not report, so that it is the same in
every case and what methods measure once per network stays valid. Only departures are averaged over
the active points alone: where some are missing, `y_s` is in error by
`(mean_{active} H_i - H_s)(x - x_b)`, which is zero where the background error is constant in the
cell. Where all report, `y_s` is the mean of the reports, whatever `x_b` is.

**Weights are equal**, also where errors are not. They are then those of `H_s`; and the error
variance of a report of rain or humidity depends on its value, because it is converted by the slope
of the transform there: weights by inverse variance would favour large or small values.

**Correlation** `rho` is the share of the error variance that the reports of a cell have in common:
a large number of them has the variance `rho s^2`, not zero. It stands for the part of the
representativeness error that neighbours share, and for common biases; the representativeness error
itself stays in `s_i^2`.

**Censored variables**, such as rain (`Observations.bound`): the value of a cell is the plain mean
of its active reports, without a background, in the operator's units. The cell's value is a mean
over its area, to which dry places contribute zero, not an unknown negative amount, as a departure
would have it. The cell is silent (its value is the bound) only if all its active reports are: a
single wet report shows that the mean is above the bound.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import Batch, ObservationOperator, Observations
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.observations.cells import Cells, equal_area_cells
from slams.observations.operator import LinearOperator

__all__ = ["DENSEST", "SuperobOperator", "Superobs", "average", "superob_variance"]

# Points per occupied cell of the grid up to which a network is left as it is by default.
DENSEST = 1.25


class SuperobOperator(LinearOperator):
    """Mean of another operator over the points of each cell: `H_s`.

    Args:
        inner: The operator of the reports, `P` points.
        cells: The cells of its points, on its device.

    Attributes:
        inner: The operator of the reports.
        cells: The cells, one per point of this operator.
    """

    def __init__(self, inner: ObservationOperator, cells: Cells) -> None:
        self.inner, self.cells = inner, cells
        self.latitude, self.longitude = cells.latitude, cells.longitude
        self.units, self.variable = inner.units, getattr(inner, "variable", "")
        offset = getattr(inner, "offset", None)
        self.offset = None if offset is None else cells.mean(offset)

    def __call__(self, state: Tensor) -> Tensor:
        """Observe `(..., C, H, W)` in channel units; return `(..., S)`."""
        # Not by `linear` and `offset`: an operator of another package may have no such parts.
        return self.cells.mean(self.inner(state))

    def linear(self, state: Tensor) -> Tensor:
        """Apply the linear part: `(..., C, H, W)` to `(..., S)`."""
        return self.cells.mean(self.inner.linear(state))

    def adjoint(self, values: Tensor) -> Tensor:
        """Apply the transpose of the linear part: `(..., S)` to `(..., C, H, W)`."""
        return self.inner.adjoint((values / self.cells.size)[..., self.cells.index])

    def touches(self, points: Tensor) -> Tensor:
        """Return which cells depend on marked grid points: `(..., C, H, W)` to `(..., S)` bool."""
        return self.cells.sum(self.inner.touches(points).to(torch.float32)) > 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the operator on a device; this one is not moved."""
        moved = super().to(device, non_blocking)
        moved.inner = self.inner.to(device, non_blocking)
        parts = {
            name: x.to(device, non_blocking=non_blocking) for name, x in vars(self.cells).items()
        }
        moved.cells = Cells(**parts)
        return moved


def superob_variance(variance: Any, sd: Any, number: Any, correlation: float) -> Any:
    """Return the error variance `R_s` of a mean; arrays or tensors of one shape.

    Args:
        variance: Mean of the error variances `s_i^2` of its reports.
        sd: Mean of their standard deviations `s_i`.
        number: Number `k` of reports, at least one.
        correlation: Share `rho` of the error variance that they have in common.
    """
    return (1 - correlation) * variance / number + correlation * sd**2


def average(
    observations: Observations, cells: Cells, correlation: float, state: Tensor
) -> Observations:
    """Return the superobservations of one modality and variable.

    Args:
        observations: The reports, `P` points.
        cells: The `S` cells of these points.
        correlation: Share `rho` of the error variance that reports of one cell have in common.
        state: `(B, T, C, H, W)` channel units, the state `x_b` that departures are taken from.

    Returns:
        The superobservations with the number of their reports (`count`), masked where no report
        of the cell is active.
    """
    active, bound = observations.mask, observations.bound
    number = cells.sum(active.to(torch.int32))
    divisor = number.clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return cells.sum(torch.where(active, values, 0.0)) / divisor

    values = mean(observations.values)
    if math.isinf(bound):
        at_points = observations.operator(state)
        values = values + (cells.mean(at_points) - mean(at_points))
    else:
        wet = cells.sum((active & (observations.values > bound)).to(torch.int32)) > 0
        values = torch.where(wet, values.clamp(min=bound), bound)
    variance = observations.error_variance
    own = superob_variance(mean(variance), mean(variance.sqrt()), divisor, correlation)
    seen = number > 0
    return replace(
        observations,
        operator=SuperobOperator(observations.operator, cells),
        values=values.masked_fill(~seen, torch.nan),
        mask=seen,
        error_variance=torch.where(seen, own, cells.mean(variance)),
        count=number,
    )


class Superobs:
    """Averaging of reports in cells; the cells of a network are found once.

    Operators whose points do not observe one quantity (`LinearOperator.one_quantity`) are left as
    they are, and so is a network without two points in one cell.

    Args:
        grid: The grid of the model.
        cell: Height of the cells (degrees); 0 for the cells of the grid, and then only for
            networks with more than `DENSEST` points per occupied cell.
        correlation: Share of the error variance that reports of one cell have in common.

    Raises:
        UserError: The cell or the correlation is out of range.
    """

    def __init__(self, grid: LatLonGrid, cell: float = 0.0, correlation: float = 0.3) -> None:
        if not 0 <= cell <= 90:
            raise UserError(f"cells of superobservations of {cell:g} degrees; expected 0 to 90")
        if not 0 <= correlation <= 1:
            raise UserError(f"correlation of reports of one cell {correlation:g}; expected 0 to 1")
        self._grid, self._cell, self._correlation = grid, cell, correlation
        self._known: dict[str, tuple[Tensor, Tensor, Cells | None]] = {}

    def __call__(self, batch: Batch, normaliser: Normaliser) -> Batch:
        """Average the observations of a batch, except those held out.

        Departures are taken from the background, or the climatology where there is none.

        Args:
            batch: The batch, after the comparison of its observations with the background.
            normaliser: Climatology and standard deviations, on the device of the batch.

        Returns:
            The batch with superobservations; observations that are not averaged are the same
            objects, and so is a batch in which none is.
        """
        cells = [self._cells(one.name, one.operator) for one in batch.observations]
        if not any(cells):
            return batch
        background = batch.background
        state = batch.climatology
        if background is not None:
            state = normaliser.denormalise(background.mean, batch.climatology)
        found = tuple(
            one if own is None else average(one, own, self._correlation, state)
            for one, own in zip(batch.observations, cells, strict=True)
        )
        return replace(batch, observations=found)

    def operator(self, name: str, operator: ObservationOperator) -> ObservationOperator:
        """Return `H` of what methods are given: itself where reports are not averaged.

        Args:
            name: Name of the observations.
            operator: `H` of the reports.
        """
        cells = self._cells(name, operator)
        return operator if cells is None else SuperobOperator(operator, cells)

    def _cells(self, name: str, operator: ObservationOperator) -> Cells | None:
        """Return the cells of a network, or `None` where its reports are not averaged."""
        if not getattr(operator, "one_quantity", False):
            return None
        latitude, longitude = operator.latitude, operator.longitude
        if name in self._known:
            north, east, cells = self._known[name]
            same = north.device == latitude.device and torch.equal(north, latitude)
            if same and torch.equal(east, longitude):
                return cells
        found = self._find(latitude, longitude)
        self._known[name] = latitude, longitude, found
        return found

    def _find(self, latitude: Tensor, longitude: Tensor) -> Cells | None:
        if self._cell:
            names = equal_area_cells(self._cell, latitude, longitude)
        else:
            names = self._grid.to(latitude.device).cell(latitude, longitude)
        cells = Cells.of(names, latitude, longitude)
        densest = 1.0 if self._cell else DENSEST
        return cells if len(latitude) > densest * len(cells) else None
