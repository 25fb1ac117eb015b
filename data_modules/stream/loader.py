"""The DataLoader of a stream, which saves its position in checkpoints, and reads ahead.

Without worker processes a thread reads ahead: batches stay in this process, and are not copied
between processes. Reading and decoding are done in C code that releases the GIL.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from data_modules.stream.samplers import BlockShuffleSampler, EpochSampler, ShardSampler
from slams.errors import UserError

if TYPE_CHECKING:  # takes seconds, which every worker would spend
    from lightning.pytorch import LightningDataModule

__all__ = ["StreamLoader", "prefetched", "read_ahead", "stream_loader"]

T = TypeVar("T")

# Marks the end of what a thread reads ahead.
_END: Any = object()

# Time without data from a worker after which an error is raised instead of hanging (s).
_WORKER_TIMEOUT = 300


class StreamLoader(DataLoader):
    """A DataLoader that counts epochs, and can resume in the middle of one.

    Lightning saves `state_dict` in its checkpoints. The epoch is counted here, because a Trainer
    that resumes from the end of an epoch numbers later epochs one too high (lightning 2.6.6,
    `epoch_progress.current.processed`), which would change the order from that of an
    uninterrupted run. A sampler that does not shuffle (evaluation) starts from the beginning.

    Only delivered batches are counted, not those read ahead by workers or a thread.

    A worker's `UserError` is raised unchanged, without the worker's traceback. Workers end when
    the parent process is killed.

    Args:
        arguments: As for `DataLoader`.
        ahead: Batches that a thread reads ahead if there are no workers; 0 for none.
        options: As for `DataLoader`.
    """

    _epoch = 0
    _delivered = 0
    _resumed = 0

    def __init__(self, *arguments: Any, ahead: int = 0, **options: Any) -> None:
        super().__init__(*arguments, worker_init_fn=_end_with_parent, **options)
        self._ahead = ahead

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._delivered, self._resumed = self._resumed, 0
        if isinstance(self.sampler, EpochSampler):
            self.sampler.resume(self._epoch, self._delivered * (self.batch_size or 1))
        with ExitStack() as stack:
            batches = super().__iter__()
            if self._ahead and not self.num_workers:
                batches = stack.enter_context(closing(prefetched(batches, self._ahead)))
            for batch in batches:
                if isinstance(batch, UserError):
                    raise batch
                self._delivered += 1
                # The epoch ends with its last batch: a Trainer does not exhaust the iterator.
                if self._delivered >= len(self):
                    self._epoch, self._delivered = self._epoch + 1, 0
                yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, its delivered batches, the batch size and the number of ranks."""
        return {"epoch": self._epoch, "batches": self._delivered, **self._batch()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Resume after the delivered batches at the next iteration.

        Raises:
            UserError: The epoch was begun with another batch size or number of ranks, so that
                the rest of it is undefined.
        """
        found = {**self._batch(), **{k: v for k, v in state_dict.items() if k in self._batch()}}
        if state_dict["batches"] and found != self._batch():
            raise UserError(
                f"the checkpoint is inside an epoch of {found['ranks']} ranks with batches of "
                f"{found['size']}, found {self._batch()['ranks']} ranks with batches of "
                f"{self._batch()['size']}; continue with trainer.devices, trainer.num_nodes and "
                f"batch_size as they were, or start over with resume=overwrite"
            )
        self._epoch, self._resumed = state_dict["epoch"], state_dict["batches"]

    def _batch(self) -> dict[str, int]:
        return {"size": self.batch_size or 1, "ranks": getattr(self.sampler, "world", 1)}


def prefetched(source: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Read some items ahead in a thread.

    The order is that of the source, and an exception of the source is raised in the place of its
    item. Closing ends the thread; items that were read ahead are dropped.

    Args:
        source: Iterator that from now on only the thread may use.
        depth: Items read ahead, at least 1.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="slams-read-ahead")
    try:
        ahead = deque(pool.submit(next, source, _END) for _ in range(depth))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def stream_loader(
    module: LightningDataModule,
    dataset: Any,
    size: int,
    blocks: np.ndarray | None = None,
    whole: bool = False,
    workers: int = 0,
    ahead: int = 0,
    together: int = 1,
    order: EpochSampler | None = None,
) -> StreamLoader:
    """Return a loader of windows, shared by the ranks.

    Args:
        module: The DataModule, with its Trainer and, to shuffle, its seed.
        dataset: Dataset of `n` windows.
        size: Windows per batch.
        blocks: `(n,)` block of each window, to shuffle block by block, in equally long shards;
            by default each window is read once over all ranks, in the order of time.
        whole: Whether every rank reads all windows.
        workers: Number of processes that read; 0 reads in this one.
        ahead: Batches that a thread, or each worker, reads ahead; 0 for none.
        together: Consecutive windows that one rank reads, where windows are not shuffled.
        order: Sampler to use instead, of whole batches; it has the ranks already.
    """
    trainer = None if whole else module.trainer
    rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
    sampler: EpochSampler | ShardSampler
    sampler = order or ShardSampler(len(dataset), rank, world, together)
    if blocks is not None:
        sampler = BlockShuffleSampler(blocks, module.seed, rank, world)
    return StreamLoader(
        dataset,
        batch_size=size,
        sampler=sampler,
        collate_fn=_unchanged,
        # A short last batch is dropped, unless it is the only one of the epoch.
        drop_last=blocks is not None and len(sampler) >= size,
        pin_memory=torch.cuda.is_available(),
        **read_ahead(workers, ahead),
    )


def read_ahead(workers: int, ahead: int) -> dict[str, Any]:
    """Return the options of a `StreamLoader` that reads batches ahead.

    Args:
        workers: Number of processes that read; 0 reads in this one.
        ahead: Batches that a thread, or each worker, reads ahead; 0 for none.
    """
    if workers == 0:
        return {"num_workers": 0, "ahead": ahead}
    # A forked worker hangs if the parent has used dask, and inherits open files. The server
    # from which workers are forked imports once the modules that all of them need.
    multiprocessing.set_forkserver_preload(["data_modules.stream.windows"])
    return {
        "num_workers": workers,
        "ahead": ahead,
        "multiprocessing_context": "forkserver",
        "persistent_workers": True,
        "timeout": _WORKER_TIMEOUT,
        "prefetch_factor": max(ahead, 1),
    }


def _unchanged(batch: Any) -> Any:
    return batch


def _end_with_parent(worker: int) -> None:
    """End a worker when the process that reads from it ends for any reason.

    torch monitors the process from which a worker was forked. That is a forkserver, which ends
    when a pipe is closed that the workers keep open: each would wait for the other.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent,), daemon=True).start()


def _leave_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
