"""Cells in the tables of the benchmarks of cost: medians with their range."""

from __future__ import annotations

import pandas as pd

__all__ = ["spread_of"]


def spread_of(values: pd.Series) -> str:
    """Format timings, or their ratios pair by pair, as median (least, most)."""
    return f"{values.median():.3g} ({values.min():.3g}, {values.max():.3g})"
