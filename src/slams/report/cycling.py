"""A cycle over its days: errors and bias per day, and whether they drift."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slams.config.schema import ReportConfig
from slams.metrics.drift import SPIN_UP, daily
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import in_order, method_style
from slams.report.tables import method_cell, table

__all__ = ["cycle_drift"]

_LABELS = {"rmse": "RMSE (K)", "bias": "bias (K)"}


def cycle_drift(run: AssimilationRun, options: ReportConfig) -> Section | None:
    """Show how the errors of temperature evolve over a cycle; `None` where nothing is cycled."""
    if run.drift is None or run.cases is None:
        return None
    found = run.drift
    found = found[(found["variable"] == "temperature") & (found["level"] == "mean")]
    days = daily(run.cases)
    days = days[(days["variable"] == "temperature") & (days["level"] == "mean")]
    if found.empty or days.empty:
        return None
    return Section(
        anchor="cycle",
        title="The cycle, day by day",
        caption=(
            "Each method starts from its own analysis of the day before, damped by one day's "
            "persistence; only the first background comes from the true state. A cycle drifts "
            f"where the slope of its errors, after {SPIN_UP} days of spin-up, has an interval "
            "that excludes zero. Weather and season move all methods together."
        ),
        findings=_findings(found),
        panels=[
            _panel(days[days["metric"] == m], m, label, options.dpi)
            for m, label in _LABELS.items()
        ],
        tables=[_table(found)],
    )


def _findings(table: pd.DataFrame) -> list[str]:
    found = []
    for row in table[table["metric"] == "rmse"].itertuples():
        label = method_style(row.method).label
        if row.lower <= 0 <= row.upper:
            found.append(f"The RMSE of {label} has no trend distinguishable from zero.")
        else:
            found.append(f"The RMSE of {label} has a trend of {1000 * row.slope:.1f} mK per day.")
    return found


def _panel(days: pd.DataFrame, metric: str, label: str, dpi: int) -> Panel:
    figure = new_figure(height=3.3)
    axes = figure.add_subplot()
    methods = in_order(days["method"])
    for method in methods:
        rows, style = days[days["method"] == method].sort_values("date"), method_style(method)
        axes.plot(
            np.arange(1, len(rows) + 1), rows["value"], color=style.colour, label=style.label
        )
    axes.axvspan(1, SPIN_UP, color="#f2f2f2", linewidth=0)
    if metric == "rmse":
        axes.set_ylim(bottom=0)
    axes.set_xlabel("day of the cycle")
    axes.set_ylabel(label)
    headline(figure, f"{label.partition(' (')[0]} of temperature over the cycle")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    names = ", ".join(method_style(m).label for m in methods)
    return render(figure, f"cycle_{metric}", f"{label} of temperature over days: {names}", dpi)


def _table(found: pd.DataFrame) -> str:
    headings = ("method", "metric", "mean (K)", "largest (K)", "slope (mK / day)", "95 % interval")
    rows = [
        [
            method_cell(row.method),
            f"<td>{row.metric}</td>",
            f"<td>{row.mean:.2f}</td>",
            f"<td>{row.largest:.2f}</td>",
            f"<td>{1000 * row.slope:.1f}</td>",
            f"<td>{1000 * row.lower:.1f} to {1000 * row.upper:.1f}</td>",
        ]
        for row in found.itertuples()
    ]
    caption = f"Temperature, mean over levels, after {SPIN_UP} days where the cycle is long enough"
    return table(headings, rows, caption, "drift")
