"""The per-case results of an evaluation, which allow ranks to be merged and dates resampled."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from slams.errors import UserError
from slams.metrics.observation_space import Key, ObservedSums
from slams.metrics.statistics import CaseStatistics

__all__ = ["MethodRecord", "Records"]


@dataclass(frozen=True)
class MethodRecord:
    """Per-case results of one method, on the CPU.

    Attributes:
        case: `(N,)` int64.
        time: `(N,)` float64, first day of each window, days since 1970-01-01 00 UTC.
        members: Number of ensemble members `M`.
        statistics: `(N, C, ...)` float64 of each statistic, see `CaseStatistics.shapes`.
        seconds: `(N,)` float64, wall-clock time of the analysis (s), divided over its batch.
        diverged: `(N,)` int64, members that diverged and were drawn again.
        observed: One mapping per case, from (observation, use) to its sums.
        centred: Whether the ensembles of all cases are centred on the analysis; False for a cycle
            whose members are independent from the second day on.
    """

    case: Tensor
    time: Tensor
    members: int
    statistics: dict[str, Tensor]
    seconds: Tensor
    diverged: Tensor
    observed: tuple[dict[Key, ObservedSums], ...] = field(default=())
    centred: bool = False

    @property
    def estimator(self) -> str:
        """Return the kind of formulas for the scores of these ensembles, `free` or `centred`."""
        return "centred" if self.centred else "free"

    @classmethod
    def empty(cls, channels: int, members: int) -> MethodRecord:
        """Return the record of a rank without cases."""
        statistics = {
            name: torch.zeros(0, channels, *shape, dtype=torch.float64)
            for name, shape in CaseStatistics.shapes(members).items()
        }
        return cls(
            case=torch.zeros(0, dtype=torch.int64),
            time=torch.zeros(0, dtype=torch.float64),
            members=members,
            statistics=statistics,
            seconds=torch.zeros(0, dtype=torch.float64),
            diverged=torch.zeros(0, dtype=torch.int64),
        )

    @classmethod
    def of_batch(
        cls,
        statistics: CaseStatistics,
        time: Tensor,
        seconds: float,
        diverged: Tensor,
        observed: Sequence[dict[Key, ObservedSums]],
    ) -> MethodRecord:
        """Return the record of a batch.

        Args:
            statistics: The statistics of its `B` cases.
            time: `(B,)` first day of each window.
            seconds: Wall-clock time of the whole batch (s).
            diverged: `(B,)` members drawn again, or empty if the method does not count them.
            observed: One mapping per case.
        """
        count = len(statistics.case)
        if not len(diverged):
            diverged = torch.zeros(count, dtype=torch.int64)
        return cls(
            case=statistics.case.cpu(),
            time=time.cpu().to(torch.float64),
            members=statistics.members,
            statistics={
                name: getattr(statistics, name).cpu()
                for name in CaseStatistics.shapes(statistics.members)
            },
            seconds=torch.full((count,), seconds / max(count, 1), dtype=torch.float64),
            diverged=diverged.cpu(),
            observed=tuple(observed),
            centred=statistics.centred,
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the record as tensors in plain containers, for a file."""
        observed = [{key: vars(sums) for key, sums in case.items()} for case in self.observed]
        return {**vars(self), "observed": observed}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> MethodRecord:
        """Return the record from the result of `to_plain`."""
        observed = tuple(
            {key: ObservedSums(**sums) for key, sums in case.items()} for case in plain["observed"]
        )
        return cls(**{**plain, "observed": observed})

    @classmethod
    def merge(cls, records: Sequence[MethodRecord]) -> MethodRecord:
        """Merge records of batches or ranks, in the order of cases.

        Raises:
            UserError: A case occurs twice, for example because a sampler pads its shards.
        """
        case = torch.cat([r.case for r in records])
        order = case.argsort(stable=True)
        twice = case[order][1:][case[order].diff() == 0].tolist()
        if twice:
            raise UserError(
                f"case {twice[0]} was evaluated twice ({len(twice)} repeated cases in all); the "
                "evaluation needs a sampler that pads no shard and repeats no case"
            )
        observed = [sums for record in records for sums in record.observed]
        return cls(
            case=case[order],
            time=torch.cat([r.time for r in records])[order],
            members=records[0].members,
            statistics={
                name: torch.cat([r.statistics[name] for r in records])[order]
                for name in records[0].statistics
            },
            seconds=torch.cat([r.seconds for r in records])[order],
            diverged=torch.cat([r.diverged for r in records])[order],
            observed=tuple(observed[i] for i in order.tolist()),
            centred=all(r.centred for r in records if len(r.case)) and len(case) > 0,
        )


class Records:
    """Records of batches, by method or by method and day."""

    def __init__(self) -> None:
        self._parts: dict[Any, list[MethodRecord]] = {}

    def add(self, key: Hashable, record: MethodRecord) -> None:
        """Add the record of a batch."""
        self._parts.setdefault(key, []).append(record)

    def merged(self) -> dict[Any, MethodRecord]:
        """Return one record per key.

        Raises:
            UserError: A case occurs twice.
        """
        return {key: MethodRecord.merge(parts) for key, parts in self._parts.items()}

    def to_plain(self) -> dict[Any, list[dict[str, Any]]]:
        """Return the records as tensors in plain containers, for a file."""
        return {key: [r.to_plain() for r in parts] for key, parts in self._parts.items()}

    def restore(self, plain: dict[Any, list[dict[str, Any]]]) -> None:
        """Restore the records from the result of `to_plain`."""
        self._parts = {
            key: [MethodRecord.from_plain(one) for one in parts] for key, parts in plain.items()
        }

    @classmethod
    def merge(cls, ranks: Sequence[Records]) -> Records:
        """Merge the records of several ranks."""
        together = cls()
        for rank in ranks:
            for key, parts in rank._parts.items():
                together._parts.setdefault(key, []).extend(parts)
        return together
