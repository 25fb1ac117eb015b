"""The gain of an ensemble covariance with localisation point by point.

With centred anomalies Z (n, K, G) of K fields at G points and their images Y = H Z (n, P),
localisation L_zo (G, P) and L_oo (P, P), and `o` the elementwise product,

    S = L_oo o (Y^T Y) / (n - 1) + R
    increment of field k = [L_zo o (Z_k^T Y) / (n - 1)] S^-1 innovation

The gain (K * G, P) is never formed: the system is first solved for the innovations of all members,
V = S^-1 innovation (P, J); then the covariance (G, P) of one field at a time is formed. The system
is solved in double precision, because dense observations make S badly conditioned. (Weighting the
days of each point member by member takes fewer multiplications if there are few members, but three
to nine times as long, because the anomalies have to be transposed in memory.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.errors import UserError

__all__ = [
    "apply_gain",
    "factorise",
    "innovation_covariance",
    "localised_increments",
    "solve_innovations",
]

# Fraction of each diagonal element that is added to it when rounding makes the factorisation fail.
# A fraction of their mean would swamp observations in small units next to those in large units.
_JITTERS = (0.0, 1e-10, 1e-7)


def innovation_covariance(observed: Tensor, localisation: Tensor, variance: Tensor) -> Tensor:
    """Form S = L_oo o (Y^T Y) / (n - 1) + R.

    Args:
        observed: `(n, P)` observed anomalies Y, centred.
        localisation: `(P, P)` L_oo.
        variance: `(P,)` diagonal of R.

    Returns:
        `(P, P)` float64.
    """
    observed = observed.to(torch.float64)
    covariance = (observed.T @ observed).div_(observed.shape[0] - 1).mul_(localisation)
    covariance.diagonal().add_(variance.to(torch.float64))
    return covariance


def factorise(covariance: Tensor) -> Tensor:
    """Return the lower Cholesky factor of S.

    Args:
        covariance: `(P, P)` float64, see `innovation_covariance`.

    Returns:
        `(P, P)` float64.

    Raises:
        UserError: S is not positive definite, even with its diagonal raised by 1e-7.
    """
    diagonal = covariance.diagonal()
    # A constant that is observed without error has a zero on the diagonal: use the mean instead.
    sizes = torch.where(diagonal > 0, diagonal, diagonal.mean())
    for jitter in _JITTERS:
        raised = covariance if jitter == 0 else covariance + torch.diag(jitter * sizes)
        factor, info = torch.linalg.cholesky_ex(raised)
        if int(info) == 0:
            return factor
    raise UserError(
        f"the covariance of {covariance.shape[0]} innovations is not positive definite; expected "
        "finite anomalies and positive observation error variances"
    )


def solve_innovations(covariance: Tensor, innovations: Tensor) -> Tensor:
    """Solve S V = innovations.

    Args:
        covariance: `(P, P)` float64, see `innovation_covariance`.
        innovations: `(J, P)`.

    Returns:
        `(P, J)` float64.

    Raises:
        UserError: S is not positive definite, even with its diagonal raised by 1e-7.
    """
    return torch.cholesky_solve(innovations.to(torch.float64).T, factorise(covariance))


def localised_increments(
    anomalies: Tensor, observed: Tensor, localisation: Tensor, weights: Tensor
) -> Tensor:
    """Compute the increments of the state from the solved innovations.

    Args:
        anomalies: `(n, K, G)` anomalies Z, centred.
        observed: `(n, P)` observed anomalies Y, centred.
        localisation: `(G, P)` L_zo.
        weights: `(P, J)` V of `solve_innovations`.

    Returns:
        `(J, K, G)` increments in the units and the precision of the anomalies.
    """
    _, fields, points = anomalies.shape
    weights = weights.to(anomalies.dtype) / (anomalies.shape[0] - 1)
    observed = observed.to(anomalies.dtype)
    increments = anomalies.new_empty(weights.shape[1], fields, points)
    covariance = anomalies.new_empty(points, observed.shape[1])
    for field in range(fields):
        torch.mm(anomalies[:, field].T, observed, out=covariance)
        increments[:, field] = (covariance.mul_(localisation) @ weights).T
    return increments


def apply_gain(
    anomalies: Tensor,
    observed: Tensor,
    localisation: tuple[Tensor, Tensor],
    variance: Tensor,
    innovations: Tensor,
) -> Tensor:
    """Compute the increments of the state from innovations.

    Args:
        anomalies: `(n, T, C, H, W)` anomalies Z, centred.
        observed: `(n, P)` observed anomalies Y, centred.
        localisation: `(G, P)` L_zo and `(P, P)` L_oo.
        variance: `(P,)` diagonal of R.
        innovations: `(J, P)`.

    Returns:
        `(J, T, C, H, W)` increments in the units and the precision of the anomalies.

    Raises:
        UserError: S is not positive definite, even with its diagonal raised by 1e-7.
    """
    between, among = localisation
    weights = solve_innovations(innovation_covariance(observed, among, variance), innovations)
    fields = anomalies.flatten(1, 2).flatten(2)
    increments = localised_increments(fields, observed, between, weights)
    return increments.reshape(-1, *anomalies.shape[1:])
