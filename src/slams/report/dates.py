"""Errors by date: whether a method is better everywhere, or on a few dates."""

from __future__ import annotations

import pandas as pd
import torch
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FixedLocator

from slams.config.schema import ReportConfig
from slams.report.paired import by_date, error_by_level
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import in_order, method_style

__all__ = ["error_by_date"]


def error_by_date(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show RMSE and CRPS of temperature on each verifying date, one line per method."""
    anchor, title = "dates", "Errors date by date"
    if run.cases is None:
        return Section(anchor, title, missing=["No table of cases: no errors by date."])
    panels = []
    for metric, name in (("rmse", "RMSE"), ("crps", "CRPS")):
        tables = {m: by_date(run.cases, m, metric) for m in in_order(run.cases["method"])}
        tables = {method: table for method, table in tables.items() if not table.empty}
        if tables:
            panels.append(_panel(tables, metric, name, options.dpi))
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "Each dot is one verifying date, averaged over the levels of temperature. Lines that "
            "rise and fall together show that some dates are hard for every method; what counts "
            "is the distance between them."
        ),
        panels=panels,
        missing=[] if panels else ["The table of cases has no temperature."],
    )


def _panel(tables: dict[str, pd.DataFrame], metric: str, name: str, dpi: int) -> Panel:
    figure = new_figure(height=3.3)
    axes = figure.add_subplot()
    for method, table in tables.items():
        style = method_style(method)
        values = error_by_level(torch.tensor(table.to_numpy(float)), metric)
        axes.plot(
            pd.to_datetime(table.index),
            values.numpy(),
            color=style.colour,
            marker=style.marker,
            label=style.label,
            markersize=4,
            linewidth=1.3,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )
    dates = pd.to_datetime(list(dict.fromkeys(d for t in tables.values() for d in t.index)))
    # The automatic locator warns where all dates are the same.
    locator = AutoDateLocator(maxticks=7) if len(dates) > 1 else FixedLocator(date2num(dates))
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"{name} (K)")
    headline(figure, f"{name} of temperature by date")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    labels = ", ".join(method_style(method).label for method in tables)
    return render(figure, f"dates_{metric}", f"{name} of temperature by date: {labels}", dpi)
