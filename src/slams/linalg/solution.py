"""Solutions with covariances of innovations, several systems at once."""

from __future__ import annotations

import torch
from torch import Tensor

from slams.errors import UserError

__all__ = ["factorise"]

# Fraction of each diagonal element that is added to it when rounding makes the factorisation fail.
# A fraction of their mean would swamp observations in small units next to those in large units.
_JITTERS = (0.0, 1e-10, 1e-7)


def factorise(covariance: Tensor) -> Tensor:
    """Return the lower Cholesky factors of covariances S.

    Args:
        covariance: `(..., P, P)` float64.

    Returns:
        `(..., P, P)` float64.

    Raises:
        UserError: S is not positive definite, even with its diagonal raised by 1e-7.
    """
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    # A constant that is observed without error has a zero on the diagonal: use the mean instead.
    sizes = torch.where(diagonal > 0, diagonal, diagonal.mean(dim=-1, keepdim=True))
    for jitter in _JITTERS:
        raised = covariance if jitter == 0 else covariance + torch.diag_embed(jitter * sizes)
        factor, info = torch.linalg.cholesky_ex(raised)
        if not bool(info.any()):
            return factor
    raise UserError(
        f"the covariance of {covariance.shape[-1]} innovations is not positive definite; expected "
        "finite anomalies and positive observation error variances"
    )
