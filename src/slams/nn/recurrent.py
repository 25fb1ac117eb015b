"""A recurrent network that carries the state of a filter from day to day.

The network is given its own forecast `x_f` of a day and what that day's observations say about it,
and returns an estimate of the day and a forecast of the next one (all normalised anomalies; `h` is
a hidden state without a meaning of its own):

    x_a(t)     = x_f(t) + A(x_f, h, observations)
    x_f(t + 1) = a x_a(t) + F(x_f, h, observations)
    h(t + 1)   = tanh H(x_f, h, observations)

with one damping factor `a` per channel, below one at first. `A` and `F` start at zero, so that an
untrained network forgets its state and returns to the climatology. Estimates are limited to
`LIMIT` standard deviations: early in training errors could otherwise grow from day to day.

The convolutions act on blocks of grid points, so that they cost a fraction of those on the grid;
the values of a block become channels, and nothing is averaged.

Learning the analysis step of a filter from its own cycle: McCabe and Brown 2021 (arXiv
2111.01058), "Learning to assimilate in chaotic dynamical systems"; Bocquet et al. 2024
(arXiv 2408.04739).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from slams.nn.blocks import BlockGrid
from slams.nn.unet import UNet

__all__ = ["LIMIT", "Memory", "RecurrentFilter"]

# Largest anomaly of an estimate, in standard deviations of the climatology.
LIMIT = 8.0


@dataclass(frozen=True)
class Memory:
    """What a filter carries from one day to the next, for `B` cycles.

    Attributes:
        forecast: `(B, C, H, W)` normalised, the forecast of the coming day.
        hidden: `(B, K, h, w)` hidden state.
        age: `(B,)` days since the cycle started.
    """

    forecast: Tensor
    hidden: Tensor
    age: Tensor

    def where(self, kept: Tensor) -> Memory:
        """Return the memory with the cycles that are not `kept`, `(B,)` bool, started afresh."""
        wide = kept[:, None, None, None]
        return Memory(
            torch.where(wide, self.forecast, 0.0),
            torch.where(wide, self.hidden, 0.0),
            torch.where(kept, self.age, 0.0),
        )

    def first(self, count: int) -> Memory:
        """Return the memory of the first cycles."""
        return Memory(self.forecast[:count], self.hidden[:count], self.age[:count])

    def to(self, device: torch.device | str) -> Memory:
        """Return the memory on a device."""
        return Memory(self.forecast.to(device), self.hidden.to(device), self.age.to(device))

    def detach(self) -> Memory:
        """Return the memory without its graph."""
        return Memory(self.forecast.detach(), self.hidden.detach(), self.age.detach())


class RecurrentFilter(nn.Module):
    """Network of one day of a filter.

    Args:
        channels: Channels `C` of the state.
        observed: Number of channels that observations inform directly, `O`.
        shape: `(H, W)` of the grid.
        hidden: Channels `K` of the hidden state.
        widths: Number of channels at each resolution (each half the previous resolution).
        blocks: Modulated blocks per resolution, in each of the two branches.
        embedding: Size of the modulation vector.
        factor: Size of a block of grid points in each direction.
        dropout: Dropout inside the blocks.
        pole_rows: Whether the outermost rows lie on the poles.
    """

    def __init__(
        self,
        channels: int,
        observed: int,
        shape: tuple[int, int],
        hidden: int = 64,
        widths: Sequence[int] = (96, 192, 256),
        blocks: int = 2,
        embedding: int = 64,
        factor: int = 2,
        dropout: float = 0.0,
        pole_rows: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.grid = BlockGrid(shape, factor, pole_rows)
        self.state_size = channels * factor**2
        inputs = self.state_size + hidden + 2 * observed * factor**2
        self.network = UNet(
            inputs,
            2 * self.state_size + hidden,
            widths,
            blocks,
            embedding,
            conditions=4,
            dropout=dropout,
            shape=self.grid.block_shape,
        )
        self.damping = nn.Parameter(torch.full((channels, 1, 1), 0.85))

    def start(self, count: int, forecast: Tensor | None = None) -> Memory:
        """Return the memory of `count` cycles that start from the climatology.

        Args:
            count: Number of cycles `B`.
            forecast: `(B, C, H, W)` normalised states to start from instead.
        """
        like = self.damping
        if forecast is None:
            forecast = like.new_zeros(count, self.channels, *self.grid.shape)
        hidden = like.new_zeros(count, self.hidden, *self.grid.block_shape)
        return Memory(forecast, hidden, like.new_zeros(count))

    def forward(
        self, memory: Memory, innovation: Tensor, precision: Tensor, season: Tensor
    ) -> tuple[Tensor, Memory]:
        """Update by the observations of a day, and forecast the next day.

        Args:
            memory: The memory that the day before has left.
            innovation: `(B, O, H, W)` observed minus forecast on the grid, see
                `slams.observations.gridded`; 0 where nothing is observed.
            precision: `(B, O, H, W)` how much the observations say there, 0 for nothing.
            season: `(B,)` time of year in [0, 1).

        Returns:
            The analysis `(B, C, H, W)`, normalised, and the memory for the next day.
        """
        phase = 2 * math.pi * season.to(memory.age)
        annual = torch.stack(
            [phase.sin(), phase.cos(), (2 * phase).sin(), (2 * phase).cos()], dim=-1
        )
        # The U-Net's blocks know how far a cycle is, as those of a denoiser know its noise level.
        age = self.network.noise_embedding(torch.log1p(memory.age))
        factor = self.grid.block
        fields = torch.cat([memory.forecast, innovation, precision], dim=1)
        blocks = functional.pixel_unshuffle(self.grid.pad(fields), factor)
        inputs = torch.cat([blocks, memory.hidden], dim=1)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        outputs = self.network.evaluate(inputs, torch.cat([age, annual], dim=-1))
        outputs = outputs.to(memory.forecast)
        update, change, hidden = outputs.split([self.state_size] * 2 + [self.hidden], dim=1)
        analysis = (memory.forecast + self._fields(update)).clamp(-LIMIT, LIMIT)
        forecast = (self.damping * analysis + self._fields(change)).clamp(-LIMIT, LIMIT)
        return analysis, Memory(forecast, hidden.tanh(), memory.age + 1)

    def _fields(self, blocks: Tensor) -> Tensor:
        return self.grid.trim(functional.pixel_shuffle(blocks, self.grid.block))
