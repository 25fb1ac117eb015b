r"""Observations of a Kolmogorov flow: the three experiments of Rozet and Louppe 2023.

- `coarse`: every few states, means over square blocks of cells;
- `sparse`: every few states, points of a regular lattice;
- `saturation`: every few states, the reading of a saturating sensor of the circulation about a
  cell of the block means, `w / (1 + |w|)`, with `w` the vorticity by centred differences in units
  of the coarse grid, within a margin.

Gaussian noise of a constant standard deviation is added to each. The block mean and the lattice
are linear, saturation is not. For a sample of the posterior, `y - A(x)` is distributed as for the
truth, because given `y` both have the same distribution: its standard deviation must be that of
the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["OPERATORS", "FlowOperator", "interpolate"]

OPERATORS = ("coarse", "sparse", "saturation")


@dataclass(frozen=True)
class FlowOperator:
    """Observation operator of velocities `(..., L, 2, N, N)`.

    Attributes:
        kind: One of `OPERATORS`.
        every: Every how many states there is an observation, starting with the first.
        cells: Grid points of a block in each direction, or between points of the lattice.
        margin: Blocks along each side that `saturation` does not observe.
    """

    kind: str
    every: int
    cells: int
    margin: int = 0

    def seen(self, velocity: Tensor) -> Tensor:
        """Return observations `(..., L', C, n, n)`, C = 2 velocities, or 1 for `saturation`."""
        chosen = velocity[..., :: self.every, :, :, :]
        if self.kind == "sparse":
            return chosen[..., :: self.cells, :: self.cells]
        cells = (self.cells, self.cells)
        blocks = chosen.unflatten(-1, (-1, cells[1])).unflatten(-3, (-1, cells[0]))
        means = blocks.mean(dim=(-3, -1))
        if self.kind == "coarse":
            return means
        u, v = means[..., :1, :, :], means[..., 1:, :, :]
        w = (v.roll(-1, -1) - v.roll(1, -1) - u.roll(-1, -2) + u.roll(1, -2)) / 2
        inner = slice(self.margin, w.shape[-1] - self.margin)
        return (w / (1 + w.abs()))[..., inner, inner]

    def __call__(self, velocity: Tensor) -> Tensor:
        """Return the observations of `(B, L, 2, N, N)` as vectors `(B, P)`."""
        return self.seen(velocity).flatten(1)


def interpolate(operator: FlowOperator, seen: Tensor, length: int, size: int) -> Tensor:
    """Interpolate observed velocities, by Fourier series in space and linearly in time.

    Args:
        operator: Operator of kind `coarse` or `sparse`.
        seen: `(L', 2, n, n)` observations, including noise.
        length: Number of states `L`; those after the last observed one are equal to it.
        size: Grid points `N` in each direction.

    Returns:
        `(L, 2, N, N)`.
    """
    few = seen.shape[-1]
    # The mean of a block is assigned to its centre.
    offset = (operator.cells - 1) / 2 if operator.kind == "coarse" else 0.0
    k = torch.fft.fftfreq(few, 1 / few).to(seen)
    points = torch.arange(size).to(seen) - offset
    phase = 2 * torch.pi * points[:, None] * k / size
    # The coefficient of the Nyquist number is that of a cosine.
    waves = torch.where(k.abs() < few / 2, torch.exp(1j * phase), torch.cos(phase) + 0j)
    fields = (waves @ torch.fft.fft2(seen) @ waves.mT).real / few**2
    times = torch.arange(length) / operator.every
    before = times.floor().long().clamp(max=len(seen) - 1)
    after = (before + 1).clamp(max=len(seen) - 1)
    share = (times - before).to(seen)[:, None, None, None].clamp(max=1)
    return (1 - share) * fields[before] + share * fields[after]
