"""Results stored row by row, so that a killed benchmark continues from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from slams.errors import UserError
from slams.metrics.bootstrap import Resamples
from slams.runtime.atomic import replacing, write_text

__all__ = ["KeptResults", "monthly_rows", "summarise"]

# Months per block of the bootstrap, and resamples.
_BLOCK, _SAMPLES = 2, 1000


@dataclass(frozen=True)
class KeptResults:
    """Tables of results in a directory, one file each, written completely or not at all.

    Attributes:
        directory: Directory of the files.
    """

    directory: Path

    @classmethod
    def open(cls, directory: Path, settings: dict[str, Any]) -> KeptResults:
        """Open a directory for the results of some settings.

        Args:
            directory: The directory, made where it is missing.
            settings: Settings that the results depend on, as plain values.

        Raises:
            UserError: The directory has results of other settings.
        """
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "settings.yaml"
        if file.exists():
            found = yaml.safe_load(file.read_text())
            names = {*settings, *found}
            for name in sorted(n for n in names if found.get(n) != settings.get(n)):
                raise UserError(
                    f"{directory} has results made with a different {name!r}; choose another "
                    f"--output, or remove that directory"
                )
        else:
            write_text(file, yaml.safe_dump(settings, sort_keys=False))
        return cls(directory)

    def has(self, name: str) -> bool:
        """Return whether a table is finished."""
        return self._file(name).exists()

    def write(self, name: str, table: pd.DataFrame) -> None:
        """Store a finished table."""
        with replacing(self._file(name)) as path:
            table.to_parquet(path, index=False)

    def read(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the finished tables of these names, concatenated."""
        tables = [pd.read_parquet(self._file(name)) for name in names if self.has(name)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.parquet"


def monthly_rows(
    row: int,
    month: str,
    days: int,
    names: Sequence[tuple[str, str]],
    levels: Sequence[int],
    square: np.ndarray,
    penalties: Sequence[float],
) -> pd.DataFrame:
    """Tabulate the squared errors of a month in one row of latitude.

    Args:
        row: Number of the row.
        month: The month.
        days: Days forecast in it.
        names: Training days and state of each forecast.
        levels: The `L` levels (hPa).
        square: `(len(names), L)` mean squared error (K2) over longitudes and days.
        penalties: Penalty of each forecast, NaN where there is none.

    Returns:
        Columns row, month, days, training, state, level, square, penalty.
    """
    count = len(levels)
    return pd.DataFrame(
        {
            "row": row,
            "month": month,
            "days": days,
            "training": np.repeat([training for training, _ in names], count),
            "state": np.repeat([state for _, state in names], count),
            "level": np.tile(levels, len(names)),
            "square": square.reshape(-1),
            "penalty": np.repeat(np.asarray(penalties, dtype=np.float64), count),
        }
    )


def summarise(results: pd.DataFrame, weights: np.ndarray, seed: int) -> pd.DataFrame:
    """Average squared errors over the globe and time, and take the root.

    Args:
        results: Rows as in `monthly_rows`, for several rows of latitude.
        weights: `(H,)` area weights of the rows.
        seed: Seed of the bootstrap over months.

    Returns:
        Columns training, state, level (hPa, or `mean` for the mean RMSE of all levels), rmse
        (K), low, high (95 % interval, of all months together, in blocks of two).
    """
    order = ["training", "state", "level"]
    results = results.assign(weight=weights[results["row"].to_numpy()])
    results["weighted"] = results["weight"] * results["square"]
    sums = results.groupby([*order, "month", "days"], sort=False)[["weighted", "weight"]].sum()
    monthly = (sums["weighted"] / sums["weight"]).rename("square").reset_index()
    rows = []
    for (training, state), part in monthly.groupby(["training", "state"], sort=False):
        table = part.pivot(index=["month", "days"], columns="level", values="square")
        table = table[list(dict.fromkeys(part["level"]))]
        count = torch.tensor(table.index.get_level_values("days").to_numpy(), dtype=torch.float64)
        squares = torch.from_numpy(np.ascontiguousarray(table, dtype=np.float64))
        rmse = ((squares * count[:, None]).sum(dim=0) / count.sum()).sqrt()
        resamples = Resamples(torch.arange(len(count)), _BLOCK, _SAMPLES, seed)
        drawn = (
            resamples.means(squares * count[:, None]) / resamples.means(count[:, None])
        ).sqrt()
        for level, value, one in zip(
            [*table.columns, "mean"],
            [*rmse, rmse.mean()],
            [*drawn.T, drawn.mean(dim=1)],
            strict=True,
        ):
            low, high = resamples.interval(one)
            rows.append((training, state, str(level), float(value), float(low), float(high)))
    return pd.DataFrame(rows, columns=[*order, "rmse", "low", "high"])
