"""Division of the members of an ensemble, and of domains, over ranks with fewer cases than ranks.

Rank `r` of `R` computes the members from `r M // R` up to `(r + 1) M // R`. The random numbers of
a member are keyed by case and member, and noise is centred over all `M` on every rank, so that the
rank only affects the shape of the batch in which a member is computed.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from slams.assimilators.case_by_case import CaseByCase
from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.linalg.partners import ALONE

__all__ = ["Ranks", "Share", "gather", "gather_on_root"]


def gather(value: Any) -> list[Any]:
    """Gather an object from every rank on every rank."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def gather_on_root(value: Any) -> list[Any] | None:
    """Gather an object from every rank on rank zero; return `None` elsewhere."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    root = dist.get_rank() == 0
    values: list[Any] | None = [None] * dist.get_world_size() if root else None
    dist.gather_object(value, values, dst=0)
    return values


class Ranks:
    """Ranks that solve the domains of one case together, see `slams.linalg.partners.Partners`.

    Args:
        share: This rank.
        members: Number of members, divided over the ranks.
    """

    def __init__(self, share: Share, members: int) -> None:
        self.rank = share.rank
        self.world = share.world
        self._members = members
        own = share.members(members)
        self._own = slice(own.start, own.stop)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks."""
        values = values.contiguous()
        dist.all_reduce(values)
        return values

    def rows(self, values: Tensor) -> tuple[Tensor, slice]:
        """Return the rows of all members, and which are those of this rank."""
        every = values.new_zeros(self._members, *values.shape[1:])
        every[self._own] = values
        return self.total(every), self._own


class Share:
    """The members of this rank, and their assembly with those of all ranks.

    Args:
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world

    def members(self, count: int, rank: int | None = None) -> range:
        """Return the members of a rank, by default this one; the range may be empty."""
        rank = self.rank if rank is None else rank
        return range(rank * count // self.world, (rank + 1) * count // self.world)

    def solve_together(self, assimilator: CaseByCase, members: int) -> None:
        """Let the ranks solve the domains of a case together, if each has members.

        Args:
            assimilator: The method.
            members: Number of members.
        """
        if self.world > 1 and getattr(assimilator, "shares_domains", False):
            together = members >= self.world
            assimilator.share_domains(Ranks(self, members) if together else ALONE)

    def analyse(
        self,
        assimilator: CaseByCase,
        batch: Batch,
        members: int,
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
    ) -> Ensemble:
        """Compute the ensemble, each rank its part; must be called on every rank.

        Args:
            assimilator: The method, which `shares_members`.
            batch: The batch, the same on each rank.
            members: Number of members `M`.
            channels: Channels of the states.
            grid: Grid of the states.

        Returns:
            The ensemble; `diverged` is summed over ranks, `seconds` is that of the slowest rank.
        """
        started = time.perf_counter()
        mine, part = self.members(members), None
        self.solve_together(assimilator, members)
        if mine:
            found = assimilator.analyse(batch, members, mine)
            part = replace(found, members=found.members.to(torch.float32)).to("cpu")
            part = replace(part, seconds=time.perf_counter() - started)
        # A rank without members has no part; all other ranks agree on `centred`.
        parts: list[Ensemble] = [one for one in gather(part) if one is not None]
        diverged = torch.zeros(len(batch), dtype=torch.int64)
        for one in parts:
            diverged += one.diverged if len(one.diverged) else 0
        return Ensemble(
            method=assimilator.name,
            members=torch.cat([one.members for one in parts], dim=1).to(batch.fields.device),
            time=batch.time,
            channels=channels,
            grid=grid,
            diverged=diverged,
            seconds=max(one.seconds for one in parts),
            centred=parts[0].centred,
        )
