"""The LightningDataModule of the pixel score model, which streams windows of fields."""

from __future__ import annotations

import time
from functools import cached_property

import numpy as np
import torch

from data_modules.multimodal import MultimodalDataModule, cases_with_background
from data_modules.reanalysis import read_batches
from data_modules.store.periods import Period
from slams.config.schema import BackgroundConfig, DataConfig, ObservationsConfig
from slams.errors import UserError
from slams.fields import Batch, Window
from slams.nn.latent_space import IdentitySpace, LatentBatch
from slams.normalisation import DAYS_PER_YEAR

__all__ = ["PixelDataModule"]


class PixelDataModule(MultimodalDataModule):
    """DataModule of windows of fields with backgrounds, standardised per channel (`LatentBatch`).

    The windows are those of a latent store of the same recipe.

    Args:
        data: The recipe's section `data`.
        background: The recipe's section `background`.
        seed: The experiment's seed, for the order of the training windows.
        batch_size: Windows per batch; by default `data.batch_size`.

    Raises:
        UserError: As for `MultimodalDataModule`, or a value is missing.
    """

    def __init__(
        self,
        data: DataConfig,
        background: BackgroundConfig,
        seed: int,
        *,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(data, ObservationsConfig(use=[]), background, seed, batch_size=batch_size)

    @property
    def window_shape(self) -> tuple[int, int, int, int]:
        """Return `(T, C, H, W)` of a window."""
        return (self.data.window, len(self.channels), *self.grid.shape)

    @cached_property
    def space(self) -> IdentitySpace:
        """Return the standardisation of the fields, computed once over the training period."""
        count, total, square = 0, torch.zeros(1), torch.zeros(1)
        for batch in read_batches(self, "train"):
            fields = batch.fields.to(torch.float64)
            count += fields.numel() // fields.shape[2]
            total = total + fields.sum(dim=(0, 1, 3, 4))
            square = square + fields.square().sum(dim=(0, 1, 3, 4))
        mean = total / count
        sd = (square / count - mean.square()).clamp(min=1e-12).sqrt()
        return IdentitySpace(mean.float(), sd.float())

    def on_after_batch_transfer(  # type: ignore[override]
        self, batch: Window | LatentBatch, dataloader_idx: int = 0
    ) -> LatentBatch:
        """Convert a window to standardised fields and background on its device."""
        if isinstance(batch, LatentBatch):
            return batch
        self.arrived_at = time.perf_counter()
        return self.standardise(self.assemble(batch, observe=False))

    @torch.no_grad()
    def standardise(self, batch: Batch) -> LatentBatch:
        """Standardise fields and background of a batch.

        Raises:
            UserError: The batch has no background, or a value is missing.
        """
        if batch.background is None:
            raise UserError("the pixel score model needs backgrounds; set background.kind")
        space = self.space.to(batch.fields.device)
        return LatentBatch(
            space.encode(batch.fields, batch.mask),
            space.encode(batch.background.mean, batch.background.known),
            (batch.time[:, 0] / DAYS_PER_YEAR % 1).to(torch.float32),
        )

    def _cases(self, period: Period) -> np.ndarray:
        if period.name != "train":
            return super()._cases(period)
        return cases_with_background(self.store, self.provider, period, self.data.window)
