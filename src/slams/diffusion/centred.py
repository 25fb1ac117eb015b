r"""A denoiser that learns departures from the background.

A background that is a trained forecast is already close to the conditional mean of the state. A
network that has to reproduce it from its inputs loses accuracy; one that is given it as an offset
does not. With the encoded background `c`, the standard deviation `s` of `z - c` per channel, and
the preconditioning of Karras et al. 2022 (arXiv 2206.00364, table 1, `sigma_data = s`),

    D(z_t, c; sigma) = c + s^2 / v (z_t - c) + s sigma / v^1/2 F((z_t - c) / v^1/2, c; log sigma),
    v = s^2 + sigma^2.

A network `F` of zeros gives the exact denoiser of independent `z ~ N(c, s^2)`. Where the
background is hidden, `c = 0` and `s = 1`: the denoiser of standardised latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slams.diffusion.backend import DiracPosterior, KarrasDenoiser, VESchedule

__all__ = ["CentredDenoiser", "data_variance", "with_backbone"]


class CentredDenoiser(KarrasDenoiser):
    """Denoiser of `(B, T, K, h, w)` latents, centred on the background where it is known.

    Args:
        backbone: Network of states, log noise levels and conditions, as `LatentUNet`.
        schedule: Schedule of the noise levels.
        sd: `(K,)` standard deviation of latents about encoded backgrounds.
    """

    sd: Tensor

    def __init__(self, backbone: nn.Module, schedule: VESchedule, sd: Tensor) -> None:
        super().__init__(backbone, schedule)
        self.register_buffer("sd", sd.clone())

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Tensor | None = None,
        known: Tensor | None = None,
        **inputs: Tensor | None,
    ) -> DiracPosterior:
        """Return `E[z | z_t]`.

        Args:
            x_t: States.
            t: `()` or `(B,)` time.
            condition: `(B, T, K, h, w)` encoded background; `None` hides it.
            known: `(B,)` age of the condition, 0 where it is hidden; `None` for 1 everywhere.
            inputs: Passed to the network.
        """
        if condition is None:
            return super().forward(x_t, t, **inputs)
        shown = _shown(known, x_t)
        centre = torch.where(shown, condition.to(x_t), 0.0)
        variance = self.variance(known, x_t)
        sigma = self.schedule(t)[1].to(x_t)
        level = sigma.reshape(-1, *[1] * (x_t.ndim - 1)) if sigma.ndim else sigma
        total = variance + level**2
        departure = x_t - centre
        output = self.backbone(
            departure * total.rsqrt(),
            sigma.log(),
            condition=condition,
            known=known,
            **inputs,
        ).to(x_t)
        mean = centre + variance / total * departure + level * (variance / total).sqrt() * output
        return DiracPosterior(mean=mean)

    def variance(self, known: Tensor | None, x: Tensor) -> Tensor:
        """Return the variance of states about their centre, to broadcast with `(B, T, K, h, w)`.

        Args:
            known: See `forward`.
            x: A tensor of the states' shape, type and device.
        """
        return torch.where(_shown(known, x), self.sd.to(x).square().reshape(-1, 1, 1), 1.0)


def _shown(known: Tensor | None, x: Tensor) -> Tensor:
    """Return where the background is known, bool, to broadcast with `(B, ...)`."""
    if known is None:
        return torch.ones([1] * x.ndim, dtype=torch.bool, device=x.device)
    return (known > 0).reshape(-1, *[1] * (x.ndim - 1))


def data_variance(
    denoiser: KarrasDenoiser, condition: Tensor | None, known: Tensor | None, x: Tensor
) -> Tensor | float:
    """Return the variance of states about what a denoiser is centred on; 1 for a plain one.

    Args:
        denoiser: The denoiser.
        condition: Encoded backgrounds; `None` if they are hidden.
        known: `(B,)` ages of the backgrounds, 0 where hidden; `None` for 1 everywhere.
        x: The states.
    """
    if condition is None or not isinstance(denoiser, CentredDenoiser):
        return 1.0
    return denoiser.variance(known, x)


def with_backbone(denoiser: KarrasDenoiser, backbone: nn.Module) -> KarrasDenoiser:
    """Return a denoiser like the given one around another network."""
    if isinstance(denoiser, CentredDenoiser):
        return CentredDenoiser(backbone, denoiser.schedule, denoiser.sd)
    return KarrasDenoiser(backbone, denoiser.schedule)
