"""The figures of `slams bench sampler` and `slams bench scaling`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["draw_sampler", "draw_scaling"]

# Okabe and Ito (2008).
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#000000")
_DPI = 150


def draw_sampler(table: pd.DataFrame, path: Path) -> None:
    """Draw the accuracy of a member against its cost, one point per date.

    Args:
        table: Result of `slams.benchmarks.sampler_cost.sampler_table`.
        path: Image file.
    """
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for number, (name, rows) in enumerate(table.groupby("recipe", sort=False)):
        colour = _COLOURS[number % len(_COLOURS)]
        panel.plot(rows.seconds_per_member, rows.crps, "o", color=colour, alpha=0.4)
        panel.plot(
            rows.seconds_per_member.median(), rows.crps.mean(), "D", color=colour, label=str(name)
        )
    panel.set_xscale("log")
    panel.set_xlabel("seconds per member")
    panel.set_ylabel("CRPS of temperature (K)")
    panel.legend(title="mean over dates", frameon=False)
    _plain(panel)
    figure.savefig(path, dpi=_DPI)


def draw_scaling(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw samples per second against processes, and the cost of sampling against its parameters.

    Args:
        tables: `ranks`, `sampling` and `denoiser`, as `slams.benchmarks.scaling` makes them.
        path: Image file.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    ranks, sampling, denoiser = figure.subplots(1, 3)
    table = tables["ranks"]
    ranks.plot(table.ranks, table.samples_per_second, "o-", color=_COLOURS[0], label="measured")
    ideal = table.samples_per_second.iloc[0] / table.ranks.iloc[0] * table.ranks
    ranks.plot(table.ranks, ideal, "--", color="#999999", label="proportional")
    ranks.set_xlabel("processes")
    ranks.set_ylabel("training samples per second")
    ranks.set_ylim(bottom=0)
    ranks.set_xticks(list(table.ranks))
    ranks.legend(frameon=False)
    table = tables["sampling"]
    for number, column in enumerate(("steps", "members")):
        other = "members" if column == "steps" else "steps"
        # The rows in which the other parameter is constant.
        held = table[other].mode().iloc[0]
        rows = table[table[other] == held].drop_duplicates(column).sort_values(column)
        label = f"{column} ({held} {other})"
        sampling.plot(
            rows[column], rows.seconds_per_member, "o-", color=_COLOURS[number], label=label
        )
    sampling.set_xscale("log", base=2)
    sampling.set_xlabel("number of")
    sampling.set_ylabel("seconds per member")
    sampling.set_ylim(bottom=0)
    sampling.legend(frameon=False)
    for number, (days, rows) in enumerate(tables["denoiser"].groupby("days")):
        points = rows.latitudes * rows.longitudes
        denoiser.plot(
            points, rows.milliseconds, "o-", color=_COLOURS[number], label=f"{days} days"
        )
    denoiser.set_xscale("log", base=2)
    denoiser.set_yscale("log")
    denoiser.set_xlabel("points of the latent grid")
    denoiser.set_ylabel("denoiser, milliseconds per member")
    denoiser.legend(frameon=False)
    for panel in (ranks, sampling, denoiser):
        _plain(panel)
    figure.savefig(path, dpi=_DPI)


def _plain(panel: Axes) -> None:
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
