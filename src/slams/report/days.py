"""Errors of each day of a window, observed or not."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from slams.config.schema import ReportConfig
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import in_order, method_style

__all__ = ["errors_by_day"]

_PANELS = {"rmse": "RMSE (K)", "crps": "CRPS (K)", "spread_skill": "spread / skill"}


def errors_by_day(run: AssimilationRun, options: ReportConfig) -> Section | None:
    """Show scores of temperature over the days of the window; `None` for windows of one day."""
    if run.days is None:
        return None
    table = run.days
    table = table[(table["variable"] == "temperature") & (table["level"] == "mean")]
    if table.empty:
        return None
    observed = sorted(table.loc[table["observed"], "day"].unique().tolist())
    hidden = sorted(table.loc[~table["observed"], "day"].unique().tolist())
    return Section(
        anchor="days",
        title="Days of the window, observed and not",
        caption=(
            "Day 0 is the first of the window; the background is older by a day with each day. "
            "Shaded days have no observation at all: information on them comes from the days "
            "around them and from the background."
        ),
        findings=[_finding(table, observed, hidden)] if observed and hidden else [],
        panels=[
            _panel(table[table["metric"] == metric], hidden, metric, label, options.dpi)
            for metric, label in _PANELS.items()
            if (table["metric"] == metric).any()
        ],
    )


def _finding(table: pd.DataFrame, observed: list[int], hidden: list[int]) -> str:
    parts = []
    for method in in_order(table["method"]):
        rows = table[(table["method"] == method) & (table["metric"] == "rmse")]
        seen, unseen = (
            rows.loc[rows["day"].isin(days), "value"].mean() for days in (observed, hidden)
        )
        parts.append(f"{method_style(method).label} {seen:.2f} / {unseen:.2f} K")
    return "RMSE on observed / unobserved days: " + ", ".join(parts) + "."


def _panel(table: pd.DataFrame, hidden: list[int], metric: str, label: str, dpi: int) -> Panel:
    figure = new_figure(height=3.3)
    axes = figure.add_subplot()
    for day in hidden:
        axes.axvspan(day - 0.5, day + 0.5, color="#eeeeee", linewidth=0)
    methods = in_order(table["method"])
    for method in methods:
        rows, style = table[table["method"] == method].sort_values("day"), method_style(method)
        axes.plot(
            rows["day"], rows["value"], color=style.colour, marker=style.marker, label=style.label
        )
        axes.fill_between(
            rows["day"], rows["lower"], rows["upper"], color=style.colour, alpha=0.15, linewidth=0
        )
    if metric == "spread_skill":
        axes.axhline(1.0, color="#666666", linewidth=0.8, linestyle="--")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("day of the window")
    axes.set_ylabel(label)
    headline(figure, f"{label.partition(' (')[0]} of temperature by day")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    names = ", ".join(method_style(m).label for m in methods)
    return render(figure, f"days_{metric}", f"{label} of temperature by day: {names}", dpi)
