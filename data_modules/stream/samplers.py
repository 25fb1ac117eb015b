"""Samplers: seeded shuffling by files of the store, and exact shards for evaluation.

Both yield positions in a dataset. Neither uses the process group: rank and world size are
arguments, so that the positions of each rank can be tested in one process.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from slams.errors import UserError
from slams.runtime.seeds import generator

__all__ = ["BlockShuffleSampler", "EpochSampler", "ShardSampler", "StretchSampler"]


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


class EpochSampler(Sampler[int]):
    """Base of samplers whose order differs between epochs and can be taken up in the middle.

    Args:
        seed: The experiment's seed.
        rank: Rank of this process.
        world: Number of processes.
    """

    def __init__(self, seed: int, rank: int = 0, world: int = 1) -> None:
        self._seed, self._rank = seed, rank
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

    def __iter__(self) -> Iterator[int]:
        skip, self._skip = self._skip, 0
        return iter(self.positions(self.epoch)[skip:].tolist())

    @abstractmethod
    def positions(self, epoch: int) -> np.ndarray:
        """Return the positions of this rank in an epoch, in order."""


class BlockShuffleSampler(EpochSampler):
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
        super().__init__(seed, rank, world)
        self._blocks = np.asarray(blocks, dtype=np.int64)
        self._buffer = buffer

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

    def positions(self, epoch: int) -> np.ndarray:
        """Return the positions of this rank in an epoch, in order."""
        return self.order(epoch)[: len(self) * self.world][self._rank :: self.world]

    def __len__(self) -> int:
        return len(self._blocks) // self.world


class StretchSampler(EpochSampler):
    """Sampler of several streams that each follow the order of time, for networks with a memory.

    Batch by batch, stream `s` of a rank reads the next step of a stretch of time, and begins
    another one, drawn at random, when it has ended. Streams begin at different places of their
    first stretches, so that a batch holds memories of every age. All stretches of an epoch
    together cover the period from a random first day on, except for what does not fill the
    streams evenly.

    Args:
        time: `(n,)` first day of each window, increasing.
        step: Days from one window of a stream to its next.
        steps: Windows per stretch; `None` takes the fewest stretches that give one to each stream,
            the same in every epoch (validation).
        streams: Streams per rank, the batch size.
        seed: The experiment's seed.
        rank: Rank of this process.
        world: Number of processes.

    Raises:
        UserError: The period has not a whole stretch for every stream.
    """

    def __init__(
        self,
        time: np.ndarray,
        step: int,
        steps: int | None,
        streams: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(seed, rank, world)
        self._time = np.asarray(time, dtype=np.float64)
        self._step, self._streams, self._same = step, streams, steps is None
        self._steps = steps or self._longest()
        offsets = range(1 if self._same else step * self._steps)
        self._length = min(len(self.stretches(offset)) for offset in offsets)
        if self._length < streams * world:
            raise UserError(
                f"filter.batch_size: found {streams} streams on each of {world} processes, but "
                f"{len(self._time)} days have {self._length} stretches of {step * self._steps} "
                f"days (filter.stretch); expected at least one for each stream"
            )

    def _longest(self) -> int:
        """Return the largest number of steps with which each stream has a stretch."""
        for steps in range(len(self._time) // self._step, 1, -1):
            self._steps = steps
            if len(self.stretches(0)) >= self._streams * self.world:
                return steps
        return 1

    def stretches(self, offset: int) -> np.ndarray:
        """Return the positions of whole stretches, `(m, steps)`, from a day of each piece on."""
        breaks = np.flatnonzero(np.diff(self._time) != 1) + 1
        days = self._step * self._steps
        found = []
        for piece in np.split(np.arange(len(self._time)), breaks):
            for start in range(offset, len(piece) - days + self._step, days):
                found.append(piece[start : start + days : self._step])
        return np.array([one for one in found if len(one) == self._steps], dtype=np.int64).reshape(
            -1, self._steps
        )

    def positions(self, epoch: int) -> np.ndarray:
        """Return the positions of this rank in an epoch: those of a batch one after another."""
        draw = generator(self._seed, "stretches", 0 if self._same else epoch)
        offset = 0
        if not self._same:
            offset = int(torch.randint(self._step * self._steps, (), generator=draw))
        stretches = self.stretches(offset)
        order = torch.randperm(len(stretches), generator=draw).numpy()
        streams = self._streams * self.world
        each = self._length // streams
        # (stream, step of the epoch): the stretches of a stream one after another.
        steps = stretches[order[: each * streams]].reshape(streams, each * self._steps)
        for stream in () if self._same else range(streams):
            # The part of its first stretch that a stream leaves out comes last.
            steps[stream] = np.roll(steps[stream], -(stream * self._steps // streams))
        mine = steps[self._rank * self._streams : (self._rank + 1) * self._streams]
        return mine.T.reshape(-1)

    def __len__(self) -> int:
        return self._length // (self._streams * self.world) * self._steps * self._streams
