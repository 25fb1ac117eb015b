r"""A bootstrap particle filter that gives trajectories: `p(x_{1:L} | y)` of a Markov chain.

Particles move with the chain and are resampled wherever there is an observation, with weights
`p(y_i | x_i)` (Gordon et al. 1993), systematically: one uniform number places all of them. Two
ways lead from the particles to trajectories:

- *lineages*: each last particle with its ancestors, which is what Rozet and Louppe 2023 (arXiv
  2306.10574) compare with. Resampling makes lineages coalesce: going back, ever fewer different
  states are left, so that the early part of the posterior is seen through few particles;
- *backward simulation* (Godsill et al. 2004): from the last time on, the state before is drawn
  among all filtered particles with weights `p(x_{i+1} | x_i)`, which undoes the coalescence.
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
        weights: `(N,)`, not negative, of any sum.
        count: Number of draws.
        generator: Gives one uniform number.

    Returns:
        `(count,)` positions, rising; `i` comes up `count w_i` times, rounded down or up.
    """
    total = weights.double().cumsum(dim=0)
    shift = torch.rand((), generator=generator, dtype=torch.float64)
    points = (torch.arange(count, dtype=torch.float64) + shift) / count * total[-1]
    return torch.searchsorted(total, points).clamp(max=len(weights) - 1)


@dataclass(frozen=True)
class Filtered:
    """Holds `N` particles of `D` numbers at `L` times, each drawn given the observations so far.

    Attributes:
        states: `(L, N, D)`.
        ancestors: `(L - 1, N)` position at time `i` of the ancestor of each state at `i + 1`.
        sizes: `(K,)` effective number of particles `1 / sum w^2` at each observation.
        log_evidence: `log p(y)`.
    """

    states: Tensor
    ancestors: Tensor
    sizes: Tensor
    log_evidence: float

    def lineages(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw last particles, without repetition, and their ancestors, `(count, L, D)`."""
        position = torch.randperm(self.states.shape[1], generator=generator)[:count]
        found = [self.states[-1, position]]
        for states, ancestors in zip(
            self.states[:-1].flip(0), self.ancestors.flip(0), strict=True
        ):
            position = ancestors[position]
            found.append(states[position])
        return torch.stack(found[::-1], dim=1)

    def survivors(self) -> Tensor:
        """Count the states at each time that the last particles descend from, `(L,)`."""
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
            log_transitions: Gives `log p(after_i | before_j)`, `(B, N)`, of states `(B, D)` and
                `(N, D)`.
            generator: Of the draws.
            among: Filtered particles, drawn anew at each time, that a state is chosen from; all
                of them by default, at a cost of `count N` a step.
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
        step: Draws the next states of `(N, D)`.
        log_likelihood: Gives `log p(y_k | x)`, `(N,)`, of `(P,)` and `(N, D)`.
        generator: Of the draws.
    """
    count = len(x)
    states, ancestors, sizes, evidence = [], [], [], 0.0
    for k, observed in enumerate(y):
        for _ in range(every if k else 0):
            states.append(x)
            ancestors.append(torch.arange(count))
            x = step(x, generator)
        log_weights = log_likelihood(observed, x)
        weights = torch.softmax(log_weights.double(), dim=0)
        evidence += float(torch.logsumexp(log_weights.double(), dim=0)) - math.log(count)
        sizes.append(1 / weights.square().sum())
        chosen = systematic(weights, count, generator)
        x = x[chosen]
        if ancestors:
            ancestors[-1] = ancestors[-1][chosen]
    states.append(x)
    empty = torch.zeros(0, count, dtype=torch.long)
    return Filtered(
        states=torch.stack(states),
        ancestors=torch.stack(ancestors) if ancestors else empty,
        sizes=torch.stack(sizes),
        log_evidence=evidence,
    )
