"""All active observations of one case, of every modality and day, as one vector.

A network is fixed and only its masks change from case to case. Observing is therefore split
in two: `observe_all` applies every operator of the network to every day,

    (N, T, C, H, W) -> (N, T, P_total),        P_total = sum_k P_k,

which for an archive is done once, and a case then takes its `columns` of the flattened
`T * P_total` values. `StackedObservations.apply` does both for states of the moment.

Operators may carry an offset (elevation correction): H(f) = H_lin f + offset. Perturbations
are observed by the linear part alone, see `observe_perturbations`.
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
    """Observe states by every operator at every point, active or not.

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
    """Observe perturbations by the linear parts of the operators.

    Args:
        operators: The operators.
        states: `(N, T, C, H, W)` differences of states, channel units.

    Returns:
        `(N, T, P_total)`.
    """
    offset = observe_all(operators, torch.zeros_like(states[:1, :1]))
    return observe_all(operators, states) - offset


def network_positions(operators: Sequence[ObservationOperator]) -> tuple[Tensor, Tensor]:
    """List the points of all operators: latitude and longitude `(P_total,)`, float64 degrees."""
    if not operators:
        empty = torch.empty(0, dtype=torch.float64)
        return empty, empty
    latitude = torch.cat([o.latitude.to(torch.float64) for o in operators])
    longitude = torch.cat([o.longitude.to(torch.float64) for o in operators])
    return latitude, longitude


@dataclass(frozen=True)
class StackedObservations:
    """Holds the `P` active observations of one case; masked ones are not in it at all.

    Attributes:
        values: `(P,)` observed values, each in its operator's units.
        variance: `(P,)` diagonal of `R`, units squared.
        day: `(P,)` int64, day of the window.
        latitude: `(P,)` float64 degrees north.
        longitude: `(P,)` float64 degrees east.
        columns: `(P,)` int64, index into the flattened `(T, P_total)` of `observe_all`.
        points: `(P,)` int64, index into the `P_total` points of the network.
        operators: The operators of the network, all of them.
        silent: `(P,)` bool, where a censored observation reads its bound and the values that it
            may stand for lie below (`slams.linalg.censoring`).
    """

    values: Tensor
    variance: Tensor
    day: Tensor
    latitude: Tensor
    longitude: Tensor
    columns: Tensor
    points: Tensor
    operators: tuple[ObservationOperator, ...]
    silent: Tensor

    def __len__(self) -> int:
        return self.values.shape[0]

    def select(self, images: Tensor) -> Tensor:
        """Take this case's active points: `(N, T, P_total)` of `observe_all` to `(N, P)`."""
        return images.flatten(1)[:, self.columns]

    def apply(self, states: Tensor) -> Tensor:
        """Observe states `(N, T, C, H, W)` in channel units at the active points: `(N, P)`."""
        return self.select(observe_all(self.operators, states))


def stack_observations(batch: Batch, case: int) -> StackedObservations:
    """Gather the active observations of one case of a batch.

    Args:
        batch: The batch; only its observations are read.
        case: Position of the case in the batch.

    Returns:
        Operator by operator within a day, day by day; empty without active observations.

    Raises:
        UserError: An active observation is NaN or infinite, or its error variance is negative
            or NaN.
    """
    operators = tuple(o.operator for o in batch.observations)
    device = batch.climatology.device
    if not operators:
        real, whole = torch.empty(0, device=device), torch.empty(0, 2, device=device).long()
        double = real.to(torch.float64)
        return StackedObservations(
            real, real, whole[:, 0], double, double, whole[:, 0], whole[:, 1], operators, real > 0
        )
    for observations in batch.observations:
        _check(observations, case)
    mask = torch.cat([o.mask[case] for o in batch.observations], dim=-1)
    values = torch.cat([o.values[case] for o in batch.observations], dim=-1)
    variance = torch.cat([o.error_variance[case] for o in batch.observations], dim=-1)
    silent = torch.cat([o.values[case] <= o.bound for o in batch.observations], dim=-1)
    latitude, longitude = (x.to(mask.device) for x in network_positions(operators))
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
        silent=silent[day, points],
    )


def _check(observations: Observations, case: int) -> None:
    """Refuse active observations that would turn the whole analysis into NaN."""
    mask = observations.mask[case]
    values, variance = observations.values[case][mask], observations.error_variance[case][mask]
    if not bool(torch.isfinite(values).all()):
        count = int((~torch.isfinite(values)).sum())
        raise UserError(
            f"observations {observations.name}: {count} values are NaN or infinite though their "
            "mask says observed; expected missing values to be masked"
        )
    # Written so that NaN counts as wrong.
    wrong = variance[~(variance >= 0)]
    if wrong.numel():
        raise UserError(
            f"observations {observations.name}: an error variance is {float(wrong[0]):g}; "
            "expected 0 or more"
        )
