"""The results as tables with one value per row, in files and printed.

The columns are described in `slams.metrics.columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from slams.fields import FieldSpec
from slams.metrics.bootstrap import Resamples, resampled_scores
from slams.metrics.columns import TABLE_COLUMNS
from slams.metrics.observed_tables import observation_rows, rank_rows, space_rows
from slams.metrics.records import MethodRecord
from slams.metrics.score_rows import interval_rows, regional_rows
from slams.metrics.scores import SCORES, level_name, places, score
from slams.metrics.spectra import spectra_rows
from slams.metrics.statistics import STATISTICS
from slams.runtime.console import print_tables

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["make_tables", "print_methods"]


def make_tables(
    records: Mapping[str, MethodRecord],
    means: Mapping[str, Mapping[str, Tensor]],
    spectra: Mapping[str, tuple[Tensor, Tensor]],
    channels: Sequence[FieldSpec],
    setting: str,
    block: int,
    samples: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return the tables of an evaluation.

    Args:
        records: Per-case results of each method, merged over ranks.
        means: Mean statistics of each method, `(C, ...)`; values are computed from these,
            intervals from the records.
        spectra: Zonal and spherical power spectra of each method, see `slams.metrics.spectra`.
        channels: The `C` channels.
        setting: Name of the setting.
        block: Dates per block of the bootstrap.
        samples: Resamples of the bootstrap.
        seed: The experiment's seed.

    Returns:
        The tables by name.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLE_COLUMNS}
    for method, record in records.items():
        # One seed and one set of dates, so that all methods have the same resamples.
        resamples = Resamples(record.time, block, samples, seed)
        key = (method, setting)
        found: dict[str, Iterator[tuple[Any, ...]]] = {
            "results": _results(record, means[method], channels, resamples),
            "cases": _cases(record, channels),
            "rank_histogram": _ranks(means[method]["rank"], channels),
            "observations": observation_rows(record),
            "observation_space": space_rows(record, resamples),
            "observation_ranks": rank_rows(record),
            "regions": regional_rows(record, channels, resamples),
            "spectra": spectra_rows(spectra[method], channels),
        }
        for name, lines in found.items():
            # Record which formulas were used for a score, where they differ.
            made_by = (record.estimator,) if "estimator" in TABLE_COLUMNS[name] else ()
            rows[name] += [(*key, *line, *made_by) for line in lines]
    return {name: pd.DataFrame(rows[name], columns=TABLE_COLUMNS[name]) for name in TABLE_COLUMNS}


def _results(
    record: MethodRecord,
    means: Mapping[str, Tensor],
    channels: Sequence[FieldSpec],
    resamples: Resamples,
) -> Iterator[tuple[Any, ...]]:
    known = record.statistics["mse"].isfinite()
    for metric in SCORES:
        value = score(metric, means, record.members, record.centred).cpu()
        resampled = resampled_scores(
            metric, record.statistics, record.members, resamples, record.centred
        )
        yield from interval_rows(metric, value, resampled, known, channels, resamples)
    if n := len(record.case):
        diverged = float(record.diverged.sum())
        yield "all", "all", "divergent_members", diverged, np.nan, np.nan, n
        seconds = float(record.seconds.mean()) / record.members
        yield "all", "all", "seconds_per_member", seconds, np.nan, np.nan, n


def _cases(record: MethodRecord, channels: Sequence[FieldSpec]) -> Iterator[tuple[Any, ...]]:
    days = np.floor(record.time.numpy()).astype("int64").astype("datetime64[D]").astype(str)
    for c, spec in enumerate(channels):
        for statistic in STATISTICS:
            values = record.statistics[statistic][:, c].tolist()
            for case, date, value in zip(record.case.tolist(), days, values, strict=True):
                if np.isfinite(value):
                    yield case, str(date), spec.variable, level_name(spec), statistic, value


def _ranks(frequency: Tensor, channels: Sequence[FieldSpec]) -> Iterator[tuple[Any, ...]]:
    frequency = frequency.cpu()
    for key, index in places(channels).items():
        weights = torch.nanmean(frequency[index], dim=0)
        if bool(weights.isfinite().all()):
            yield from ((*key, k, weight) for k, weight in enumerate(weights.tolist()))


def print_methods(
    results: pd.DataFrame,
    console: Console | None = None,
    variable: str = "temperature",
    level: str = "mean",
) -> None:
    """Print a table of methods: RMSE, fair CRPS and spread-skill ratio with their intervals.

    Args:
        results: The `results` table; several settings are printed one after another.
        console: Console to print to; `None` for standard output.
        variable: The variable to show.
        level: The level to show, as in the table.
    """
    from rich.table import Table

    rows = results[(results["variable"] == variable) & (results["level"] == level)]
    if rows.empty:  # a recipe without pressure levels
        rows = results[results["level"] != "all"]
        rows = rows[rows["variable"] == rows["variable"].iloc[0]] if len(rows) else rows
    shown = {"rmse": "RMSE", "crps": "CRPS", "spread_skill": "spread / skill"}
    for setting, part in rows.groupby("setting", sort=False):
        variable, level = part["variable"].iloc[0], part["level"].iloc[0]
        title = f"{variable.replace('_', ' ')}, {level}, setting {setting}, n = {part['n'].max()}"
        caption = "95 % intervals over dates"
        if "estimator" in part and part["estimator"].eq("centred").any():
            caption += "; centred ensembles scored as such"
        table = Table(title=title, caption=caption)
        table.add_column("method")
        for heading in shown.values():
            table.add_column(heading, justify="right")
        for method, lines in part.groupby("method", sort=False):
            lines = lines.drop_duplicates("metric").set_index("metric")
            cells = [_cell(lines.loc[m]) if m in lines.index else "" for m in shown]
            table.add_row(str(method), *cells)
        print_tables(table, console=console)


def _cell(row: pd.Series) -> str:
    if not np.isfinite(row["lower"]):
        return f"{row['value']:.3g}"
    # As many decimals as the width of the interval justifies.
    width = row["upper"] - row["lower"]
    digits = 3 if width <= 0 else int(np.clip(1 - np.floor(np.log10(width)), 0, 4))
    return f"{row['value']:.{digits}f} [{row['lower']:.{digits}f}, {row['upper']:.{digits}f}]"
