"""Layers on a latitude-longitude grid: circular in longitude, continued across the poles.

Every convolution pads with `slams.nn.sphere.pad_sphere`, so that a network commutes with a
rotation of the globe about its axis (unless a position embedding breaks that on purpose) and
extends across the poles.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from slams.nn.sphere import pad_sphere

__all__ = [
    "FourierEmbedding",
    "ModulatedBlock",
    "PeriodicConv2d",
    "ResidualBlock",
    "SphereConv2d",
    "zero_init",
]


def zero_init(layer: nn.Module) -> nn.Module:
    """Set a layer's weight and bias to zero, so that its branch has no effect at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class SphereConv2d(nn.Conv2d):
    """Convolution of `(B, C, H, W)` fields on the sphere that preserves the grid.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Odd size of the kernel.

    Raises:
        ValueError: The kernel's size is even.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size: found {kernel_size}, expected an odd number")
        super().__init__(in_channels, out_channels, kernel_size)
        self.halo = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C_in, H, W)` to `(B, C_out, H, W)`."""
        return super().forward(pad_sphere(x, self.halo) if self.halo else x)


class PeriodicConv2d(nn.Conv2d):
    """Convolution of `(B, C, H, W)` doubly periodic fields that preserves the grid.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Odd size of the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            padding=kernel_size // 2,
            padding_mode="circular",
        )


class ResidualBlock(nn.Module):
    """Residual block `x + conv(silu(conv(silu(norm(x)))))`, initially the identity.

    Args:
        channels: Number of input and output channels.
        dropout: Probability of dropping an activation between the convolutions.
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = SphereConv2d(channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.second = zero_init(SphereConv2d(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to the same shape."""
        h = self.first(functional.silu(self.norm(x)))
        return x + self.second(self.dropout(functional.silu(h)))


class ModulatedBlock(nn.Module):
    """A residual block scaled and shifted by an embedding (FiLM; Perez et al. 2018).

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        embedding: Size of the modulating vector.
        dropout: Probability of dropping an activation between the convolutions.
        convolution: Class of convolution for the grid of the fields.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding: int,
        dropout: float = 0.0,
        convolution: type[SphereConv2d] | type[PeriodicConv2d] = SphereConv2d,
    ) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(8, in_channels)
        self.first = convolution(in_channels, out_channels)
        self.modulation = zero_init(nn.Linear(embedding, 2 * out_channels))
        self.norm_out = nn.GroupNorm(8, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.second = zero_init(convolution(out_channels, out_channels))
        self.skip = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map `(B, C_in, H, W)` and `(B, E)` to `(B, C_out, H, W)`."""
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        h = self.first(functional.silu(self.norm_in(x)))
        h = self.norm_out(h) * (1 + scale) + shift
        return self.skip(x) + self.second(self.dropout(functional.silu(h)))


class FourierEmbedding(nn.Module):
    """Embedding of a scalar in sines and cosines of geometrically spaced frequencies.

    Args:
        size: Even size of the embedding.
        longest: Longest period.
        shortest: Shortest period.
    """

    frequencies: Tensor

    def __init__(self, size: int, longest: float = 32.0, shortest: float = 0.5) -> None:
        super().__init__()
        periods = longest * (shortest / longest) ** torch.linspace(0, 1, size // 2)
        self.register_buffer("frequencies", 2 * math.pi / periods)

    def forward(self, value: Tensor) -> Tensor:
        """Map `(B,)` to `(B, size)`."""
        phase = value[:, None] * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
