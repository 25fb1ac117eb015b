"""Samplers: seeded shuffling that respects the store's files, and exact shards for evaluation.

Both give positions in a dataset. Neither looks at the process group: rank and world size are
arguments, so that what a rank sees can be tested in one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from slams.runtime.seeds import generator

__all__ = ["BlockShuffleSampler", "ShardSampler"]


class ShardSampler(Sampler[int]):
    """Gives every `world`-th position from `rank` on, unpadded: each position exactly once.

    A shard may be shorter than another by one, or empty.

    Args:
        length: Number of positions.
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self._positions = range(rank, length, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)


class BlockShuffleSampler(Sampler[int]):
    """Shuffles positions so that neighbours in a batch come from few files of the store.

    Blocks (files) are drawn in random order, `buffer` of them are mixed at a time. The order
    depends on seed and epoch alone. Every rank gets the same number of positions: up to
    `world - 1` of them, others in each epoch, are left out.

    Args:
        blocks: `(n,)` number of the file that each position reads from.
        seed: The experiment's seed.
        rank: Rank of this process.
        world: Number of processes.
        buffer: Blocks mixed at a time.
    """

    def __init__(
        self,
        blocks: Sequence[int] | np.ndarray,
        seed: int,
        rank: int = 0,
        world: int = 1,
        buffer: int = 8,
    ) -> None:
        self._blocks = np.asarray(blocks, dtype=np.int64)
        self._seed, self._rank, self._buffer = seed, rank, buffer
        self.world = world
        self.epoch = 0
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, from its beginning."""
        self.resume(epoch, 0)

    def resume(self, epoch: int, consumed: int) -> None:
        """Choose the order of an epoch, without what was consumed of it already.

        Args:
            epoch: The epoch.
            consumed: Positions that this rank has consumed of it; left out once.
        """
        self.epoch, self._skip = epoch, consumed

    def order(self, epoch: int) -> np.ndarray:
        """Return all positions in the order of an epoch, over all ranks."""
        draw = generator(self._seed, "shuffle", epoch)
        names, inverse = np.unique(self._blocks, return_inverse=True)
        members = [np.flatnonzero(inverse == i) for i in range(len(names))]
        sequence = torch.randperm(len(names), generator=draw).tolist()
        parts = []
        for start in range(0, len(sequence), self._buffer):
            mixed = np.concatenate([members[i] for i in sequence[start : start + self._buffer]])
            parts.append(mixed[torch.randperm(len(mixed), generator=draw).numpy()])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def __iter__(self) -> Iterator[int]:
        order = self.order(self.epoch)[: len(self) * self.world]
        skip, self._skip = self._skip, 0
        return iter(order[self._rank :: self.world][skip:].tolist())

    def __len__(self) -> int:
        return len(self._blocks) // self.world
