"""The mean of several networks of the same architecture, trained together.

Networks with different initial weights and different samples have different errors if there are
few training data; the errors of their mean are smaller (deep ensembles, Lakshminarayanan et al.
2017, arXiv 1612.01474). A mean of denoisers is a denoiser, so that guidance and samplers need no
change.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["NetworkMean"]


class NetworkMean(nn.Module):
    """Mean of `K` networks; in training, each sample is passed to one of them.

    A training step costs the same as with one network, but each network sees the same number of
    samples only after `K` times as many steps. An evaluation costs `K` times as much.

    Args:
        networks: Networks of equal signature, `f(z, log_sigma, condition, known, season)`.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(
        self,
        z: Tensor,
        log_sigma: Tensor,
        condition: Tensor | None = None,
        known: Tensor | None = None,
        season: Tensor | None = None,
    ) -> Tensor:
        """Evaluate the mean or, in training, each network on its part of the batch.

        Args:
            z: `(B, T, K, h, w)` noisy latents.
            log_sigma: `(B,)` or `()` log of the noise level.
            condition: `(B, T, K, h, w)` encoded background, or `None`.
            known: `(B,)` age of the condition, 0 where it is hidden (or bool), or `None`.
            season: `(B,)` time of year in [0, 1), or `None`.

        Returns:
            `(B, T, K, h, w)`.
        """
        if not self.training:
            outputs = [f(z, log_sigma, condition, known, season) for f in self.networks]
            # If each is evaluated in bfloat16, their mean has more significant digits.
            return torch.stack([output.to(z.dtype) for output in outputs]).mean(dim=0)
        count = len(self.networks)
        log_sigma = log_sigma.expand(z.shape[0])
        parts = []
        for number, network in enumerate(self.networks):
            inputs = (z, log_sigma, condition, known, season)
            parts.append(network(*(None if x is None else x[number::count] for x in inputs)))
        output = parts[0].new_empty(z.shape)
        for number, part in enumerate(parts):
            output[number::count] = part
        return output
