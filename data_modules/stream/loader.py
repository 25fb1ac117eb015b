"""The DataLoader of a stream: it knows how far it has come, and says so in checkpoints."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from data_modules.stream.prefetch import ReadAhead
from data_modules.stream.samplers import BlockShuffleSampler
from slams.errors import UserError

__all__ = ["StreamLoader", "read_ahead"]

# Seconds after which a silent worker is an error, and not a job that hangs till its time is up.
_WORKER_TIMEOUT = 300


class StreamLoader(DataLoader):
    """A DataLoader that counts its own epochs, and goes on in the middle of one.

    Lightning keeps `state_dict` in its checkpoints. The epoch is counted here, because a Trainer
    that resumes from the end of an epoch numbers the epochs after it one too high (lightning
    2.6.6, `epoch_progress.current.processed`), which would give another order than that of an
    uninterrupted run. A sampler that does not shuffle (evaluation) starts from the beginning.

    What counts is what was delivered, not what workers or a thread have read ahead.

    A worker's `UserError` is raised as it was, without the worker's traceback. Workers end with a
    process that is killed.

    Args:
        arguments: As of `DataLoader`.
        ahead: Batches that a thread reads ahead where there are no workers; 0 for none.
        options: As of `DataLoader`.
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
        batches = super().__iter__()
        if not self._ahead or self.num_workers:
            yield from self._deliver(batches)
            return
        ahead = ReadAhead(batches, self._ahead)
        try:
            yield from self._deliver(ahead)
        finally:
            ahead.close()

    def _deliver(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            if isinstance(batch, UserError):
                raise batch
            self._delivered += 1
            # With the last batch the epoch is over: a Trainer does not come back for the end.
            if self._delivered >= len(self):
                self._epoch, self._delivered = self._epoch + 1, 0
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, the batches delivered of it, and what a batch is."""
        return {"epoch": self._epoch, "batches": self._delivered, **self._batch()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the batches that were delivered, when it is iterated next.

        Raises:
            UserError: The epoch was begun with batches of another size, or by another number of
                ranks: what is left of it cannot be told.
        """
        found = {**self._batch(), **{k: v for k, v in state_dict.items() if k in self._batch()}}
        if state_dict["batches"] and found != self._batch():
            raise UserError(
                f"the checkpoint lies inside an epoch of {found['ranks']} ranks with batches of "
                f"{found['size']}, found {self._batch()['ranks']} ranks with batches of "
                f"{self._batch()['size']}; continue with trainer.devices, trainer.num_nodes and "
                f"batch_size as they were, or start over with resume=overwrite"
            )
        self._epoch, self._resumed = state_dict["epoch"], state_dict["batches"]

    def _batch(self) -> dict[str, int]:
        return {"size": self.batch_size or 1, "ranks": getattr(self.sampler, "world", 1)}


def read_ahead(workers: int, ahead: int) -> dict[str, Any]:
    """Return the options of a `StreamLoader` that reads batches of windows ahead.

    Args:
        workers: Processes that read; 0 reads in this one.
        ahead: Batches that a thread, or each worker, reads ahead; 0 for none.
    """
    if workers == 0:
        return {"num_workers": 0, "ahead": ahead}
    # A forked worker hangs once the parent has used dask, and inherits open files. The server
    # that workers are forked from imports once what each of them needs.
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
    """Have a worker end when the process that reads from it does, however that ends.

    torch's own watch is over the process that a worker was forked from. That is a forkserver,
    which is told of the end by a pipe that workers keep open: each would wait for the other.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_after, args=(parent,), daemon=True).start()


def _leave_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
