r"""Trajectories of the Kolmogorov flow for training and testing, and their symmetries.

A trajectory starts from random phases; what it does before it has forgotten them is left out.
What is kept are velocities every `interval` of time. The network sees *anomalies* `x` of unit
variance,

    velocity = m(y) + s x,

with the mean profile `m`, `(2, N)`, over time, x and trajectories, and one standard deviation `s`.

The flow commutes with shifts along x, shifts by a wave length `2 pi / n` of the forcing along y,
the mirror `(x, y) -> (-x, y + pi / n)`, `(u, v) -> (-u, v)`, which shifts the forcing by half a
wave, and the half-turn `(x, y) -> (-x, -y)`, `(u, v) -> (-u, -v)`. A window of the training is
shown under one of these, drawn anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.runtime.seeds import generator
from slams.warmups.kolmogorov_flow import KolmogorovFlow, truncate

__all__ = ["Climatology", "climatology", "half_turn", "mirror", "simulate", "transformed"]

# Largest speed that the time step reckons with; of the flow at Re = 1000 it is below five.
_SPEED = 5.0
_BATCH = 16


def simulate(
    flow: KolmogorovFlow,
    trajectories: int,
    length: int,
    spin_up: int,
    interval: float,
    size: int,
    seed: int,
    name: str,
) -> Tensor:
    """Integrate trajectories of the flow, each from its own random phases.

    Args:
        flow: The flow, on the grid of the integration.
        trajectories: Their number `B`.
        length: States `L` that are kept of each.
        spin_up: States that are left out before.
        interval: Time from one state to the next.
        size: Grid points `n` each way of what is kept.
        seed: The experiment's seed.
        name: What they are for, another stream of random numbers each.

    Returns:
        Velocities `(B, L, 2, n, n)`, float32, axes y and x.
    """
    steps = flow.steps_needed(interval, _SPEED)
    result = torch.empty(trajectories, length, 2, size, size)
    for start in range(0, trajectories, _BATCH):
        chosen = range(start, min(start + _BATCH, trajectories))
        w = torch.cat(
            [
                flow.random_phases(1, 0.5, 4.0, generator(seed, "kolmogorov", name, index))
                for index in chosen
            ]
        )
        for state in range(spin_up + length):
            w = flow.advance(w, interval, steps)
            if state >= spin_up:
                kept = truncate(flow.velocity(w), size)
                result[chosen.start : chosen.stop, state - spin_up] = kept
    return result


@dataclass(frozen=True)
class Climatology:
    """Holds mean and standard deviation of the velocity.

    Attributes:
        mean: `(2, N, 1)` mean profile over y.
        sd: `()` one standard deviation about it.
    """

    mean: Tensor
    sd: Tensor

    def anomalies(self, velocity: Tensor) -> Tensor:
        """Take velocities `(..., 2, N, N)` to unit variance."""
        return (velocity - self.mean) / self.sd

    def velocity(self, anomalies: Tensor) -> Tensor:
        """Take anomalies `(..., 2, N, N)` back."""
        return self.mean + self.sd * anomalies


def climatology(velocity: Tensor, wave_number: int) -> Climatology:
    """Measure the climatology of trajectories `(B, L, 2, N, N)`, every wave of the forcing alike.

    The half-turn and the mirror leave of a mean profile only `u(y)`, odd about the zeros of the
    forcing: `v` and the even part of `u` are sampling noise, and set to zero.
    """
    profile = velocity.mean(dim=(0, 1, 4))
    waves = profile[0].reshape(wave_number, -1).mean(dim=0)
    # Index 0 is a zero of the forcing: -y is the index -j.
    odd = (waves - waves.flip(0).roll(1)) / 2
    half = odd.shape[0] // 2
    odd = (odd - odd.roll(half)) / 2
    mean = torch.stack([odd.repeat(wave_number), torch.zeros_like(profile[1])])[..., None]
    return Climatology(mean, (velocity - mean).square().mean().sqrt())


def half_turn(fields: Tensor) -> Tensor:
    """Turn velocities `(..., 2, N, N)` by 180 degrees about the origin."""
    return -fields.flip(-2, -1).roll((1, 1), dims=(-2, -1))


def mirror(fields: Tensor, wave_number: int) -> Tensor:
    """Mirror velocities `(..., 2, N, N)` in x, and shift them by half a wave of the forcing."""
    shift = fields.shape[-2] // (2 * wave_number)
    sign = fields.new_tensor([-1.0, 1.0])[:, None, None]
    return sign * fields.flip(-1).roll((shift, 1), dims=(-2, -1))


def transformed(windows: Tensor, wave_number: int, draw: torch.Generator) -> Tensor:
    """Apply to each window `(B, T, 2, N, N)` a symmetry of the flow drawn at random."""
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
