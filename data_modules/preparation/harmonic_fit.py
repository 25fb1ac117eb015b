"""Least squares of the annual harmonics of a climatology, at points with and without gaps."""

from __future__ import annotations

import numpy as np

from slams.errors import UserError

__all__ = ["fitted_harmonics"]

# Condition number above which the days do not determine the harmonics.
_WORST_CONDITION = 1e8


def fitted_harmonics(
    basis: np.ndarray, known: np.ndarray | None, moment: np.ndarray, harmonics: int
) -> np.ndarray:
    """Solve for the climatology `(K, P)`; points without enough days have the mean of the others.

    Args:
        basis: `(N, K)` harmonics of all days.
        known: Upper triangle of `sum B B^T` over the known days `(K (K + 1) / 2, P)`; `None` where
            every day is known.
        moment: `(K, P)` sums of `B x`.
        harmonics: Number of annual harmonics, for the message.

    Raises:
        UserError: The training days do not determine the harmonics.
    """
    size, points = moment.shape
    gram = (basis.T @ basis)[None]
    if known is not None:
        gram = np.empty((points, size, size))
        row, column = np.triu_indices(size)
        gram[:, row, column] = gram[:, column, row] = known.T
    own = 2 * harmonics + 1
    # Known days of each step of the day, by the square of its constant.
    days = gram[:, range(0, size, own), range(0, size, own)].sum(axis=1)
    if not days.any():
        raise UserError("data.splits.train: the training days have no value at all")
    usable = np.linalg.cond(gram / np.maximum(days, 1.0)[:, None, None]) < _WORST_CONDITION
    if not usable.any():
        raise UserError(
            f"data.harmonics: {harmonics} annual harmonics cannot be fitted to "
            f"{int(days.max())} training days{_of_each(size // own)}; lower data.harmonics, "
            f"lengthen data.splits.train "
            f"or set data.statistics_from to another store"
        )
    safe = np.where(usable[:, None, None], gram, np.eye(size))
    solution = np.linalg.solve(safe, moment.T[:, :, None])[:, :, 0].T
    if not usable.all():
        solution[:, ~usable] = solution[:, usable].mean(axis=1, keepdims=True)
    return solution


def _of_each(per_day: int) -> str:
    return f" and steps, for each of {per_day} steps of the day" if per_day > 1 else ""
