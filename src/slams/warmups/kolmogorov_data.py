r"""Trajectories of the Kolmogorov flow for training and testing, and their symmetries.

A trajectory starts from random phases; its initial part, which depends on them, is discarded. The
rest is stored as velocities at every `interval` of time. The input of the network is *anomalies*
`x` of unit variance,

    velocity = m(y) + s x,

with the mean profile `m`, `(2, N)`, over time, x and trajectories, and one standard deviation `s`.

The flow commutes with shifts along x, shifts by a wavelength `2 pi / n` of the forcing along y,
the mirror `(x, y) -> (-x, y + pi / n)`, `(u, v) -> (-u, v)`, which shifts the forcing by half a
wavelength, and the half-turn `(x, y) -> (-x, -y)`, `(u, v) -> (-u, -v)`. Each training window is
transformed by one of these, drawn at random every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.runtime.seeds import generator
from slams.warmups.kolmogorov_flow import KolmogorovFlow, truncate
from slams.warmups.recipes import FlowConfig

__all__ = ["Climatology", "climatology", "half_turn", "mirror", "simulate", "transformed"]

# Largest speed assumed for the time step; that of the flow at Re = 1000 is below five.
_SPEED = 5.0
_BATCH = 16


def simulate(settings: FlowConfig, trajectories: int, length: int, seed: int, name: str) -> Tensor:
    """Integrate trajectories of the flow, each from different random phases.

    Args:
        settings: The flow, the grids, the interval between states and the states discarded first.
        trajectories: Number of trajectories `B`.
        length: Number of states `L` stored per trajectory.
        seed: The experiment's seed.
        name: Purpose of the trajectories; each has its own stream of random numbers.

    Returns:
        Velocities `(B, L, 2, n, n)`, float32, axes y and x.
    """
    forcing = (settings.reynolds, settings.forcing, settings.wave_number, settings.drag)
    flow, size = KolmogorovFlow(settings.integration, *forcing), settings.grid
    steps = flow.steps_needed(settings.interval, _SPEED)
    result = torch.empty(trajectories, length, 2, size, size)
    for start in range(0, trajectories, _BATCH):
        chosen = range(start, min(start + _BATCH, trajectories))
        draws = (generator(seed, "kolmogorov", name, index) for index in chosen)
        w = torch.cat([flow.random_phases(1, 0.5, 4.0, draw) for draw in draws])
        for state in range(settings.spin_up + length):
            w = flow.advance(w, settings.interval, steps)
            if state >= settings.spin_up:
                kept = truncate(flow.velocity(w), size)
                result[chosen.start : chosen.stop, state - settings.spin_up] = kept
    return result


@dataclass(frozen=True)
class Climatology:
    """Mean and standard deviation of the velocity.

    Attributes:
        mean: `(2, N, 1)` mean profile over y.
        sd: `()` standard deviation about it, the same everywhere.
    """

    mean: Tensor
    sd: Tensor

    def anomalies(self, velocity: Tensor) -> Tensor:
        """Convert velocities `(..., 2, N, N)` to anomalies of unit variance."""
        return (velocity - self.mean) / self.sd

    def velocity(self, anomalies: Tensor) -> Tensor:
        """Convert anomalies `(..., 2, N, N)` to velocities."""
        return self.mean + self.sd * anomalies


def climatology(velocity: Tensor, wave_number: int) -> Climatology:
    """Estimate the climatology of trajectories `(B, L, 2, N, N)`, the same for all forcing waves.

    Because of the half-turn and the mirror the mean profile consists only of `u(y)`, odd about the
    zeros of the forcing: `v` and the even part of `u` are sampling noise, and are set to zero.
    """
    profile = velocity.mean(dim=(0, 1, 4))
    waves = profile[0].reshape(wave_number, -1).mean(dim=0)
    # Index 0 is a zero of the forcing, so that -y has the index -j.
    odd = (waves - waves.flip(0).roll(1)) / 2
    half = odd.shape[0] // 2
    odd = (odd - odd.roll(half)) / 2
    mean = torch.stack([odd.repeat(wave_number), torch.zeros_like(profile[1])])[..., None]
    return Climatology(mean, (velocity - mean).square().mean().sqrt())


def half_turn(fields: Tensor) -> Tensor:
    """Rotate velocities `(..., 2, N, N)` by 180 degrees about the origin."""
    return -fields.flip(-2, -1).roll((1, 1), dims=(-2, -1))


def mirror(fields: Tensor, wave_number: int) -> Tensor:
    """Mirror velocities `(..., 2, N, N)` in x, and shift them by half a forcing wavelength."""
    shift = fields.shape[-2] // (2 * wave_number)
    sign = fields.new_tensor([-1.0, 1.0])[:, None, None]
    return sign * fields.flip(-1).roll((shift, 1), dims=(-2, -1))


def transformed(windows: Tensor, wave_number: int, draw: torch.Generator) -> Tensor:
    """Apply a random symmetry of the flow to each window `(B, T, 2, N, N)`."""
    size = windows.shape[-1]
    chosen = [
        torch.randint(high, (len(windows),), generator=draw).tolist()
        for high in (2, 2, size, wave_number)
    ]
    result = []
    for window, turn, reflect, along, waves in zip(windows, *chosen, strict=True):
        moved = half_turn(window) if turn else window
        moved = mirror(moved, wave_number) if reflect else moved
        shift = waves * size // wave_number
        result.append(moved.roll((shift, along), dims=(-2, -1)))
    return torch.stack(result)
