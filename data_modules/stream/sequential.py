"""Reading a split from end to end outside of a Trainer: encodings, principal components."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from data_modules.reanalysis import ReanalysisDataModule
from slams.fields import Batch

__all__ = ["read_batches"]


def read_batches(
    datamodule: ReanalysisDataModule, split: str, windows: int = 0, size: int = 64
) -> Iterator[Batch]:
    """Reads the windows of a split in the order of time, normalised, without observations.

    Args:
        datamodule: The DataModule.
        split: Name of the split.
        windows: Number of windows, evenly spaced; 0 reads all of them.
        size: Windows a batch.
    """
    dataset = datamodule.dataset(split)
    picked = np.arange(len(dataset))
    if 0 < windows < len(dataset):
        picked = np.linspace(0, len(dataset) - 1, windows).round().astype(np.int64)
    for start in range(0, len(picked), size):
        window = dataset.__getitems__(picked[start : start + size].tolist())
        yield datamodule.assemble(window, observe=False)
