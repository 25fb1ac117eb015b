r"""A bootstrap particle filter for trajectories of a Markov chain, `p(x_{1:L} | y)`.

Particles move with the chain and are resampled at each observation, with weights `p(y_i | x_i)`
(Gordon et al. 1993), systematically: one uniform number determines all draws. There are two ways
to obtain trajectories from the particles:

- *lineages*: each last particle with its ancestors, the reference of Rozet and Louppe 2023 (arXiv
  2306.10574). Resampling makes lineages coalesce: fewer and fewer different states remain at
  earlier times, so that few particles represent the early part of the posterior;
- *backward simulation* (Godsill et al. 2004): starting at the last time, the previous state is
  drawn from all filtered particles with weights `p(x_{i+1} | x_i)`, which avoids the coalescence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Filtered", "bootstrap_filter", "systematic"]


def systematic(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Resample systematically.

    Args:
        weights: `(N,)`, not negative, with any sum.
        count: Number of draws.
        generator: Generator of the uniform number.

    Returns:
        `(count,)` indices, ascending; `i` occurs `count w_i` times, rounded down or up.
    """
    total = weights.double().cumsum(dim=0)
    shift = torch.rand((), generator=generator, dtype=torch.float64)
    points = (torch.arange(count, dtype=torch.float64) + shift) / count * total[-1]
    return torch.searchsorted(total, points).clamp(max=len(weights) - 1)


@dataclass(frozen=True)
class Filtered:
    """`N` particles of `D` numbers at `L` times, each drawn given the observations so far.

    Attributes:
        states: `(L, N, D)`.
        ancestors: `(L - 1, N)` index at time `i` of the ancestor of each state at `i + 1`.
        log_evidence: `log p(y)`.
    """

    states: Tensor
    ancestors: Tensor
    log_evidence: float

    def lineages(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw last particles without repetition, with their ancestors, `(count, L, D)`."""
        position = torch.randperm(self.states.shape[1], generator=generator)[:count]
        found = [self.states[-1, position]]
        for time in reversed(range(len(self.ancestors))):
            position = self.ancestors[time, position]
            found.append(self.states[time, position])
        return torch.stack(found[::-1], dim=1)

    def survivors(self) -> Tensor:
        """Count the states at each time from which the last particles descend, `(L,)`."""
        position = torch.arange(self.states.shape[1])
        found = [len(position)]
        for ancestors in self.ancestors.flip(0):
            position = torch.unique(ancestors[position])
            found.append(len(position))
        return torch.tensor(found[::-1])

    def backward(
        self,
        count: int,
        log_transitions: Callable[[Tensor, Tensor], Tensor],
        generator: torch.Generator,
        among: int | None = None,
    ) -> Tensor:
        """Draw trajectories backwards in time, `(count, L, D)`.

        Args:
            count: Number of trajectories.
            log_transitions: Function from states `(B, D)` and `(N, D)` to
                `log p(after_i | before_j)`, `(B, N)`.
            generator: Generator of the draws.
            among: Number of filtered particles, redrawn at each time, from which a state is
                chosen; all of them by default, at a cost of `count N` per step.
        """
        x = self.states[-1, torch.randperm(self.states.shape[1], generator=generator)[:count]]
        found = [x]
        for states in self.states[:-1].flip(0):
            if among is not None:
                states = states[torch.randperm(len(states), generator=generator)[:among]]
            nexts = []
            for part in x.split(256):
                weights = torch.softmax(log_transitions(part, states), dim=1).cumsum(dim=1)
                level = torch.rand(len(part), 1, generator=generator) * weights[:, -1:]
                chosen = torch.searchsorted(weights, level.to(weights)).squeeze(1)
                nexts.append(states[chosen.clamp(max=len(states) - 1)])
            x = torch.cat(nexts)
            found.append(x)
        return torch.stack(found[::-1], dim=1)


def bootstrap_filter(
    x: Tensor,
    y: Tensor,
    every: int,
    step: Callable[[Tensor, torch.Generator], Tensor],
    log_likelihood: Callable[[Tensor, Tensor], Tensor],
    generator: torch.Generator,
) -> Filtered:
    """Filter observations at the first time and every few steps after it.

    Args:
        x: `(N, D)` particles of the prior at the first time.
        y: `(K, P)` observations at the times `0, every, 2 every, ...`, the last of them the end.
        every: Steps between two observations.
        step: Function that draws the next states of `(N, D)`.
        log_likelihood: Function from `(P,)` and `(N, D)` to `log p(y_k | x)`, `(N,)`.
        generator: Generator of the draws.
    """
    count = len(x)
    states, ancestors, evidence = [], [], 0.0
    for k, observed in enumerate(y):
        for _ in range(every if k else 0):
            states.append(x)
            ancestors.append(torch.arange(count))
            x = step(x, generator)
        log_weights = log_likelihood(observed, x).double()
        weights = torch.softmax(log_weights, dim=0)
        evidence += float(torch.logsumexp(log_weights, dim=0)) - math.log(count)
        chosen = systematic(weights, count, generator)
        x = x[chosen]
        if ancestors:
            ancestors[-1] = ancestors[-1][chosen]
    states.append(x)
    none = torch.zeros(0, count, dtype=torch.long)
    chain = torch.stack(ancestors) if ancestors else none
    return Filtered(torch.stack(states), chain, evidence)
