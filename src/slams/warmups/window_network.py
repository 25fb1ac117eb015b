r"""The network of a denoiser of windows: all states at once, then each with its neighbours.

A window `x` of `T` states of `D` numbers is represented in the principal directions of its
covariance, `w = U^T (x_t - m)`, with variances `l`. The network has two parts:

- the *global* part is a residual network of the whole vector `w / sqrt(l + sigma^2)`. At high
  noise the information in a window is in a few directions that all its states share;
- the *local* part is convolutional in time, the same for every state, and refines the result of
  the first part. At low noise a state is determined by its neighbours through the dynamics. The
  inputs for each state are the estimate of the first part (on which the dynamics depend), the
  remaining noise given this estimate, and the whitened input.

Both return `F` in units of `c_out`, see `slams.warmups.window_denoiser`; the result is their sum.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from slams.nn.layers import zero_init
from slams.warmups.recipes import WindowScoreConfig

__all__ = ["WindowNetwork"]

_EMBEDDING = 32
# Dilations (in states) of the kernels of the local part, by block.
_DILATIONS = (1, 2, 4)


class _Block(nn.Module):
    """Residual block of two layers for `(B, W)` features, modulated by the noise level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(_EMBEDDING, 2 * width)
        self.inner = nn.Linear(width, width)
        self.outer = zero_init(nn.Linear(width, width))

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulate(level).chunk(2, dim=-1)
        h_in = torch.addcmul(shift, self.norm(h), 1 + scale)
        return h + self.outer(nn.functional.silu(self.inner(h_in)))


class _LocalBlock(nn.Module):
    """Residual block of two convolutions in time for `(B, W, T)`, modulated by the noise level."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.modulate = nn.Linear(_EMBEDDING, 2 * width)
        self.inner = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.outer = zero_init(nn.Conv1d(width, width, 1))

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulate(level)[..., None].chunk(2, dim=1)
        size = h.square().mean(dim=1, keepdim=True)
        h_in = torch.addcmul(shift, h * torch.rsqrt(size + 1e-6), 1 + scale)
        return h + self.outer(nn.functional.silu(self.inner(h_in)))


class WindowNetwork(nn.Module):
    """Network that computes `F` of a window.

    Args:
        mean: `(T D,)` mean m.
        vectors: `(T D, T D)` principal directions U.
        values: `(T D,)` variances l.
        states: Number of states `T`.
        config: Widths and numbers of residual blocks of both parts.
    """

    def __init__(
        self,
        mean: Tensor,
        vectors: Tensor,
        values: Tensor,
        states: int,
        config: WindowScoreConfig,
    ) -> None:
        super().__init__()
        size, width, local_width = len(values), config.width, config.local_width
        for name, value in [("mean", mean), ("vectors", vectors), ("values", values)]:
            self.register_buffer(name, value, persistent=False)
        self.states = states
        self.read = nn.Linear(size, width)
        self.level = nn.Sequential(nn.Linear(_EMBEDDING, _EMBEDDING), nn.SiLU())
        self.blocks = nn.ModuleList([_Block(width) for _ in range(config.blocks)])
        self.write = zero_init(nn.Linear(width, size))
        self.local = local_width > 0
        if self.local:
            numbers = size // states
            self.local_read = nn.Conv1d(4 * numbers, local_width, 5, padding=2)
            dilations = itertools.islice(itertools.cycle(_DILATIONS), config.local_blocks)
            self.local_blocks = nn.ModuleList(_LocalBlock(local_width, n) for n in dilations)
            self.local_write = zero_init(nn.Conv1d(local_width, numbers, 1))

    def forward(self, w: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return `F` of the global part alone and of both parts.

        Args:
            w: `(B, T D)` noisy windows in the principal directions.
            sigma: `(B, 1)` or `(1, 1)` noise levels.

        Returns:
            `(B, T D)` twice; the same tensor if there is no local part.
        """
        octaves = torch.arange(_EMBEDDING // 2, device=w.device) / 4
        phase = sigma.log() * 2**octaves / 4
        level = self.level(torch.cat([phase.sin(), phase.cos()], dim=1))
        total = self.values + sigma**2
        scaled = w * total.rsqrt()
        h = self.read(scaled)
        for block in self.blocks:
            h = block(h, level)
        whole = self.write(h).float()
        if not self.local:
            return whole, whole
        share = (self.values / total).sqrt()
        noise = sigma * total.rsqrt() * scaled - share * whole
        estimate = w - sigma * noise
        # As functions of time: the estimate, the remaining noise, input and F of the global part.
        stacked = torch.stack([estimate, noise, scaled, whole])
        with torch.autocast(w.device.type, enabled=False):
            features = stacked @ self.vectors.T
            features[0] += self.mean
        features = features.unflatten(-1, (self.states, -1)).movedim(0, -1).flatten(2)
        h = self.local_read(features.transpose(1, 2))
        for block in self.local_blocks:
            h = block(h, level)
        added = self.local_write(h).float().transpose(1, 2).flatten(1)
        with torch.autocast(w.device.type, enabled=False):
            return whole, whole + added @ self.vectors
