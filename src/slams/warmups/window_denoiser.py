r"""A small denoiser of windows of a trajectory, preconditioned by their covariance.

Windows `x` of `T` states are vectors of mean `m` and covariance `C = U diag(l) U^T`. Neighbouring
states are so similar that the `l` span five orders of magnitude, and the smallest of them
distinguish a trajectory of the dynamics from other ones. The scalar preconditioning of Karras et
al. 2022 (arXiv 2206.00364), which assumes variance one in all directions, is therefore applied
separately in each principal direction. With `w = U^T (x_t - m)`,

    D(x_t) = m + U (l / (l + sigma^2) w + c_out F(c_in w, log sigma)),
    c_in = 1 / sqrt(l + sigma^2),    c_out = sigma sqrt(l) / sqrt(l + sigma^2).

Without the network `F` this is the exact denoiser of a Gaussian with this covariance; `F` adds the
non-Gaussian part, and its inputs and targets have variance one in every direction and at every
noise level. The loss is the mean square error of the network `F`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule
from slams.modules.fitting import fit
from slams.warmups.recipes import WindowScoreConfig
from slams.warmups.window_network import WindowNetwork

__all__ = ["WindowDenoiser", "train_windows"]

# Fraction of the global part's error in the loss.
_GLOBAL = 0.2
# Directions with less than this fraction of the largest variance contain only rounding errors.
_FLOOR = 1e-10


class WindowDenoiser(Denoiser):
    """Denoiser of windows of standardised states.

    Args:
        windows: `(N, T, D)` windows of the training data, which determine mean and covariance.
        config: Size of the network.
    """

    def __init__(self, windows: Tensor, config: WindowScoreConfig) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-3, sigma_max=1e2)
        flat = windows.double().flatten(1)
        values, vectors = torch.linalg.eigh(torch.cov(flat.T))
        self.register_buffer("mean", flat.mean(dim=0).float())
        self.register_buffer("vectors", vectors.float())
        self.register_buffer("values", values.clamp(min=_FLOOR * float(values[-1])).float())
        self.network = WindowNetwork(
            self.mean, self.vectors, self.values, windows.shape[1], config
        )

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[x | x_t]`, `(B, T, D)`, at times `()` or `(B,)`."""
        _, sigma = self.schedule(t)
        sigma = sigma.to(x_t).reshape(-1, 1)
        w = self._rotate(x_t)
        total = self.values + sigma**2
        c_out = sigma * (self.values / total).sqrt()
        mean = self.values / total * w + c_out * self.network(w, sigma)[1]
        return DiracPosterior(mean=(self.mean + mean @ self.vectors.T).reshape(x_t.shape))

    def loss(self, x: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """Return the mean square error of `F`, which is one for `F = 0` and Gaussian windows.

        If the network has a local part, the loss includes a fraction of the error of the global
        part alone, so that the local part refines an estimate.

        Args:
            x: `(B, T, D)` windows.
            sigma: `(B,)` noise levels.
            noise: `(B, T, D)` standard normal.

        Returns:
            `(B,)`.
        """
        sigma = sigma[:, None]
        clean = self._rotate(x)
        # White noise has the same distribution in any orthogonal basis.
        w = clean + sigma * noise.flatten(1)
        total = self.values + sigma**2
        c_out = sigma * (self.values / total).sqrt()
        target = (clean - self.values / total * w) / c_out
        whole, both = self.network(w, sigma)
        error = (both - target).square().mean(dim=1)
        if whole is both:
            return error
        return (1 - _GLOBAL) * error + _GLOBAL * (whole - target).square().mean(dim=1)

    def _rotate(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # avoids rounding errors
            return (x.flatten(1) - self.mean) @ self.vectors


def train_windows(
    trajectories: Tensor,
    config: WindowScoreConfig,
    generator: torch.Generator,
    say: Callable[[str], None] = lambda line: None,
) -> WindowDenoiser:
    """Train a denoiser of all windows of some trajectories; return the averaged weights.

    Args:
        trajectories: `(N, L, D)` standardised.
        config: Settings of window, network and optimiser.
        generator: CPU generator of windows, noise levels and noise.
        say: Function that is called with each progress line.

    Raises:
        UserError: The loss is not finite.
    """
    size = 2 * config.blanket + 1
    windows = trajectories.unfold(1, size, 1)  # (N, n, D, T), no copy
    count = windows.shape[:2]

    def draw(number: int) -> Tensor:
        i = torch.randint(count[0], (number,), generator=generator)
        j = torch.randint(count[1], (number,), generator=generator)
        return windows[i, j].transpose(1, 2)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        denoiser = WindowDenoiser(draw(1 << 16), config)
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        denoiser.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )

    def loss(_: int) -> Tensor:
        x = draw(config.batch_size)
        log_sigma = torch.randn(len(x), generator=generator) * config.noise_sd
        noise = torch.randn(x.shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16-mixed"):
            return denoiser.loss(x, (log_sigma + config.noise_mean).exp(), noise).mean()

    def rate(step: int) -> float:
        """Return the factor on the learning rate: linear warm-up, then half a cosine to zero."""
        rise = min((step + 1) / (settings.warmup_steps + 1), 1.0)
        return rise * 0.5 * (1 + math.cos(math.pi * min(step / settings.steps, 1.0)))

    return fit(denoiser, optimizer, rate, loss, settings, "score.optimizer", say)
