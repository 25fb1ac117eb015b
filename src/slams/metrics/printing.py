"""Printing of results: a table of methods, and O-B and O-A, the whole result without a truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from slams.metrics.drift import day_of_cycle
from slams.metrics.observation_space import ASSIMILATED, HELD_OUT
from slams.runtime.console import print_tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_departures", "print_methods", "print_observations"]

_SCORES = {"rmse": "RMSE", "crps": "CRPS", "spread_skill": "spread / skill"}
# Days of a cycle per column, more where there would be too many columns.
_DAYS_PER_COLUMN, _MOST_COLUMNS = 5, 8
_DEPARTURES = {
    "o_minus_b_mean": "O-B mean",
    "o_minus_b_sd": "O-B sd",
    "o_minus_a_mean": "O-A mean",
    "o_minus_a_sd": "O-A sd",
    "chi2": "O-B chi2",
}


def print_observations(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print means and standard deviations of the departures, assimilated and held out.

    Args:
        table: The table `observation_space`, of which the globe is shown, in the observations'
            units.
        console: Console to print to; `None` for standard output.
    """
    rows = table[table["region"] == "global"]
    for (observation, use), part in rows.groupby(["observation", "use"], sort=False):
        title = f"{observation}, {str(use).replace('_', ' ')}, n = {part['n'].max()}"
        shown = _table(title, "95 % intervals in the table observation_space", _DEPARTURES)
        for method, lines in part.groupby("method", sort=False):
            values = lines.set_index("statistic")["value"].reindex(list(_DEPARTURES))
            cells = ["" if pd.isna(value) else f"{value:.2f}" for value in values]
            shown.add_row(str(method), *cells)
        print_tables(shown, console=console)


def print_departures(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print the rms of O-B, and of O-A of held-out observations, against the days of a cycle.

    Args:
        table: The table `departures`, in the observations' units; cycles are averaged over.
        console: Console to print to; `None` for standard output.
    """
    number = day_of_cycle(table["date"], table["cycle"])
    width = _DAYS_PER_COLUMN * -(-int(number.max() + 1) // (_DAYS_PER_COLUMN * _MOST_COLUMNS))
    block = number // width
    last = np.minimum((block + 1) * width, number.max() + 1)
    days = (block * width + 1).astype(str) + "-" + last.astype(str)
    columns = {name: name for name in days[block.sort_values().index].unique()}
    for use, quantity in ((ASSIMILATED, "b"), (HELD_OUT, "b"), (HELD_OUT, "a")):
        own = table[table["use"] == use]
        if own.empty:
            continue
        square = own["n"] * own[f"o_minus_{quantity}_rms"] ** 2
        own = own.assign(square=square, days=days[own.index])
        for observation, part in own.groupby("observation", sort=False):
            title = f"O-{quantity.upper()} rms by days, {observation}, {use.replace('_', ' ')}"
            shown = _table(title, "", columns)
            for method, lines in part.groupby("method", sort=False):
                sums = lines.groupby("days")[["square", "n"]].sum()
                rms = (sums["square"] / sums["n"]) ** 0.5
                values = rms.reindex(list(columns))
                cells = ["" if pd.isna(value) else f"{value:.2f}" for value in values]
                shown.add_row(str(method), *cells)
            print_tables(shown, console=console)


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
    rows = results[(results["variable"] == variable) & (results["level"] == level)]
    if rows.empty:  # a recipe without pressure levels
        rows = results[results["level"] != "all"]
        rows = rows[rows["variable"] == rows["variable"].iloc[0]] if len(rows) else rows
    for setting, part in rows.groupby("setting", sort=False):
        variable, level = part["variable"].iloc[0], part["level"].iloc[0]
        title = f"{variable.replace('_', ' ')}, {level}, setting {setting}, n = {part['n'].max()}"
        caption = "95 % intervals over dates"
        if "estimator" in part and part["estimator"].eq("centred").any():
            caption += "; centred ensembles scored as such"
        table = _table(title, caption, _SCORES)
        for method, lines in part.groupby("method", sort=False):
            lines = lines.drop_duplicates("metric").set_index("metric")
            cells = [_cell(lines.loc[m]) if m in lines.index else "" for m in _SCORES]
            table.add_row(str(method), *cells)
        print_tables(table, console=console)


def _table(title: str, caption: str, columns: dict[str, str]) -> Table:
    """Return an empty table with one row per method."""
    from rich.table import Table

    table = Table(title=title, caption=caption)
    table.add_column("method", no_wrap=True)
    for heading in columns.values():
        table.add_column(heading, justify="right")
    return table


def _cell(row: pd.Series) -> str:
    if not np.isfinite(row["lower"]):
        return f"{row['value']:.3g}"
    # As many decimals as the width of the interval justifies.
    width = row["upper"] - row["lower"]
    digits = 3 if width <= 0 else int(np.clip(1 - np.floor(np.log10(width)), 0, 4))
    return f"{row['value']:.{digits}f} [{row['lower']:.{digits}f}, {row['upper']:.{digits}f}]"
