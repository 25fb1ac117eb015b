"""The DataLoader of a stream, which saves its position in checkpoints."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

from torch.utils.data import DataLoader

from data_modules.stream.prefetch import prefetched
from data_modules.stream.samplers import BlockShuffleSampler
from slams.errors import UserError

__all__ = ["StreamLoader", "read_ahead"]

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
        if isinstance(self.sampler, BlockShuffleSampler):
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
