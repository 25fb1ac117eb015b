"""How the benchmarks of cost write their tables: medians with their range, ratios pair by pair."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from slams.errors import UserError

__all__ = ["output_directory", "spread_of"]


def output_directory(output: Path) -> Path:
    """Makes the directory of a benchmark's tables.

    Raises:
        UserError: It is or lies in a file.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output: {output} is or lies in a file, expected a directory") from None
    return output


def spread_of(values: pd.Series) -> str:
    """Writes timings, or their ratios pair by pair, as median (least, most)."""
    return f"{values.median():.3g} ({values.min():.3g}, {values.max():.3g})"
