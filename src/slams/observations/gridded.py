"""What observations say about a forecast, on the forecast's own grid.

With `H` the operators, `R` the error variances, `S` the standard deviations of the climatology and
`x_f` a forecast, both normalised and at each grid point of each channel,

    p = S^2 H^T R^-1 1,        d = S H^T R^-1 (y - H x_f) / p        (d = 0 where p = 0):

`p` is the precision of the observations near the point, in units of the climatological variance,
and `d` the mean of their innovations there, weighted by precision and by how much they depend on
the point, in standard deviations. Any network of any instruments becomes two fields per channel
that it observes: the adjoint of `H` is all that is needed of an operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from slams.fields import ObservationOperator, Observations

__all__ = ["gridded_innovations", "observed_channels"]

# Largest innovation in standard deviations that is passed on.
_LARGEST = 10.0


def observed_channels(
    operators: Iterable[ObservationOperator], shape: tuple[int, int, int]
) -> list[int]:
    """Return the channels that operators depend on, in order.

    Args:
        operators: The operators.
        shape: `(C, H, W)` of the state.
    """
    reached = torch.zeros(shape[0], dtype=torch.bool)
    for operator in operators:
        marks = operator.adjoint(torch.ones(len(operator)))
        reached |= (marks.reshape(shape) != 0).flatten(1).any(dim=1).cpu()
    return torch.nonzero(reached).flatten().tolist()


def gridded_innovations(
    observations: Sequence[Observations],
    day: int,
    state: Tensor,
    sd: Tensor,
    channels: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Compute the fields `d` and `log(1 + p)` of a day.

    Args:
        observations: Observations of `B` windows.
        day: The day of the window.
        state: `(B, C, H, W)` the forecast in channel units.
        sd: `(C, H, W)` standard deviations of the climatology, channel units.
        channels: Channels to return, see `observed_channels`.

    Returns:
        `d` and `log(1 + p)`, `(B, O, H, W)` each.
    """
    precision, pull = torch.zeros_like(state), torch.zeros_like(state)
    for one in observations:
        inverse = torch.where(one.mask[:, day], 1.0 / one.error_variance[:, day], 0.0)
        departure = torch.where(one.mask[:, day], one.values[:, day] - one.operator(state), 0.0)
        if one.bound > -torch.inf:
            # A gauge that reads the bound says only that the value is not above it.
            silent = (one.values[:, day] <= one.bound) & (departure > 0)
            departure = torch.where(silent, 0.0, departure)
        precision += one.operator.adjoint(inverse)
        pull += one.operator.adjoint(inverse * departure)
    index = list(channels)
    precision = precision[:, index] * sd[index].square()
    pull = pull[:, index] * sd[index]
    seen = precision > 0
    innovation = torch.where(seen, pull / torch.where(seen, precision, 1.0), 0.0)
    return innovation.clamp(-_LARGEST, _LARGEST), torch.log1p(precision)
