"""Days, or steps, that a time axis lacks between its first and its last."""

from __future__ import annotations

import numpy as np

from data_modules.store.training_store import iso_date

__all__ = ["describe_gaps", "missing_days"]

# Number of gaps that a sentence lists individually.
_NAMED = 3


def missing_days(time: np.ndarray, step: float = 1.0) -> list[tuple[str, str]]:
    """Return the first and the last day, or step (ISO dates) of each gap.

    Args:
        time: `(N,)` days since 1970-01-01, increasing.
        step: Length of a step (days).
    """
    behind = np.flatnonzero(np.diff(time) > 1.5 * step)
    return [(iso_date(time[i] + step), iso_date(time[i + 1] - step)) for i in behind]


def describe_gaps(time: np.ndarray, step: float = 1.0) -> str:
    """Describe the gaps of `time` `(N,)`: ", without 2001-01-05 to 2001-01-06", or ""."""
    gaps = missing_days(time, step)
    named = [first if first == last else f"{first} to {last}" for first, last in gaps[:_NAMED]]
    left = len(gaps) - len(named)
    more = f" and {left} more gaps" if left else ""
    return f", without {', '.join(named)}{more}" if gaps else ""
