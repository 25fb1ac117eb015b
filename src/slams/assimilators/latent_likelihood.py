r"""The likelihood in latent space: observations are encoded and compared with latents.

The original SLAMS (arXiv 2404.06665) observes `A(enc(truth)) + noise`, for which the truth must be
known everywhere. Here only the observations are encoded. They are spread over the fields by the
adjoint of `H` (d the departures from the climatology, 1 a vector of ones),

    field = (H^T R^-1 d) / (H^T R^-1 1)  where H^T 1 > 0,  missing elsewhere,

and encoded with that mask: y_z = enc(field, mask). The relation of such an encoding to the latents
is estimated on days of the archive, observed at the same points with errors drawn from `R`: at
each latent point, by least squares over the days,

    y_z = A z + b + e,      e ~ N(0, R_z),

with `K x K` matrices `A` and `R_z`. Where nothing is observed, `A` is zero, so that the state is
not drawn to the climatology.

A censored observation at its bound is treated as an exact report with a Gaussian error, because an
inequality cannot be encoded.

`R_z` has no units: it contains the errors of the instruments, of the spreading and of the encoder,
which was trained with complete fields and not with the masks of a network of stations; it cannot
be checked against an instrument. This likelihood is an ablation; the default is the likelihood in
units of the observations, through the decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.decoding import encode_windows
from slams.diffusion.posterior.pointwise import LatentObservation
from slams.linalg.whitening import positive_variance
from slams.nn.latent_space import LatentSpace
from slams.normalisation import Normaliser
from slams.observations.stacked import StackedObservations, observe_perturbations
from slams.runtime.seeds import generator

__all__ = ["encode_observations", "spread"]

_CHUNK = 32
# Fraction of the latents' variance that is added to it before it is inverted.
_RIDGE = 1e-4


def spread(
    stacked: StackedObservations, departures: Tensor, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Spread departures over the fields by the adjoint of `H`, weighted by `R^-1`.

    Args:
        stacked: The active observations.
        departures: `(N, P)` observed values minus those of the climatology.
        shape: `(T, C, H, W)`.

    Returns:
        `(N, T, C, H, W)` in channel units, 0 where nothing is observed, and `(1, T, C, H, W)`
        bool, True where something is observed.
    """
    precision = 1 / positive_variance(stacked.variance)

    def adjoint(weights: Tensor) -> Tensor:
        zeros = weights.new_zeros(len(weights), *shape)
        _, pull = torch.func.vjp(stacked.apply, zeros)
        return pull(weights)[0].detach()

    total = adjoint(precision[None])
    mask = total > 1e-6 * precision.min()
    return torch.where(mask, adjoint(departures * precision) / total, 0.0), mask


def encode_observations(
    space: LatentSpace,
    stacked: StackedObservations,
    climatology: Tensor,
    normaliser: Normaliser,
    archive: Archive,
    count: int,
    seed: int,
) -> LatentObservation:
    """Encode the observations of one case, and estimate the accuracy of the encoding.

    Args:
        space: The latent space.
        stacked: The active observations of the case.
        climatology: `(1, T, C, H, W)` channel units.
        normaliser: Standard deviations.
        archive: Days of the training period.
        count: Largest number of days to use, evenly spaced.
        seed: The experiment's seed, for drawing errors.
    """
    sd, device = normaliser.sd.to(climatology), climatology.device
    shape = tuple(climatology.shape[1:])

    def encode(departures: Tensor) -> Tensor:
        fields, mask = spread(stacked, departures, shape)
        return space.encode(fields / sd, mask.expand_as(fields))

    size = len(archive.fields)
    days = torch.linspace(0, size - 1, min(count, size)).round().long().unique()
    width = shape[0] * sum(len(o.latitude) for o in stacked.operators)
    noise = torch.randn(len(days), width, generator=generator(seed, "latent likelihood"))
    noise = noise.to(device)[:, stacked.columns] * stacked.variance.sqrt()
    encoded = []
    for at in torch.arange(len(days)).split(_CHUNK):
        state = archive.fields[days[at]].to(device) * sd
        seen = stacked.select(observe_perturbations(stacked.operators, state))
        encoded.append(encode(seen + noise[at]))
    known = None if archive.known is None else archive.known[days]
    truth = encode_windows(space, archive.fields[days], known, device)
    values = encode((stacked.values - stacked.apply(climatology)[0])[None])
    return _regressed(_points(truth), _points(torch.cat(encoded)), _points(values)[..., 0, :])


def _points(latents: Tensor) -> Tensor:
    """Reshape `(N, T, K, h, w)` to `(T, S, N, K)` float64."""
    return latents.flatten(-2).permute(1, 3, 0, 2).to(torch.float64)


def _regressed(truth: Tensor, encoded: Tensor, values: Tensor) -> LatentObservation:
    """Fit y_z = A z + b + e at each point of `(T, S, N, K)`."""
    days, channels = truth.shape[-2:]
    means = truth.mean(dim=-2), encoded.mean(dim=-2)
    z, y = truth - means[0][..., None, :], encoded - means[1][..., None, :]
    variance = z.transpose(-1, -2) @ z
    ridge = _RIDGE * variance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    variance = variance + ridge[..., None, None] * torch.eye(channels).to(variance)
    matrix = torch.linalg.solve(variance, z.transpose(-1, -2) @ y).transpose(-1, -2)
    rest = y - z @ matrix.transpose(-1, -2)
    covariance = rest.transpose(-1, -2) @ rest / max(days - 1 - channels, 1)
    offset = means[1] - (matrix @ means[0][..., None])[..., 0]
    return LatentObservation(*(x.float() for x in (values, matrix, offset, covariance)))
