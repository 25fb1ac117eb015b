"""The tangent linear of observing: H'(f) v for any differentiable `H`, without its matrix.

Forward-mode differentiation through the operators themselves,

    H'(f) v = d/ds H(f + s v) at s = 0,

so that an operator has to be written once only, in torch. For the affine operators of this
package it is their linear part, whatever `f`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.fields import ObservationOperator
from slams.observations.stacked import observe_all

__all__ = ["observe_tangent"]

# Perturbations taken at a time: bounds the temporaries, not the result.
_PERTURBATIONS = 64


def observe_tangent(
    operators: Sequence[ObservationOperator], state: Tensor, perturbations: Tensor
) -> Tensor:
    """Observes perturbations of a state by the operators linearised about it.

    Args:
        operators: The operators, differentiable in forward mode.
        state: `(1, T, C, H, W)` channel units.
        perturbations: `(N, T, C, H, W)` channel units.

    Returns:
        `(N, T, P_total)`, as `slams.observations.stacked.observe_all` orders them.
    """
    images = []
    for some in perturbations.split(_PERTURBATIONS):
        about = state.expand_as(some).contiguous()
        _, image = torch.func.jvp(lambda f: observe_all(operators, f), (about,), (some,))
        images.append(image)
    return torch.cat(images)
