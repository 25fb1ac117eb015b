r"""The Lorenz (1963) system with noise, as a Markov chain whose densities are known.

    dx/dt = s (y - x),    dy/dt = x (r - z) - y,    dz/dt = x y - b z,    s, r, b = 10, 28, 8/3.

A step of `dt = 0.025` is one step `M` of the fourth-order Runge-Kutta scheme plus noise of
variance `dt` in each component (Rozet and Louppe 2023, arXiv 2306.10574):

    x_{i+1} = M(x_i) + sqrt(dt) n,    log p(x_{2:L} | x_1) = sum_i log N(x_{i+1} | M(x_i), dt I).

Networks and observations use standardised states, with mean `(0, 0, 25)` and standard deviation
`(8, 9, 8.6)`, those of a long run. States are `(..., 3)`, without units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Lorenz63", "destandardise", "standardise"]

_MEAN, _SD = (0.0, 0.0, 25.0), (8.0, 9.0, 8.6)


def standardise(x: Tensor) -> Tensor:
    """Standardise states `(..., 3)` by the mean and standard deviation of a long run."""
    return (x - x.new_tensor(_MEAN)) / x.new_tensor(_SD)


def destandardise(x: Tensor) -> Tensor:
    """Invert `standardise`."""
    return x * x.new_tensor(_SD) + x.new_tensor(_MEAN)


@dataclass(frozen=True)
class Lorenz63:
    """The Lorenz (1963) system with noise.

    Attributes:
        dt: Time between two states, and variance of the noise per step.
        prandtl: `s`.
        rayleigh: `r`.
        aspect: `b`.
    """

    dt: float = 0.025
    prandtl: float = 10.0
    rayleigh: float = 28.0
    aspect: float = 8 / 3

    def tendency(self, x: Tensor) -> Tensor:
        """Return `dx/dt` of states `(..., 3)`."""
        x, y, z = x.unbind(dim=-1)
        return torch.stack(
            [
                self.prandtl * (y - x),
                x * (self.rayleigh - z) - y,
                x * y - self.aspect * z,
            ],
            dim=-1,
        )

    def flow(self, x: Tensor) -> Tensor:
        """Return `M(x)`, one Runge-Kutta step of states `(..., 3)` without noise."""
        k1 = self.tendency(x)
        k2 = self.tendency(x + self.dt / 2 * k1)
        k3 = self.tendency(x + self.dt / 2 * k2)
        k4 = self.tendency(x + self.dt * k3)
        return x + self.dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    def step(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the next states of `(..., 3)`."""
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return self.flow(x) + self.dt**0.5 * noise

    def initial(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw states `(count, 3)` near the attractor, from a Gaussian of similar covariance."""
        factor = torch.linalg.cholesky(
            torch.tensor([[64.0, 50.0, 0.0], [50.0, 81.0, 0.0], [0.0, 0.0, 75.0]])
        )
        noise = torch.randn(count, 3, generator=generator)
        return noise @ factor.T + noise.new_tensor(_MEAN)

    def spun_up(self, count: int, steps: int, generator: torch.Generator) -> Tensor:
        """Draw states `(count, 3)` on the attractor, a number of steps after `initial`."""
        x = self.initial(count, generator)
        for _ in range(steps):
            x = self.step(x, generator)
        return x

    def trajectories(self, x: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """Draw trajectories `(N, length, 3)` that begin with the states `(N, 3)`."""
        states = [x]
        for _ in range(length - 1):
            states.append(self.step(states[-1], generator))
        return torch.stack(states, dim=1)

    def log_transition(self, after: Tensor, before: Tensor) -> Tensor:
        """Return `log p(after | before)` of states `(..., 3)`, `(...)`."""
        error = (after - self.flow(before)).square().sum(dim=-1)
        return -error / (2 * self.dt) - 1.5 * math.log(2 * math.pi * self.dt)

    def log_transitions(self, after: Tensor, before: Tensor) -> Tensor:
        """Return `log p(after_i | before_j)` of all pairs of `(B, 3)` and `(N, 3)`, `(B, N)`."""
        moved = self.flow(before)
        centre = moved.mean(dim=0)  # keeps the cancelling terms of the expanded square small
        a, b = after - centre, moved - centre
        error = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T
        return -error / (2 * self.dt) - 1.5 * math.log(2 * math.pi * self.dt)

    def log_dynamics(self, x: Tensor) -> Tensor:
        """Return `log p(x_{2:L} | x_1)` of trajectories `(N, L, 3)`, `(N,)`."""
        return self.log_transition(x[:, 1:], x[:, :-1]).sum(dim=1)
