"""The tangent linear operator of `H`: H'(f) v for any differentiable `H`, without its matrix.

Forward-mode differentiation through the operators themselves,

    H'(f) v = d/ds H(f + s v) at s = 0,

so that an operator is written only once, in torch. For the affine operators of this package it is
their linear part, for any `f`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["tangent"]

# Perturbations processed at a time; limits the temporaries, not the result.
_PERTURBATIONS = 64


def tangent(function: Callable[[Tensor], Tensor], about: Tensor, perturbations: Tensor) -> Tensor:
    """Apply the tangent linear of a function that treats every row of a batch in the same way.

    Args:
        function: Maps `(N, ...)` to `(N, ...)`, row by row, differentiable in forward mode.
        about: `(1, ...)` point about which it is linearised.
        perturbations: `(N, ...)` to which its derivative is applied.

    Returns:
        `(N, ...)`.
    """
    images = []
    for some in perturbations.split(_PERTURBATIONS):
        at = about.expand_as(some).contiguous()
        _, image = torch.func.jvp(function, (at,), (some,))
        images.append(image)
    return torch.cat(images)
