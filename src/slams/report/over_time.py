"""Errors over time: date by date, over the days of a window, and over the days of a cycle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FixedLocator, MaxNLocator

from slams.metrics.drift import SPIN_UP, cycle_of, daily, day_of_cycle
from slams.report.drawing import finish, new_axes
from slams.report.labels import METRICS, metric_label, temperature_first, variable_label
from slams.report.paired import by_date, error_by_level
from slams.report.reading import AssimilationRun, config_value
from slams.report.section import Panel, Section, new_section
from slams.report.style import by_method, in_order, method_label, method_style
from slams.report.tables import SCORES, method_cell, table

__all__ = ["cycle_drift", "draw_dates", "error_by_date", "errors_by_day"]

# A line by date is broken where the next date is so many times further than usual.
_GAP = 5


def error_by_date(run: AssimilationRun) -> Section:
    """Show the errors of each variable on each verifying date, one line per method."""
    section = new_section("dates")
    if run.cases is None:
        return section.without("No table of cases: no errors by date.")
    for variable in temperature_first(run.cases["variable"]):
        for metric in ("rmse", "crps") if variable == "temperature" else ("crps",):
            section.panels += _date_panel(run.cases, metric, variable)
    return section if section.panels else section.without("The table of cases has no errors.")


def draw_dates(
    axes: Axes, cases: pd.DataFrame, metric: str, variable: str = "temperature"
) -> list[str]:
    """Draw the error of each method on each date, averaged over levels.

    Args:
        axes: Axes to draw on.
        cases: The table of cases, in the units of `slams.report.display`.
        metric: `rmse` or `crps`.
        variable: A variable, with levels or without.

    Returns:
        Labels of the methods that were drawn; empty where there are none.
    """
    labels, every = [], []
    for method in in_order(cases["method"]):
        scores = by_date(cases, method, metric, variable)
        if not scores.empty:
            look = method_style(method).points(0.5) | {"markersize": 4, "linewidth": 1.3}
            values = error_by_level(torch.tensor(scores.to_numpy(float)), metric)
            axes.plot(
                *_broken(pd.to_datetime(scores.index, format="ISO8601"), values.numpy()), **look
            )
            labels.append(method_label(method))
            every += list(scores.index)
    if labels:
        dates = pd.to_datetime(list(dict.fromkeys(every)), format="ISO8601")
        # The automatic locator warns where all dates are the same.
        locator = AutoDateLocator(maxticks=7) if len(dates) > 1 else FixedLocator(date2num(dates))
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_ylim(bottom=0)
    return labels


def _broken(dates: pd.DatetimeIndex, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Break a line where dates are missing, such as between cycles of different years."""
    steps = np.diff(dates.to_numpy())
    after = 1 + np.flatnonzero(steps > _GAP * np.median(steps)) if len(steps) else []
    return np.insert(dates.to_numpy(), after, dates[after]), np.insert(values, after, np.nan)


def _date_panel(cases: pd.DataFrame, metric: str, variable: str) -> list[Panel]:
    title = f"{METRICS[metric].name} of {variable_label(variable)} by date"
    axes = new_axes(title, 3.3, ylabel=metric_label(metric, variable))
    drawn = draw_dates(axes, cases, metric, variable)
    file = f"dates_{metric}" if variable == "temperature" else f"dates_{variable}_{metric}"
    return [finish(axes, file, f"{title}: {', '.join(drawn)}")] if drawn else []


def errors_by_day(run: AssimilationRun) -> Section | None:
    """Show scores of temperature over the days of the window; `None` for windows of one day."""
    rows = None if run.days is None else _mean_temperature(run.days)
    if rows is None or rows.empty:
        return None
    section = new_section("days")
    hidden = sorted(rows.loc[~rows["observed"], "day"].unique().tolist())
    if hidden and rows["observed"].any():
        parts = []
        for method, own in by_method(rows[rows["metric"] == "rmse"]):
            mean = own.groupby("observed")["value"].mean()
            parts.append(f"{method_label(method)} {mean[True]:.2f} / {mean[False]:.2f} K")
        section.findings.append(f"RMSE on observed / unobserved days: {', '.join(parts)}.")
    for metric in SCORES:
        own = rows[rows["metric"] == metric]
        if len(own):
            section.panels.append(_day_panel(own, hidden, metric))
    return section


def _day_panel(rows: pd.DataFrame, hidden: list[int], metric: str) -> Panel:
    label = metric_label(metric)
    title = f"{METRICS[metric].name} of temperature by day"
    axes = new_axes(title, 3.3, "day of the window", label)
    for day in hidden:
        axes.axvspan(day - 0.5, day + 0.5, color="#eeeeee", linewidth=0)
    for method, own in by_method(rows):
        own, style = own.sort_values("day"), method_style(method)
        axes.plot(own["day"], own["value"], marker=style.marker, **style.line)
        shade = {"color": style.colour, "alpha": 0.15, "linewidth": 0}
        axes.fill_between(own["day"], own["lower"], own["upper"], **shade)
    if metric == "spread_skill":
        axes.axhline(1.0, color="#666666", linewidth=0.8, linestyle="--")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    names = ", ".join(map(method_label, in_order(rows["method"])))
    return finish(axes, f"days_{metric}", f"{label} of temperature by day: {names}")


def cycle_drift(run: AssimilationRun) -> Section | None:
    """Show how the errors of temperature evolve over a cycle; `None` where nothing is cycled."""
    if run.drift is None or run.cases is None:
        return None
    found, days = _mean_temperature(run.drift), _mean_temperature(daily(run.cases))
    if found.empty or days.empty:
        return None
    if "cycle" not in found:  # tables from before there could be several cycles
        found = found.assign(cycle=days["date"].min())
    starts = sorted(found["cycle"].unique())
    days = days.assign(day=day_of_cycle(days["date"], cycle_of(days["date"], starts)) + 1)
    section = new_section("cycle")
    truth = config_value(run.config, "assimilation.cycle_start", "truth") == "truth"
    section.caption = section.caption.format(
        spin_up=SPIN_UP,
        start="comes from the true state" if truth else "is the climatology",
    )
    for row in found[found["metric"] == "rmse"].itertuples():
        trend = "no trend distinguishable from zero"
        if not row.lower <= 0 <= row.upper:
            trend = f"a trend of {1000 * row.slope:.1f} mK per day"
        where = f" from {row.cycle}" if len(starts) > 1 else ""
        section.findings.append(f"The RMSE of {method_label(row.method)}{where} has {trend}.")
    section.panels = [_cycle_panel(days[days["metric"] == m], m) for m in ("rmse", "bias")]
    headings = (
        "method",
        "cycle from",
        "metric",
        "mean (K)",
        "largest (K)",
        "slope (mK / day)",
        "95 % interval",
    )
    lines = [
        [
            method_cell(row.method),
            row.cycle,
            row.metric,
            f"{row.mean:.2f}",
            f"{row.largest:.2f}",
            f"{1000 * row.slope:.1f}",
            f"{1000 * row.lower:.1f} to {1000 * row.upper:.1f}",
        ]
        for row in found.itertuples()
    ]
    caption = f"Temperature, mean over levels, after {SPIN_UP} days where the cycle is long enough"
    section.tables.append(table(headings, lines, caption, "drift"))
    return section


def _cycle_panel(days: pd.DataFrame, metric: str) -> Panel:
    label = metric_label(metric)
    title = f"{METRICS[metric].name} of temperature over the cycle"
    axes = new_axes(title, 3.3, "day of the cycle", label)
    for method, rows in by_method(days):
        values = rows.groupby("day")["value"].mean()  # over cycles
        axes.plot(values.index, values, **method_style(method).line)
    axes.axvspan(1, SPIN_UP, color="#f2f2f2", linewidth=0)
    if metric == "rmse":
        axes.set_ylim(bottom=0)
    names = ", ".join(map(method_label, in_order(days["method"])))
    return finish(axes, f"cycle_{metric}", f"{label} of temperature over days: {names}")


def _mean_temperature(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["variable"] == "temperature") & (rows["level"] == "mean")]
