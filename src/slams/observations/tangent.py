"""The tangent linear of observing: H'(f) v for any differentiable `H`, without its matrix.

Forward-mode differentiation through the operators themselves,

    H'(f) v = d/ds H(f + s v) at s = 0,

so that an operator has to be written once only, in torch. For the affine operators of this
package it is their linear part, whatever `f`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slams.fields import ObservationOperator
from slams.observations.stacked import observe_all

__all__ = ["observe_tangent", "tangent"]

# Perturbations taken at a time: bounds the temporaries, not the result.
_PERTURBATIONS = 64


def tangent(function: Callable[[Tensor], Tensor], about: Tensor, perturbations: Tensor) -> Tensor:
    """Apply the tangent linear of a function that treats the rows of a batch alike.

    Args:
        function: Maps `(N, ...)` to `(N, ...)`, row by row, differentiable in forward mode.
        about: `(1, ...)` where it is linearised.
        perturbations: `(N, ...)` what its derivative is applied to.

    Returns:
        `(N, ...)`.
    """
    images = []
    for some in perturbations.split(_PERTURBATIONS):
        at = about.expand_as(some).contiguous()
        _, image = torch.func.jvp(function, (at,), (some,))
        images.append(image)
    return torch.cat(images)


def observe_tangent(
    operators: Sequence[ObservationOperator], state: Tensor, perturbations: Tensor
) -> Tensor:
    """Observe perturbations of a state by the operators linearised about it.

    Args:
        operators: The operators, differentiable in forward mode.
        state: `(1, T, C, H, W)` channel units.
        perturbations: `(N, T, C, H, W)` channel units.

    Returns:
        `(N, T, P_total)`, as `slams.observations.stacked.observe_all` orders them.
    """
    return tangent(lambda f: observe_all(operators, f), state, perturbations)
