"""Samplers: seeded shuffling by files of the store, and exact shards for evaluation.

Both yield positions in a dataset. Neither uses the process group: rank and world size are
arguments, so that the positions of each rank can be tested in one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from slams.runtime.seeds import generator

__all__ = ["BlockShuffleSampler", "ShardSampler"]


class ShardSampler(Sampler[int]):
    """Sampler of every `world`-th block of positions, unpadded: each position exactly once.

    A shard may be shorter than another by one block, or empty.

    Args:
        length: Number of positions.
        rank: Rank of this process.
        world: Number of processes.
        block: Consecutive positions that stay together.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1, block: int = 1) -> None:
        starts = range(rank * block, length, world * block)
        self._positions = [p for s in starts for p in range(s, min(s + block, length))]

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)


class BlockShuffleSampler(Sampler[int]):
    """Sampler that shuffles positions so that those of a batch are in few files of the store.

    Blocks (files) are in random order, and the positions of `buffer` consecutive blocks are mixed.
    The order depends only on seed and epoch. Every rank has the same number of positions: up to
    `world - 1` positions, different ones in each epoch, are left out.

    Args:
        blocks: `(n,)` number of the file from which each position reads.
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
        """Select the order of an epoch, from its beginning."""
        self.resume(epoch, 0)

    def resume(self, epoch: int, consumed: int) -> None:
        """Select the order of an epoch, without the positions that were consumed already.

        Args:
            epoch: The epoch.
            consumed: Number of its positions that this rank has consumed; they are skipped once.
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
