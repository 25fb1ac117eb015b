"""The members of an ensemble, shared by ranks that have fewer cases than there are ranks.

Rank `r` of `R` computes the members from `r M // R` up to `(r + 1) M // R`. A member is keyed by
case and number, and noise is centred over all `M` wherever it is drawn: who computes a member
changes nothing but the shape of the batch it is computed in.
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
    """An assimilator that can compute some of the members alone."""

    name: str
    shares_members: bool

    def analyse(self, batch: Batch, members: int, only: range | None = None) -> Ensemble:
        """Return the members `only` of the analysis ensemble of `members`."""
        ...


class Share:
    """Says which members are this rank's, and puts together those of all ranks.

    Args:
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world

    def members(self, count: int, rank: int | None = None) -> range:
        """Return the members of a rank, this one's by default; there may be none."""
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
        """Compute the whole ensemble on all ranks, each its share; to be called on each.

        Args:
            assimilator: The method.
            batch: The same on each rank.
            members: Number of members `M`.
            channels: Channels of the states.
            grid: Their grid.

        Returns:
            The ensemble; `diverged` is summed over ranks, `seconds` are those of the slowest.
        """
        started = time.perf_counter()
        mine = self.members(members)
        longest = -(-members // self.world)
        fields = batch.fields
        part = torch.zeros(
            len(batch), longest, *fields.shape[1:], dtype=torch.float32, device=fields.device
        )
        diverged = torch.zeros(len(batch), dtype=torch.int64, device=fields.device)
        # A rank without members of its own does not know: of the others, all say the same.
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
