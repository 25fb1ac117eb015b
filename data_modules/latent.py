"""The LightningDataModule of latent windows, read from the latent store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import Sampler

from data_modules.store.latents import LatentStore
from data_modules.stream.loader import StreamLoader
from data_modules.stream.samplers import BlockShuffleSampler, ShardSampler

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
    ) -> None:
        super().__init__()
        self.path = path
        self.batch_size = batch_size
        self.seed = seed
        self.ahead = ahead
        self.train = LatentStore(path, "train", window, ages, longitude_shifts)
        self.validation = LatentStore(path, "validation", window)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return `(T, K, h, w)` of a window."""
        return (self.train.window, *self.train.latents.shape[2:])

    def train_dataloader(self) -> StreamLoader:
        """Return a loader of shuffled training windows, with equally long shards on all ranks."""
        world, rank = self._ranks()
        # Latents are in memory: one block, shuffled as a whole.
        sampler = BlockShuffleSampler(np.zeros(len(self.train)), self.seed, rank, world)
        # A short last batch is dropped, unless it is the only one of the epoch.
        return self._loader(self.train, sampler, drop_last=len(sampler) >= self.batch_size)

    def val_dataloader(self) -> StreamLoader:
        """Return a loader of validation windows: each exactly once over all ranks."""
        world, rank = self._ranks()
        sampler = ShardSampler(len(self.validation), rank, world)
        return self._loader(self.validation, sampler, drop_last=False)

    def _loader(
        self, dataset: LatentStore, sampler: Sampler[int], drop_last: bool
    ) -> StreamLoader:
        return StreamLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            collate_fn=lambda batch: batch,
            pin_memory=torch.cuda.is_available(),
            ahead=self.ahead,
        )

    def _ranks(self) -> tuple[int, int]:
        trainer = self.trainer
        return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
