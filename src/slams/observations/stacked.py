"""All active observations of one case, over all modalities and days, as one vector.

A network is fixed and only its masks change from case to case. Observing is therefore done in two
steps: `observe_all` applies every operator of the network to every day,

    (N, T, C, H, W) -> (N, T, P_total),        P_total = sum_k P_k,

once for an archive; a case then selects its `columns` of the flattened `T * P_total` values.
`StackedObservations.apply` does both steps for other states.

Operators may have an offset (elevation correction): H(f) = H_lin f + offset. Perturbations are
observed by the linear part only, see `observe_perturbations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import Batch, ObservationOperator, Observations

__all__ = [
    "StackedObservations",
    "network_positions",
    "observe_all",
    "observe_perturbations",
    "stack_observations",
]


def observe_all(operators: Sequence[ObservationOperator], states: Tensor) -> Tensor:
    """Apply every operator to states at every point, active or not.

    Args:
        operators: The `K` operators, `P_k` points each.
        states: `(N, T, C, H, W)` channel units.

    Returns:
        `(N, T, P_total)`, the operators' points one after another.
    """
    if not operators:
        return states.new_empty(*states.shape[:2], 0)
    return torch.cat([operator(states) for operator in operators], dim=-1)


def observe_perturbations(operators: Sequence[ObservationOperator], states: Tensor) -> Tensor:
    """Apply the linear parts of the operators to perturbations.

    Args:
        operators: The operators.
        states: `(N, T, C, H, W)` differences of states, channel units.

    Returns:
        `(N, T, P_total)`.
    """
    offset = observe_all(operators, torch.zeros_like(states[:1, :1]))
    return observe_all(operators, states) - offset


def network_positions(operators: Sequence[ObservationOperator]) -> tuple[Tensor, Tensor]:
    """Return the latitude and longitude of all operators' points, `(P_total,)` float64 degrees."""
    if not operators:
        empty = torch.empty(0, dtype=torch.float64)
        return empty, empty
    latitude = torch.cat([o.latitude.to(torch.float64) for o in operators])
    longitude = torch.cat([o.longitude.to(torch.float64) for o in operators])
    return latitude, longitude


@dataclass(frozen=True)
class StackedObservations:
    """The `P` active observations of one case, without the masked ones.

    Attributes:
        values: `(P,)` observed values, each in its operator's units.
        variance: `(P,)` diagonal of `R`, units squared.
        day: `(P,)` int64, day of the window.
        latitude: `(P,)` float64 degrees north.
        longitude: `(P,)` float64 degrees east.
        columns: `(P,)` int64, index into the flattened `(T, P_total)` of `observe_all`.
        points: `(P,)` int64, index into the `P_total` points of the network.
        operators: The operators of the network, all of them.
        kind: `(P,)` int64, number of the operator.
        silent: `(P,)` bool, True where a censored observation is at its bound, so that the value
            may lie anywhere below it (`slams.linalg.censoring`).
    """

    values: Tensor
    variance: Tensor
    day: Tensor
    latitude: Tensor
    longitude: Tensor
    columns: Tensor
    points: Tensor
    operators: tuple[ObservationOperator, ...]
    kind: Tensor
    silent: Tensor

    def __len__(self) -> int:
        return self.values.shape[0]

    def select(self, images: Tensor) -> Tensor:
        """Select this case's active points: `(N, T, P_total)` of `observe_all` to `(N, P)`."""
        return images.flatten(1)[:, self.columns]

    def apply(self, states: Tensor) -> Tensor:
        """Observe states `(N, T, C, H, W)` in channel units at the active points, `(N, P)`."""
        return self.select(observe_all(self.operators, states))


def stack_observations(batch: Batch, case: int) -> StackedObservations:
    """Gather the active observations of one case of a batch.

    Args:
        batch: The batch, of which only the observations are used.
        case: Position of the case in the batch.

    Returns:
        The observations, ordered by day, then by operator; empty without active observations.

    Raises:
        UserError: An active observation is NaN or infinite, or its error variance is negative
            or NaN.
    """
    operators = tuple(o.operator for o in batch.observations)
    device = batch.climatology.device
    if not operators:
        real, none = torch.empty(0, device=device), torch.empty(0, device=device).long()
        double = real.to(torch.float64)
        return StackedObservations(
            real, real, none, double, double, none, none, operators, none, real > 0
        )
    for observations in batch.observations:
        _check(observations, case)
    mask = torch.cat([o.mask[case] for o in batch.observations], dim=-1)
    values = torch.cat([o.values[case] for o in batch.observations], dim=-1)
    variance = torch.cat([o.error_variance[case] for o in batch.observations], dim=-1)
    silent = torch.cat([o.values[case] <= o.bound for o in batch.observations], dim=-1)
    latitude, longitude = (x.to(mask.device) for x in network_positions(operators))
    sizes = torch.tensor([len(o.latitude) for o in operators])
    kind = torch.arange(len(operators)).repeat_interleave(sizes).to(mask.device)
    day, points = torch.nonzero(mask, as_tuple=True)
    return StackedObservations(
        values=values[day, points],
        variance=variance[day, points],
        day=day,
        latitude=latitude[points],
        longitude=longitude[points],
        columns=day * mask.shape[-1] + points,
        points=points,
        operators=operators,
        kind=kind[points],
        silent=silent[day, points],
    )


def _check(observations: Observations, case: int) -> None:
    """Refuse active observations that would make the whole analysis NaN."""
    mask = observations.mask[case]
    values, variance = observations.values[case][mask], observations.error_variance[case][mask]
    if not bool(torch.isfinite(values).all()):
        count = int((~torch.isfinite(values)).sum())
        raise UserError(
            f"observations {observations.name}: {count} values are NaN or infinite although their "
            "mask marks them as observed; expected missing values to be masked"
        )
    # Written so that NaN counts as wrong.
    wrong = variance[~(variance >= 0)]
    if wrong.numel():
        raise UserError(
            f"observations {observations.name}: an error variance is {float(wrong[0]):g}; "
            "expected 0 or more"
        )
