"""Profiles by pressure: RMSE, CRPS, bias and spread-skill, one line per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from slams.report.drawing import REFERENCE, finish, new_axes
from slams.report.formatting import capitalised
from slams.report.labels import METRICS, metric_label, variable_label
from slams.report.reading import AssimilationRun, profile
from slams.report.section import Panel, Section, new_section
from slams.report.style import in_order, method_style
from slams.report.tables import folded, level_tables

__all__ = ["draw_method_profiles", "draw_profile", "metric_panel", "pressure_axis", "profiles"]


def pressure_axis(axes: Axes, pressures: Sequence[float]) -> None:
    """Make the vertical axis logarithmic in pressure, with the surface at the bottom."""
    axes.set_yscale("log")
    axes.set_yticks(sorted(set(pressures)))
    axes.set_yticks([], minor=True)
    # Labels of neighbouring levels must not touch: the lower level keeps its label.
    span = np.log(max(pressures) / min(pressures))
    labels, last = [], np.inf
    for pressure in sorted(set(pressures), reverse=True):
        near = np.log(last / pressure) < 0.045 * span
        labels.append("" if near else f"{pressure:g}")
        last = last if near else pressure
    axes.set_yticklabels(labels[::-1])
    margin = 1.06
    axes.set_ylim(max(pressures) * margin, min(pressures) / margin)
    axes.set_ylabel("pressure (hPa)")


def draw_profile(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw one profile with its 95 % interval as shading.

    Args:
        axes: Axes to draw on.
        rows: Columns pressure (hPa), value, lower, upper, from the surface up.
        look: Arguments of matplotlib for the line: colour, label, marker.
    """
    pressure = rows["pressure"].to_numpy(float)
    lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
    if np.isfinite(lower).any():
        axes.fill_betweenx(pressure, lower, upper, color=look["color"], alpha=0.16, linewidth=0)
    axes.plot(rows["value"], pressure, **look)


def draw_method_profiles(
    axes: Axes, results: pd.DataFrame, metric: str, variable: str = "temperature"
) -> list[str]:
    """Draw the profile of every method and the axis of pressure.

    Returns:
        Labels of the methods that were drawn; empty where there are none, and no axis either.
    """
    labels, pressures = [], set()
    for method in in_order(results["method"]):
        rows = profile(results, method, metric, variable)
        if not rows.empty:
            style = method_style(method)
            draw_profile(axes, rows, style.points())
            pressures |= set(rows["pressure"])
            labels.append(style.label)
    if labels:
        pressure_axis(axes, sorted(pressures))
        if metric in ("rmse", "crps"):
            axes.set_xlim(left=0)
    return labels


def profiles(run: AssimilationRun) -> Section:
    """Show the scores of each method at each level, for temperature."""
    section = new_section("profiles")
    if run.results is None:
        return section.without("No results table: no profiles.")
    for metric, known in METRICS.items():
        panel = metric_panel(run.results, metric)
        if panel is None:
            section.without(f"The results table has no {known.name} by level.")
        else:
            section.panels.append(panel)
    if section.panels:
        section.tables.append(folded("The numbers", level_tables(run, list(METRICS))))
    return section


def metric_panel(
    results: pd.DataFrame, metric: str, variable: str = "temperature"
) -> Panel | None:
    """Draw the profiles of one metric and variable, one line per method.

    Args:
        results: The table of results, in the units of `slams.report.display`.
        metric: One of `METRICS`.
        variable: A variable with levels.

    Returns:
        The panel, or `None` where the table has no such number.
    """
    known, label = METRICS[metric], variable_label(variable)
    title = f"{capitalised(known.name)} of {label}"
    axes = new_axes(title, 4.1, metric_label(metric, variable))
    drawn = draw_method_profiles(axes, results, metric, variable)
    if not drawn:
        return None
    if known.perfect is not None:
        axes.axvline(known.perfect, zorder=1, **REFERENCE)
    alt = f"Profile of the {known.name} of {label} by pressure for {', '.join(drawn)}"
    file = metric if variable == "temperature" else f"{variable}_{metric}"
    return finish(axes, f"profile_{file}", alt)
