"""The backbone of the latent denoiser: a U-Net over latent windows.

The days of a window are stacked as channels. The inputs of the network are the noisy latents, the
encoded background (or zeros and a flag where it is hidden), the noise level and the day of year.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from slams.errors import UserError
from slams.nn.blocks import BlockGrid
from slams.nn.layers import (
    FourierEmbedding,
    ModulatedBlock,
    PeriodicConv2d,
    SphereConv2d,
    zero_init,
)

__all__ = ["LatentUNet", "UNet"]


def check_resolutions(shape: Sequence[int], count: int) -> None:
    """Refuse a latent grid `(h, w)` that is too small to be halved for `count` resolutions.

    Raises:
        UserError: The grid has fewer rows or columns than one point of the coarsest grid covers.
    """
    least = 2 ** (count - 1)
    if min(shape) < least:
        raise UserError(
            f"score.channels: {count} resolutions need a latent grid of at least {least} x "
            f"{least} points; found {shape[0]} x {shape[1]}"
        )


class UNet(nn.Module):
    """U-Net of fields whose blocks are modulated by the noise level and other numbers.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        channels: Number of channels at each resolution (each half the previous resolution).
        blocks: Modulated blocks per resolution, in each of the two branches.
        embedding: Size of the modulation vector.
        conditions: How many numbers modulate the blocks besides the noise level.
        dropout: Dropout inside the blocks.
        shape: `(h, w)` of the grid for a position embedding; `None` for no embedding.
        convolution: Class of convolution for the grid of the fields.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        channels: Sequence[int],
        blocks: int,
        embedding: int,
        conditions: int = 0,
        dropout: float = 0.0,
        shape: tuple[int, int] | None = None,
        convolution: type[SphereConv2d] | type[PeriodicConv2d] = SphereConv2d,
    ) -> None:
        super().__init__()
        self.divisor = 2 ** (len(channels) - 1)
        self.noise_embedding = FourierEmbedding(embedding)
        self.embedding = nn.Sequential(
            nn.Linear(embedding + conditions, embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
        )
        self.entry = convolution(inputs, channels[0])
        self.position = None
        if shape is not None:
            self.position = nn.Parameter(torch.zeros(1, channels[0], *shape))

        def stage(entering: int, width: int) -> nn.ModuleList:
            return nn.ModuleList(
                ModulatedBlock(width if b else entering, width, embedding, dropout, convolution)
                for b in range(blocks)
            )

        pairs = list(itertools.pairwise(channels))
        self.down = nn.ModuleList([stage(channels[0], channels[0])])
        self.down.extend(stage(above, below) for above, below in pairs)
        self.up = nn.ModuleList(stage(above + below, above) for above, below in reversed(pairs))
        self.norm = nn.GroupNorm(8, channels[0])
        self.exit = zero_init(convolution(channels[0], outputs))

    def evaluate(self, fields: Tensor, modulation: Tensor) -> Tensor:
        """Map `(B, inputs, h, w)` to `(B, outputs, h, w)`.

        Args:
            fields: The inputs.
            modulation: `(B, embedding + conditions)`, the embedded noise level first.
        """
        e = functional.silu(self.embedding(modulation))
        h = self.entry(fields)
        if self.position is not None:
            h = h + self.position
        # Grids that cannot be halved often enough are continued on the sphere; fields that are
        # periodic otherwise have grids that can.
        blocks = BlockGrid(tuple(h.shape[-2:]), self.divisor)
        h = blocks.pad(h)
        skips = []
        for level, stage in enumerate(self.down):
            if level:
                skips.append(h)
                h = functional.avg_pool2d(h, 2)
            for block in stage:
                h = block(h, e)
        for stage in self.up:
            h = functional.interpolate(h, scale_factor=2, mode="nearest")
            h = torch.cat([h, skips.pop()], dim=1)
            for block in stage:
                h = block(h, e)
        return self.exit(functional.silu(self.norm(blocks.trim(h))))


class LatentUNet(UNet):
    """U-Net that predicts the preconditioned clean latents of a window.

    Args:
        latent_channels: Channels `K` of the latents.
        window: Days `T` of the window.
        shape: `(h, w)` of the latent grid.
        channels: Number of channels at each resolution (each half the previous resolution).
        blocks: Modulated blocks per resolution, in each of the two branches.
        embedding: Size of the modulation vector.
        dropout: Dropout inside the blocks.

    Raises:
        UserError: The latent grid is too small to be halved as often as there are resolutions.
    """

    def __init__(
        self,
        latent_channels: int,
        window: int,
        shape: tuple[int, int],
        channels: Sequence[int] = (64, 96),
        blocks: int = 2,
        embedding: int = 128,
        dropout: float = 0.0,
    ) -> None:
        check_resolutions(shape, len(channels))
        stacked = latent_channels * window
        super().__init__(2 * stacked + 1, stacked, channels, blocks, embedding, 4, dropout, shape)

    def forward(
        self,
        z: Tensor,
        log_sigma: Tensor,
        condition: Tensor | None = None,
        known: Tensor | None = None,
        season: Tensor | None = None,
    ) -> Tensor:
        """Evaluate the network.

        Args:
            z: `(B, T, K, h, w)` noisy latents, scaled to unit variance.
            log_sigma: `(B,)` or `()` log of the noise level.
            condition: `(B, T, K, h, w)` encoded background; `None` hides it.
            known: `(B,)` age of the condition, 1 for the usual age and 0 where it is hidden (or
                bool); `None` for the usual age everywhere.
            season: `(B,)` time of year in [0, 1).

        Returns:
            `(B, T, K, h, w)`.
        """
        size = z.shape[0]
        flag = z.new_zeros(size, 1, 1, 1)
        if condition is None:
            condition = torch.zeros_like(z)
        else:
            flag = flag + 1.0 if known is None else known.to(z.dtype).reshape(-1, 1, 1, 1)
            condition = torch.where(flag[:, None] > 0, condition.to(z.dtype), 0.0)
        phase = 2 * math.pi * (z.new_zeros(size) if season is None else season.to(z.dtype))
        annual = torch.stack(
            [phase.sin(), phase.cos(), (2 * phase).sin(), (2 * phase).cos()], dim=-1
        )
        noise = self.noise_embedding(log_sigma.to(z.dtype).expand(size))
        plane = flag.expand(-1, 1, *z.shape[-2:])
        fields = torch.cat([z.flatten(1, 2), condition.flatten(1, 2), plane], dim=1)
        return self.evaluate(fields, torch.cat([noise, annual], dim=-1)).reshape(z.shape)
