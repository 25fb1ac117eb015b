"""Selection of the observations that a domain uses.

A domain uses the observations that can have an effect on it: those within reach of its farthest
point. If there are more than a limit, the nearest of each kind are taken in turn, so that many
observations of one kind do not displace the few of another. Silent observations
(`slams.linalg.censoring`) are at most the fraction `_SILENT` of them, because each member needs a
solution of its own for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.grid import great_circle, unit_vectors
from slams.linalg.domains import Domains

__all__ = ["Chosen", "ObservedPoints", "select"]

# Largest share of silent observations among those that a domain selects.
_SILENT = 1 / 10

# Bytes of the distances that are computed at a time.
_TEMPORARY = 2**25

# Indices of observations `(D, p)`, and False where they are only padding.
Chosen = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ObservedPoints:
    """The `P` observations of a case, as far as a gain has to know them.

    Attributes:
        latitude: `(P,)` float64 degrees north.
        longitude: `(P,)` float64 degrees east.
        kind: `(P,)` int64, equal for observations of one kind.
        silent: `(P,)` bool, True where a censored observation is at its bound.
    """

    latitude: Tensor
    longitude: Tensor
    kind: Tensor
    silent: Tensor

    def __len__(self) -> int:
        return len(self.latitude)


def select(
    domains: Domains, observed: ObservedPoints, reach_km: float, limit: float
) -> tuple[Chosen, Chosen]:
    """Choose the observations of each domain.

    Args:
        domains: The domains.
        observed: The observations.
        reach_km: Distance from a point at which an observation has no effect on it.
        limit: Largest number of observations of a domain.

    Returns:
        Those that are not silent and those that are.
    """
    silent = observed.silent
    there = unit_vectors(observed.latitude, observed.longitude)
    if not len(domains.per_band):  # one domain of everything
        parts = (torch.nonzero(~silent).T, torch.nonzero(silent).T)
        return tuple((part, torch.ones_like(part, dtype=torch.bool)) for part in parts)
    limit = int(limit)
    kinds = 2 * observed.kind + silent
    several = kinds.unique()
    quiet = max(int(_SILENT * limit) // max(int((several % 2).sum()), 1), 1)
    if limit == len(observed):  # nothing is left out
        quiet = limit
    ranks, found = [], []
    for kind in several:
        members = torch.nonzero(kinds == kind).flatten()
        most = min(quiet if int(kind) % 2 else limit, len(members))
        near, at = [], []
        rows = max(_TEMPORARY // (8 * len(members)), 1)
        for centres in domains.centres.split(rows):
            away = great_circle(centres, there[members])
            nearest = away.topk(most, dim=1, largest=False)
            near.append(nearest.values)
            at.append(members[nearest.indices])
        away = torch.cat(near)
        reach = reach_km + domains.radius[:, None]
        # The first of each kind, then the second; the nearer one first.
        rank = torch.arange(most, device=away.device) + away / 1e6
        ranks.append(torch.where(away < reach, rank, math.inf))
        found.append(torch.cat(at))
    rank, index = torch.cat(ranks, dim=1), torch.cat(found, dim=1)
    first = rank.topk(min(limit, rank.shape[1]), dim=1, largest=False)
    index, used = index.gather(1, first.indices), first.values.isfinite()
    return _packed(index, used & ~silent[index]), _packed(index, used & silent[index])


def _packed(index: Tensor, keep: Tensor) -> Chosen:
    """Move the kept entries of each row to its front, and drop columns without any."""
    order = torch.argsort((~keep).to(torch.int8), dim=1, stable=True)
    most = int(keep.sum(dim=1).max()) if keep.numel() else 0
    order = order[:, :most]
    return index.gather(1, order), keep.gather(1, order)
