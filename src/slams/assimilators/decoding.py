"""Archive windows in a latent space, and the error of the decoder for them.

The decoder is part of the observation operator of every latent method. The variance of its error
on days of the archive, `e = x - dec(enc(x))`, mapped by `H`, is added to the diagonal of `R`:
`R + diag(H C_dec H^T)`. Correlations of this error between observations are neglected.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.assimilators.background_residual import BackgroundResidual
from slams.assimilators.base import Archive
from slams.fields import ObservationOperator
from slams.nn.latent_space import LatentSpace
from slams.observations.stacked import observe_all, observe_perturbations
from slams.runtime.seeds import generator

__all__ = ["decoding_errors", "encode_windows", "network_probe"]

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


def decoding_errors(
    space: LatentSpace,
    latents: Tensor,
    archive: Archive,
    days: Tensor,
    operators: Sequence[ObservationOperator],
    sd: Tensor,
    lost: BackgroundResidual | None = None,
) -> Tensor:
    """Observe the difference between windows of the archive and their decoded latents.

    Args:
        space: The latent space.
        latents: `(n, T, K, h, w)` latents of the windows `days` of the archive.
        archive: The archive.
        days: `(n,)` int64, windows of the archive.
        operators: The observing network.
        sd: `(C, H, W)` standard deviations that normalise the fields.
        lost: Offset of decoded fields by what encoding loses of the backgrounds; `None` for none.

    Returns:
        `(n, T, P_total)` in units of the observations. Missing values of the archive count as no
        error.
    """
    error = archive.fields[days].to(latents) - space.decode(latents)
    if lost is not None:
        error = error - lost.of_days(archive, days)
    if archive.known is not None:
        error = torch.where(archive.known[days].to(error.device), error, 0.0)
    return observe_perturbations(operators, error * sd)


def network_probe(
    operators: Sequence[ObservationOperator], archive: Archive, seed: int, device: torch.device
) -> Tensor:
    """Observe a fixed random state, `(1, T, P_total)`.

    Networks with equal observations of it are the same, whatever objects they are.
    """
    state = torch.randn(1, *archive.fields.shape[1:], generator=generator(seed, "probe"))
    return observe_all(operators, state.to(device))
