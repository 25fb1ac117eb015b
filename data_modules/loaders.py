"""The DataLoader of a stream: it knows how far it has come, and says so in checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from data_modules.samplers import BlockShuffleSampler
from slams.errors import UserError

__all__ = ["StreamLoader"]


class StreamLoader(DataLoader):
    """A DataLoader that counts its own epochs, and goes on in the middle of one.

    Lightning keeps `state_dict` in its checkpoints. The epoch is counted here, because a Trainer
    that resumes from the end of an epoch numbers the epochs after it one too high (lightning
    2.6.6, `epoch_progress.current.processed`), which would give another order than that of an
    uninterrupted run. A sampler that does not shuffle (evaluation) starts from the beginning.

    A worker's `UserError` is raised as it was, without the worker's traceback.
    """

    _epoch = 0
    _delivered = 0
    _resumed = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._delivered, self._resumed = self._resumed, 0
        if isinstance(self.sampler, BlockShuffleSampler):
            self.sampler.resume(self._epoch, self._delivered * (self.batch_size or 1))
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            self._delivered += 1
            # With the last batch the epoch is over: a Trainer does not come back for the end.
            if self._delivered >= len(self):
                self._epoch, self._delivered = self._epoch + 1, 0
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Gives the epoch, and the batches delivered of it."""
        return {"epoch": self._epoch, "batches": self._delivered}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on after the batches that were delivered, when it is iterated next."""
        self._epoch, self._resumed = state_dict["epoch"], state_dict["batches"]
