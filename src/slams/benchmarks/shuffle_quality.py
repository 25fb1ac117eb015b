"""Randomness of the order of an epoch in which windows are shuffled block by block.

With `N` windows in files of `S`, of which `b` are mixed at a time, two neighbours in the order of
a full shuffle come from one file with a probability of about `S / N`, in a block shuffle of about
`1 / b`. The effect on gradients shows within a batch: windows of one file lie within `S` days of
one another, and share weather if they are a few days apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Randomness", "measure"]


@dataclass(frozen=True)
class Randomness:
    """Measures of an order; a full shuffle has 1/files, about 0, and about 2 d (B - 1) / N.

    Attributes:
        same_file: Share of neighbours in the order that come from one file.
        serial_correlation: Correlation of the positions of neighbours in the order.
        near: Mean number of other windows of its batch that lie within `days` of a window.
        files_per_batch: Mean number of files that a batch is read from.
    """

    same_file: float
    serial_correlation: float
    near: float
    files_per_batch: float


def measure(order: np.ndarray, files: np.ndarray, batch: int, days: int = 5) -> Randomness:
    """Measure an order.

    Args:
        order: `(N,)` positions in the order of an epoch.
        files: `(N,)` file of each position.
        batch: Windows per batch.
        days: Largest difference in position of windows that share weather.
    """
    neighbours = files[order]
    whole = order[: len(order) // batch * batch].reshape(-1, batch)
    apart = np.abs(whole[:, :, None] - whole[:, None, :])
    near = ((apart > 0) & (apart <= days)).sum(axis=2)
    return Randomness(
        same_file=float((neighbours[1:] == neighbours[:-1]).mean()),
        serial_correlation=float(np.corrcoef(order[1:], order[:-1])[0, 1]),
        near=float(near.mean()),
        files_per_batch=float(np.mean([len(np.unique(files[row])) for row in whole])),
    )
