r"""Training of the small denoisers of the warm-ups.

It uses AdamW with linear warm-up and cosine decay to zero (`slams.modules.fitting`). Each step has
its own generator of random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from slams.diffusion.backend import KarrasDenoiser
from slams.diffusion.training import denoising_loss, draw_noise
from slams.modules.fitting import fit
from slams.runtime.seeds import generator
from slams.warmups.recipes import FlowScoreConfig

__all__ = ["fit_denoiser"]


def fit_denoiser(
    denoiser: KarrasDenoiser,
    batch: Callable[[torch.Generator], Tensor],
    settings: FlowScoreConfig,
    seed: int,
    say: Callable[[str], None],
    error: Callable[[Tensor], Tensor],
) -> KarrasDenoiser:
    """Train a denoiser and return a copy with averaged weights, ready for sampling.

    Args:
        denoiser: The denoiser; its weights are trained in place.
        batch: Function that draws `(B, ...)` clean states of unit variance.
        settings: Training noise and optimiser.
        seed: The experiment's seed.
        say: Function that is called with each progress line.
        error: Function from noise levels `(B,)` to the standard deviations `(B,)` of the error,
            which are the units of the loss.

    Returns:
        The averaged denoiser, whose weights require no gradients.

    Raises:
        UserError: The loss is not finite.
    """
    config = settings.optimizer
    optimizer = torch.optim.AdamW(
        denoiser.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )

    def loss(step: int) -> Tensor:
        draw = generator(seed, "training", step)
        x = batch(draw)
        noise = draw_noise(x, settings.noise_mean, settings.noise_sd, 0.0, draw)
        square = noise.sigma**2
        each = denoising_loss(denoiser, x, noise) * square / (1 + square)
        return (each / error(noise.sigma).square()).mean()

    def rate(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        return (1 + math.cos(math.pi * done)) / 2

    return fit(denoiser, optimizer, rate, loss, config, "score.optimizer", say)
