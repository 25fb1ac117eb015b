"""Figure of a column whose analysis is judged by observations alone: O-B and O-A by quantity.

    python docs/column.py runs/arm_summer_1997/assimilation docs/figures/arm_summer_1997.png

draws it from the table of a run; nothing is computed again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from slams.report.drawing import FIGURES as LOOK

METHOD = "optimal_interpolation"
SURFACE = {
    "2m_temperature": "2 m\n(K)",
    "total_precipitation_24hr": "rain\nlog(1 + mm/day)",
    "outgoing_longwave_radiation": "OLR\n(W m$^{-2}$)",
}
COLOURS = {"o_minus_b": "tab:grey", "o_minus_a": "tab:blue"}
LABELS = {"o_minus_b": "O-B", "o_minus_a": "O-A"}


def column(table: pd.DataFrame) -> Figure:
    """Draw mean and standard deviation of O-B and O-A: the profile, and what has no level.

    Args:
        table: `observation_space.parquet` of an assimilation.
    """
    rows = table[(table["method"] == METHOD) & (table["use"] == "assimilated")]
    rows = rows[rows["region"] == "global"]
    values = rows.pivot_table(index="observation", columns="statistic", values="value")
    values.index = [name.removeprefix("stations/") for name in values.index]
    levels = sorted(int(n.partition("@")[2]) for n in values.index if n.startswith("temperature@"))
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    grid = figure.add_gridspec(1, 4, width_ratios=[2.2, 1, 1, 1])
    profile = figure.add_subplot(grid[0])
    for what, colour in COLOURS.items():
        rows = values.loc[[f"temperature@{level}" for level in levels]]
        sd = rows[f"{what}_sd"]
        profile.errorbar(
            rows[f"{what}_mean"], levels, xerr=sd, fmt="o-", color=colour, label=LABELS[what]
        )
    profile.axvline(0, color="black", linewidth=0.6)
    profile.invert_yaxis()
    profile.set(xlabel="temperature (K)", ylabel="hPa", title="mean and sd")
    profile.legend(loc="lower left")
    for place, (name, label) in enumerate(SURFACE.items(), 1):
        axes = figure.add_subplot(grid[place])
        for x, (what, colour) in enumerate(COLOURS.items()):
            row = values.loc[name]
            axes.errorbar(x, row[f"{what}_mean"], yerr=row[f"{what}_sd"], fmt="o", color=colour)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_title(label, fontsize=8)
        axes.set(xlim=(-0.5, 1.5), xticks=(0, 1), xticklabels=LABELS.values())
    return figure


def main(run: Path, output: Path) -> None:
    """Draw the figure of an assimilation's run directory into a file."""
    with style.context(LOOK):
        figure = column(pd.read_parquet(run / "observation_space.parquet"))
        figure.savefig(output, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
