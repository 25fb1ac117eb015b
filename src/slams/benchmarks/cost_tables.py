"""How the benchmarks of cost write their tables: medians with their range, ratios pair by pair."""

from __future__ import annotations

import pandas as pd

__all__ = ["spread_of"]


def spread_of(values: pd.Series) -> str:
    """Write timings, or their ratios pair by pair, as median (least, most)."""
    return f"{values.median():.3g} ({values.min():.3g}, {values.max():.3g})"
