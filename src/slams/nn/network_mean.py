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
        networks: Networks of equal signature, as `LatentUNet`.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, z: Tensor, log_sigma: Tensor, **inputs: Tensor | None) -> Tensor:
        """Evaluate the mean or, in training, each network on its part of the batch.

        Args:
            z: `(B, T, K, h, w)` noisy latents.
            log_sigma: `(B,)` or `()` log of the noise level.
            inputs: `(B, ...)` each, or `None`: the further inputs of `LatentUNet`.

        Returns:
            `(B, T, K, h, w)`.
        """
        if not self.training:
            outputs = [network(z, log_sigma, **inputs) for network in self.networks]
            # If each is evaluated in bfloat16, their mean has more significant digits.
            return torch.stack([output.to(z.dtype) for output in outputs]).mean(dim=0)
        count, output = len(self.networks), None
        log_sigma = log_sigma.expand(z.shape[0])
        for number, network in enumerate(self.networks):
            mine = slice(number, None, count)
            part = {name: None if x is None else x[mine] for name, x in inputs.items()}
            found = network(z[mine], log_sigma[mine], **part)
            output = found.new_empty(z.shape) if output is None else output
            output[mine] = found
        return output
