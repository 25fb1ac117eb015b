"""Local ensemble transform Kalman filter.

At each grid point, with the observed values Y (K, P) of the prior's perturbations, the innovation
d and the error variances R divided by the Gaspari-Cohn localisation L of the distances to the
point (so that the effect of observations decreases with distance: R-localisation),

    A   = (K - 1) I + Y (L / R) Y^T = Q diag(lambda) Q^T            (K, K)
    w   = A^-1 Y (L / R) d                                          weights of the mean
    W   = ((K - 1) A^-1)^1/2 = Q diag(((K - 1) / lambda)^1/2) Q^T   symmetric transform
    x_a = x_b + X w,      perturbations = X W

(Hunt, Kostelich and Szunyogh 2007, Physica D 230, 112-126, arXiv physics/0511236, section 2).
The symmetric square root keeps perturbations centred and W continuous between points. All
fields and days of a point share its weights. Prior, inflation, relaxation and the choice of
members: `slams.assimilators.ensemble_kalman`.

Observations without error are refused, because the ensemble space cannot fit them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.assimilators.ensemble_kalman import Analysed, EnsembleKalman, PriorEnsemble
from slams.assimilators.network_gains import NetworkGains
from slams.errors import UserError
from slams.methods.specifications import LETKF as SPEC
from slams.observations.stacked import StackedObservations

__all__ = ["LETKF", "build", "local_transform"]

# Grid points analysed at a time; limits the memory, not the result.
_POINTS = 96

# Largest ratio of A to its smallest eigenvalue, K - 1, that single precision resolves.
_SINGLE = 1e4


class LETKF(EnsembleKalman):
    """Local ensemble transform Kalman filter; see `EnsembleKalman`."""

    name = SPEC.name

    def update(self, prior: PriorEnsemble, observations: StackedObservations) -> Analysed:
        """Update the ensemble; see `EnsembleKalman.update`.

        Raises:
            UserError: An observation has an error variance of 0.
        """
        errors = prior.perturbations
        increment, analysis = local_transform(
            self.gains, observations, prior.images, prior.innovation, errors.flatten(1, 2)
        )
        return increment.reshape(errors.shape[1:]), analysis.reshape(errors.shape)


def local_transform(
    gains: NetworkGains,
    observations: StackedObservations,
    images: Tensor,
    innovation: Tensor,
    perturbations: Tensor,
    strengths: Sequence[float] | None = None,
) -> Analysed:
    """Transform perturbations by the weights of the observations near each grid point.

    The perturbations need not be of the fields that are observed: any fields of the same members
    on the same grid, at whatever time, share the weights (4D-LETKF: Hunt et al. 2007, section 4).

    Args:
        gains: Localisation and choice of the observations near a point.
        observations: The `P` active observations, with the error variances to use.
        images: `(K, P)` observed values of the members, centred.
        innovation: `(P,)` observed values minus the mean of the members' observed values.
        perturbations: `(K, F, H, W)` centred, in any units.
        strengths: `F` factors on the localisation, 0 to 1: observations count less for some
            fields; 1 for all by default.

    Returns:
        Increment `(F, H, W)` of the mean and perturbations `(K, F, H, W)`, centred.

    Raises:
        UserError: An observation has an error variance of 0.
    """
    if not bool((observations.variance > 0).all()):
        raise UserError(
            "letkf: an active observation has an error variance of 0, expected more than 0"
        )
    sd = observations.variance.sqrt()
    images, innovation = images / sd, innovation / sd
    by_point = perturbations.flatten(2).permute(2, 1, 0)  # (G, F, K)
    increment = perturbations.new_empty(by_point.shape[:2])
    analysis = perturbations.new_empty(len(perturbations), by_point.shape[1], len(by_point))
    groups = _equal(strengths or [1.0] * by_point.shape[1])
    for start in range(0, len(by_point), _POINTS):
        points = slice(start, start + _POINTS)
        taper, index = gains.nearest(observations, points)
        for strength, fields in groups.items():
            mean, transform = _weights(strength * taper, index, images, innovation)
            local = by_point[points][:, fields]
            increment[points, fields] = (local @ mean.unsqueeze(-1)).squeeze(-1)
            analysis[:, fields, points] = (local @ transform).permute(2, 1, 0)
    return increment.T.reshape(perturbations.shape[1:]), analysis.reshape(perturbations.shape)


def _equal(values: Sequence[float]) -> dict[float, list[int]]:
    """Return the positions of each value."""
    found: dict[float, list[int]] = {}
    for position, value in enumerate(values):
        found.setdefault(value, []).append(position)
    return found


def _weights(
    taper: Tensor, index: Tensor, images: Tensor, innovation: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the weights of some grid points in ensemble space.

    Args:
        taper: `(g, near)` localisation L of the observations within range.
        index: `(g, near)` int64, which ones they are.
        images: `(K, P)` observed perturbations, in standard deviations of the observation error.
        innovation: `(P,)` innovations in the same units.

    Returns:
        Weights of the mean `(g, K)` and transforms `(g, K, K)`.
    """
    members = len(images)
    root = taper.sqrt()
    local = images.T[index].transpose(1, 2) * root.unsqueeze(1)  # (g, K, near)
    precision = local @ local.transpose(1, 2)
    single = float(precision.diagonal(dim1=1, dim2=2).sum(dim=1).max()) < _SINGLE * (members - 1)
    if not single:
        local, root = local.to(torch.float64), root.to(torch.float64)
        precision = local @ local.transpose(1, 2)
    precision.diagonal(dim1=1, dim2=2).add_(members - 1)
    eigenvalues, vectors = torch.linalg.eigh(precision)
    eigenvalues = eigenvalues.clamp(min=members - 1)
    seen = local @ (root * innovation[index]).unsqueeze(-1)  # (g, K, 1)
    transposed = vectors.transpose(1, 2)
    mean = vectors @ ((transposed @ seen) / eigenvalues.unsqueeze(-1))
    scale = ((members - 1) / eigenvalues).sqrt()
    transform = (vectors * scale.unsqueeze(1)) @ transposed
    return mean.squeeze(-1).to(images.dtype), transform.to(images.dtype)


build = LETKF.build
