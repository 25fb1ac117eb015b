"""Printing of O-B and O-A, the whole result if observations are the only truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from slams.runtime.console import print_tables

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_observations"]

_SHOWN = {
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
    from rich.table import Table

    rows = table[table["region"] == "global"]
    for (observation, use), part in rows.groupby(["observation", "use"], sort=False):
        title = f"{observation}, {str(use).replace('_', ' ')}, n = {part['n'].max()}"
        shown = Table(title=title, caption="95 % intervals in the table observation_space")
        shown.add_column("method", no_wrap=True)
        for heading in _SHOWN.values():
            shown.add_column(heading, justify="right")
        for method, lines in part.groupby("method", sort=False):
            lines = lines.set_index("statistic")
            values = lines["value"].reindex(list(_SHOWN))
            cells = ["" if pd.isna(value) else f"{value:.2f}" for value in values]
            shown.add_row(str(method), *cells)
        print_tables(shown, console=console)
