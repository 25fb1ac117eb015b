"""Printing of results: a table of methods, and O-B and O-A, the whole result without a truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from slams.runtime.console import print_tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_methods", "print_observations"]

_SCORES = {"rmse": "RMSE", "crps": "CRPS", "spread_skill": "spread / skill"}
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
