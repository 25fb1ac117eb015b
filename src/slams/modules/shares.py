"""Division of the members of an ensemble over ranks, if there are fewer cases than ranks.

Rank `r` of `R` computes the members from `r M // R` up to `(r + 1) M // R`. The random numbers of
a member are keyed by case and member, and noise is centred over all `M` on every rank, so that the
rank only affects the shape of the batch in which a member is computed.
"""

from __future__ import annotations

import time
from typing import Protocol

import torch
from torch import Tensor
from torch import distributed as dist

from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid

__all__ = ["Share", "SharesMembers"]


class SharesMembers(Protocol):
    """An assimilator that can compute a subset of the members."""

    name: str
    shares_members: bool

    def analyse(self, batch: Batch, members: int, only: range | None = None) -> Ensemble:
        """Return the members `only` of the analysis ensemble of `members`."""
        ...


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

    def analyse(
        self,
        assimilator: SharesMembers,
        batch: Batch,
        members: int,
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
    ) -> Ensemble:
        """Compute the ensemble, each rank its part; must be called on every rank.

        Args:
            assimilator: The method.
            batch: The batch, the same on each rank.
            members: Number of members `M`.
            channels: Channels of the states.
            grid: Grid of the states.

        Returns:
            The ensemble; `diverged` is summed over ranks, `seconds` is that of the slowest rank.
        """
        started = time.perf_counter()
        mine = self.members(members)
        longest = -(-members // self.world)
        fields = batch.fields
        part = torch.zeros(
            len(batch), longest, *fields.shape[1:], dtype=torch.float32, device=fields.device
        )
        diverged = torch.zeros(len(batch), dtype=torch.int64, device=fields.device)
        # A rank without members has no value; all other ranks have the same one.
        centred = torch.zeros((), dtype=torch.int64, device=fields.device)
        if mine:
            ensemble = assimilator.analyse(batch, members, mine)
            part[:, : len(mine)] = ensemble.members.to(part)
            centred += int(ensemble.centred)
            if len(ensemble.diverged):
                diverged += ensemble.diverged.to(fields.device)
        if fields.is_cuda:
            torch.cuda.synchronize(fields.device)
        seconds = torch.tensor([time.perf_counter() - started], device=fields.device)
        parts: list[Tensor] = [torch.empty_like(part) for _ in range(self.world)]
        dist.all_gather(parts, part)
        dist.all_reduce(diverged)
        dist.all_reduce(centred)
        dist.all_reduce(seconds, op=dist.ReduceOp.MAX)
        counts = [len(self.members(members, rank)) for rank in range(self.world)]
        return Ensemble(
            method=assimilator.name,
            members=torch.cat([p[:, :n] for p, n in zip(parts, counts, strict=True)], dim=1),
            time=batch.time,
            channels=channels,
            grid=grid,
            diverged=diverged.cpu(),
            seconds=float(seconds),
            centred=bool(centred > 0),
        )
