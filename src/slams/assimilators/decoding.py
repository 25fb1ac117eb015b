"""Archive windows in a latent space, and the error of the decoder for them.

The decoder is part of the observation operator of every latent method. The variance of its error
on days of the archive, `e = x - dec(enc(x))`, mapped by `H`, is added to the diagonal of `R`:
`R + diag(H C_dec H^T)`. Correlations of this error between observations are neglected.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.fields import ObservationOperator
from slams.nn.latent_space import LatentSpace
from slams.observations.stacked import observe_perturbations

__all__ = ["decoding_variance", "encode_windows"]

# Windows passed through the networks at a time; limits the memory, not the result.
_CHUNK = 32


def encode_windows(
    space: LatentSpace, fields: Tensor, known: Tensor | None, device: torch.device
) -> Tensor:
    """Encode windows `(N, T, C, H, W)`, some at a time.

    Args:
        space: The latent space, on `device`.
        fields: Normalised; any finite fill value where missing.
        known: False where missing; `None` if nothing is missing.
        device: Device of the computation.

    Returns:
        `(N, T, K, h, w)` on `device`.
    """
    parts = []
    for at in torch.arange(len(fields)).split(_CHUNK):
        mask = None if known is None else known[at].to(device)
        parts.append(space.encode(fields[at].to(device), mask))
    return torch.cat(parts)


def decoding_variance(
    space: LatentSpace,
    latents: Tensor,
    archive: Archive,
    days: Tensor,
    operators: Sequence[ObservationOperator],
    sd: Tensor,
) -> Tensor:
    """Estimate the mean square of the decoder's error at the observed points.

    Args:
        space: The latent space.
        latents: `(n, T, K, h, w)` encodings of the windows `days` of the archive.
        archive: The archive.
        days: `(n,)` int64, windows of the archive.
        operators: The observing network.
        sd: `(C, H, W)` standard deviations that normalise the fields.

    Returns:
        `(T * P_total,)` in squared units of the observations. Missing values of the archive count
        as no error.
    """
    total = 0.0
    for some, chunk in zip(latents.split(_CHUNK), days.split(_CHUNK), strict=True):
        error = archive.fields[chunk].to(some) - space.decode(some)
        if archive.known is not None:
            error = torch.where(archive.known[chunk].to(some.device), error, 0.0)
        total = total + observe_perturbations(operators, error * sd).square().sum(dim=0)
    return (total / len(latents)).flatten()
