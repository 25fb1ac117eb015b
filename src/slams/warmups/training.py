r"""A simple training loop for the small denoisers of the warm-ups.

It uses AdamW with linear warm-up and cosine decay to zero, and returns the exponential moving
average of the weights, with the decay `min(d, (1 + n) / (10 + n))` after step `n`. Each step has
its own generator of random numbers.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from slams.config.schema import OptimizerConfig
from slams.diffusion.backend import KarrasDenoiser
from slams.diffusion.training import denoising_loss, draw_noise
from slams.errors import UserError
from slams.runtime.seeds import generator

__all__ = ["fit_denoiser"]

# Steps between two progress lines.
_LINE = 50


def fit_denoiser(
    denoiser: KarrasDenoiser,
    batch: Callable[[torch.Generator], Tensor],
    config: OptimizerConfig,
    noise_mean: float,
    noise_sd: float,
    seed: int,
    say: Callable[[str], None] = print,
    error: Callable[[Tensor], Tensor] | None = None,
) -> KarrasDenoiser:
    """Train a denoiser and return a copy with averaged weights, ready for sampling.

    Args:
        denoiser: The denoiser; its weights are trained in place.
        batch: Function that draws `(B, ...)` clean states of unit variance.
        config: Settings of the optimiser.
        noise_mean: Mean of log sigma.
        noise_sd: Standard deviation of log sigma.
        seed: The experiment's seed.
        say: Function that is called with each progress line.
        error: Function from noise levels `(B,)` to the standard deviations `(B,)` of the error,
            which are the units of the loss; by default `sigma / sqrt(1 + sigma^2)`.

    Returns:
        The averaged denoiser, whose weights require no gradients.

    Raises:
        UserError: The loss is not finite.
    """
    optimizer = torch.optim.AdamW(
        denoiser.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: _rate(n, config))
    average = copy.deepcopy(denoiser).requires_grad_(False)
    begun, losses = time.perf_counter(), []
    denoiser.train()
    for step in range(config.steps):
        draw = generator(seed, "training", step)
        x = batch(draw)
        noise = draw_noise(x, noise_mean, noise_sd, 0.0, draw)
        loss = denoising_loss(denoiser, x, noise)
        if error is not None:
            square = noise.sigma**2
            loss = loss * square / (1 + square) / error(noise.sigma).square()
        loss = loss.mean()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"training: the loss of step {step} is {losses[-1]}; lower "
                "training.learning_rate or raise training.warmup_steps"
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        decay = min(config.ema, (2 + step) / (11 + step))
        for kept, new in zip(average.parameters(), denoiser.parameters(), strict=True):
            kept.lerp_(new.detach(), 1 - decay)
        if (step + 1) % _LINE == 0 or step + 1 == config.steps:
            seconds = time.perf_counter() - begun
            mean = sum(losses[-_LINE:]) / len(losses[-_LINE:])
            left = seconds / (step + 1) * (config.steps - step - 1)
            say(f"step {step + 1}/{config.steps}  loss {mean:.4f}  {left:.0f} s left")
    return average.eval()


def _rate(step: int, config: OptimizerConfig) -> float:
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return (1 + math.cos(math.pi * done)) / 2
