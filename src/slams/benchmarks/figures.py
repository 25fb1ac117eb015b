"""The figures of the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from slams.benchmarks.guided import MEAN_BAND, SD_BAND
from slams.benchmarks.window_readers import READERS

__all__ = ["draw_analysis", "draw_calibration", "draw_sampler", "draw_scaling", "draw_stream"]

# Okabe and Ito (2008).
_RED, _BLUE, _GREEN, _PINK, _ORANGE = "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00"
_COLOURS = (_RED, _BLUE, _GREEN, _PINK, _ORANGE, "#000000")
_GREY = "#777777"
# Black is the prior alone.
_GUIDANCE_COLOURS = {
    "none": "#000000",
    "decg": _RED,
    "mmps": _BLUE,
    "sda": _GREEN,
    "dps": _PINK,
    "pgdm": _ORANGE,
}
_SAMPLER_MARKERS = {
    "adams_bashforth": "o",
    "heun": "s",
    "ddim": "v",
    "ancestral": "^",
    "predictor_corrector": "D",
}
# Analyses by which `draw_analysis` compares cost, and their labels.
_ANALYSES = {
    "dense": ("at once", _RED, "s"),
    "local_unselected": ("domains, all in reach", _ORANGE, "^"),
    "archive": ("domains, all in reach, archive space", _PINK, "D"),
    "local": ("domains, nearest", _BLUE, "o"),
    "local_superob": ("domains, averaged in cells", _GREEN, "v"),
}
_DPI = 150
# Spines on the left and at the bottom only.
_PLAIN = ["top", "right"]


def draw_sampler(table: pd.DataFrame, path: Path) -> None:
    """Draw the accuracy of a member against its cost, one point per date.

    Args:
        table: Result of `slams.benchmarks.sampler_cost.sampler_table`.
        path: Image file.
    """
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    panel = figure.subplots()
    for number, (name, rows) in enumerate(table.groupby("recipe", sort=False)):
        colour, cost = _COLOURS[number % len(_COLOURS)], rows.seconds_per_member
        panel.plot(cost, rows.crps, "o", color=colour, alpha=0.4)
        panel.plot(cost.median(), rows.crps.mean(), "D", color=colour, label=str(name))
    panel.set(xscale="log", xlabel="seconds per member", ylabel="CRPS of temperature (K)")
    panel.legend(title="mean over dates", frameon=False)
    panel.spines[_PLAIN].set_visible(False)
    figure.savefig(path, dpi=_DPI)


def draw_scaling(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw samples per second against processes, and the cost of sampling against its parameters.

    Args:
        tables: `ranks`, `sampling` and `denoiser`, as `slams.benchmarks.scaling` makes them.
        path: Image file.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    ranks, sampling, denoiser = panels = figure.subplots(1, 3)
    table = tables["ranks"]
    ranks.plot(table.ranks, table.samples_per_second, "o-", color=_RED, label="measured")
    ideal = table.samples_per_second.iloc[0] / table.ranks.iloc[0] * table.ranks
    ranks.plot(table.ranks, ideal, "--", color="#999999", label="proportional")
    ranks.set(xlabel="processes", ylabel="training samples per second", xticks=list(table.ranks))
    ranks.set_ylim(bottom=0)
    table = tables["sampling"]
    for colour, column, other in ((_RED, "steps", "members"), (_BLUE, "members", "steps")):
        # The rows in which the other parameter is constant.
        held = table[other].mode().iloc[0]
        rows = table[table[other] == held].drop_duplicates(column).sort_values(column)
        label = f"{column} ({held} {other})"
        sampling.plot(rows[column], rows.seconds_per_member, "o-", color=colour, label=label)
    sampling.set_xscale("log", base=2)
    sampling.set(xlabel="number of", ylabel="seconds per member")
    sampling.set_ylim(bottom=0)
    for colour, (days, rows) in zip(_COLOURS, tables["denoiser"].groupby("days"), strict=False):
        points = rows.latitudes * rows.longitudes
        denoiser.plot(points, rows.milliseconds, "o-", color=colour, label=f"{days} days")
    denoiser.set_xscale("log", base=2)
    denoiser.set(xlabel="points of the latent grid", ylabel="denoiser, milliseconds per member")
    denoiser.set(yscale="log")
    for panel in panels:
        panel.legend(frameon=False)
        panel.spines[_PLAIN].set_visible(False)
    figure.savefig(path, dpi=_DPI)


def draw_analysis(table: pd.DataFrame, path: Path) -> None:
    """Draw seconds and memory of a case's guidance against what is varied.

    Args:
        table: Result of `slams.benchmarks.analysis_scaling.analysis_table`.
        path: Image file.
    """
    columns = {
        "reports": ("reports", "reports"),
        "grid": ("cells", "cells of the grid"),
        "members": ("members", "members"),
        "days": ("days", "days of the archive"),
    }
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(2, len(columns), sharex="col", sharey="row")
    quantities = {"case_seconds": "seconds per case", "memory_mb": "memory (MB)"}
    for row, (quantity, label) in zip(panels, quantities.items(), strict=True):
        row[0].set_ylabel(label)
        for panel, (varied, (column, _)) in zip(row, columns.items(), strict=True):
            own = table[table.varied == varied]
            for analysis, cells in own.groupby("analysis", sort=False):
                name, colour, marker = _ANALYSES[str(analysis)]
                style = {"color": colour, "marker": marker, "label": name}
                panel.plot(cells[column], cells[quantity], **style)
            panel.set(xscale="log", yscale="log")
            panel.spines[_PLAIN].set_visible(False)
            values = sorted(own[column].unique())
            panel.set_xticks(values[:: -(-len(values) // 4)] if values else [])
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                axis.set_minor_formatter(NullFormatter())
    for panel, (_, label) in zip(panels[1], columns.values(), strict=True):
        panel.set_xlabel(label)
    lines, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, frameon=False, loc="outside lower center", ncols=len(names))
    figure.savefig(path, dpi=_DPI)


def draw_stream(samples: pd.DataFrame, path: Path) -> None:
    """Draw medians as bars, with a line from the smallest to the largest repetition.

    Args:
        samples: Result of `slams.benchmarks.stream.sample_table`.
        path: Image file.
    """
    grids = list(samples["grid"].unique())
    cells = list(samples[["page_cache", "workers"]].drop_duplicates().itertuples(index=False))
    figure = Figure(figsize=(3.2 * len(cells), 2.9 * len(grids)), layout="constrained")
    panels = figure.subplots(len(grids), len(cells), sharey="row", sharex="row", squeeze=False)
    readers = list(reversed(READERS.items()))
    keys = ["grid", "page_cache", "workers", "reader"]
    speed = samples.groupby(keys)["samples_per_second"].agg(["min", "median", "max"])
    for row, grid in zip(panels, grids, strict=True):
        for panel, (state, workers) in zip(row, cells, strict=True):
            for place, (name, reader) in enumerate(readers):
                low, middle, high = speed.loc[grid, state, workers, name]
                panel.barh(place, middle, color=reader.colour)
                panel.plot([low, high], [place, place], color="black", linewidth=1)
            panel.set_xscale("log")
            panel.set_title(f"{grid}, {state}, {workers} workers", fontsize=9)
            labels = [reader.label for _, reader in readers]
            panel.set_yticks(range(len(readers)), labels, fontsize=7)
            panel.set_xlabel("samples per second", fontsize=8)
    figure.savefig(path, dpi=_DPI)


def draw_calibration(table: pd.DataFrame, path: Path) -> None:
    """Draw spread against error of the mean by problem, without samples that diverged.

    Args:
        table: Result of `slams.benchmarks.posterior.gaussian_table`.
        path: Image file.
    """
    cells = list(table.groupby(["problem", "error"], sort=False))
    figure = Figure(figsize=(3.4 * len(cells), 4.2), layout="constrained")
    panels = figure.subplots(1, len(cells), sharex=True, sharey=True, squeeze=False)[0]
    for panel, ((problem, error), rows) in zip(panels, cells, strict=True):
        panel.axhspan(1 - SD_BAND, 1 + SD_BAND, color="#eeeeee", zorder=0)
        panel.axvline(MEAN_BAND, color="#bbbbbb", linewidth=0.8, zorder=0)
        for row in rows.dropna().itertuples():
            # Exact kinds agree to the last digit: those drawn first are drawn larger.
            style = {
                "marker": _SAMPLER_MARKERS.get(row.sampler, "x"),
                "linestyle": "none",
                "markersize": 9 if row.guidance == "decg" else 5.5,
                "color": _GUIDANCE_COLOURS.get(row.guidance, _GREY),
            }
            panel.plot(row.mean_error, row.sd_observed, **style)
            panel.plot(row.mean_error, row.sd_unobserved, mfc="none", **style)
        panel.set_xscale("log")
        panel.set_yscale("log", base=2)
        panel.set_title(f"{problem}, R = {error:g}²", fontsize=10)
        panel.set_xlabel("error of the mean (posterior sd)")
        panel.set_yticks([0.25, 0.5, 1, 2], ["0.25", "0.5", "1", "2"])
    panels[0].set_ylabel("ensemble / posterior sd")
    figure.legend(handles=_legend(table), loc="outside lower center", ncols=7, fontsize=8)
    figure.savefig(path, dpi=_DPI)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    guidance, samplers = table["guidance"].unique(), table["sampler"].unique()
    entries = [(kind, "s", _GUIDANCE_COLOURS.get(kind, _GREY), None) for kind in guidance]
    entries += [(k.replace("_", " "), _SAMPLER_MARKERS.get(k, "x"), _GREY, None) for k in samplers]
    entries += [("observed", "o", _GREY, None), ("unobserved", "o", _GREY, "none")]
    return [
        Line2D([], [], linestyle="none", label=label, marker=marker, color=colour, mfc=fill)
        for label, marker, colour, fill in entries
    ]
