"""The LightningDataModule of latent windows, read from the latent store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningDataModule

from data_modules.store.latents import LatentStore
from data_modules.stream.loader import StreamLoader, stream_loader

__all__ = ["LatentDataModule"]


class LatentDataModule(LightningDataModule):
    """DataModule of latent windows for training the score model.

    Args:
        path: Directory of the latent store.
        batch_size: Windows per batch.
        seed: The experiment's seed, for the order of the training windows.
        window: Days `T` of the windows, see `LatentStore`.
        ages: Further training windows, see `LatentStore`.
        longitude_shifts: Further training windows, see `LatentStore`.
        ahead: Batches that a thread reads ahead.
        step: Length of a step (days).
    """

    def __init__(
        self,
        path: Path,
        batch_size: int,
        seed: int,
        window: int = 0,
        ages: Mapping[int, float] | None = None,
        longitude_shifts: Sequence[int] = (),
        ahead: int = 0,
        step: float = 1.0,
    ) -> None:
        super().__init__()
        self.path = path
        self.batch_size = batch_size
        self.seed = seed
        self.ahead = ahead
        self.train = LatentStore(path, "train", window, ages, longitude_shifts, step)
        self.validation = LatentStore(path, "validation", window, step=step)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return `(T, K, h, w)` of a window."""
        return (self.train.window, *self.train.latents.shape[2:])

    def train_dataloader(self) -> StreamLoader:
        """Return a loader of shuffled training windows, with equally long shards on all ranks."""
        # Latents are in memory: one block, shuffled as a whole.
        blocks = np.zeros(len(self.train))
        return stream_loader(self, self.train, self.batch_size, blocks, ahead=self.ahead)

    def val_dataloader(self) -> StreamLoader:
        """Return a loader of validation windows: each exactly once over all ranks."""
        return stream_loader(self, self.validation, self.batch_size, ahead=self.ahead)
