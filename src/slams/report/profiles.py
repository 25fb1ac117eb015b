"""Profiles by pressure: RMSE, CRPS, bias and spread-skill, one line per method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from slams.config.schema import ReportConfig
from slams.report.display import display_units
from slams.report.formatting import capitalised
from slams.report.reading import AssimilationRun, profile
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import in_order, method_style, quantity, variable_label

__all__ = ["METRICS", "draw_profile", "metric_panel", "pressure_axis", "profiles"]

# Metric: axis label, units of temperature, reference line of a perfect ensemble.
METRICS: dict[str, tuple[str, str, float | None]] = {
    "rmse": ("RMSE", "K", None),
    "crps": ("CRPS", "K", None),
    "bias": ("bias", "K", 0.0),
    "spread_skill": ("spread / skill", "", 1.0),
}


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


def draw_profile(
    axes: Axes,
    rows: pd.DataFrame,
    colour: str,
    marker: str,
    label: str,
    linestyle: str = "-",
) -> None:
    """Draw one profile with its 95 % interval as shading.

    Args:
        axes: Axes to draw on.
        rows: Columns pressure (hPa), value, lower, upper, from the surface up.
        colour: Colour of line and shading.
        marker: Marker of the levels.
        label: Name in the legend.
        linestyle: Matplotlib line style.
    """
    pressure = rows["pressure"].to_numpy(float)
    lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
    if np.isfinite(lower).any():
        axes.fill_betweenx(pressure, lower, upper, color=colour, alpha=0.16, linewidth=0)
    axes.plot(
        rows["value"],
        pressure,
        color=colour,
        marker=marker,
        linestyle=linestyle,
        label=label,
        markeredgecolor="white",
        markeredgewidth=0.6,
    )


def profiles(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show the scores of each method at each level, for temperature."""
    anchor, title = "profiles", "Temperature by level"
    if run.results is None:
        return Section(anchor, title, missing=["No results table: no profiles."])
    panels = [
        panel
        for metric in METRICS
        if (panel := metric_panel(run.results, metric, options.dpi)) is not None
    ]
    missing = [
        f"The results table has no {METRICS[metric][0]} by level."
        for metric in METRICS
        if not any(panel.name == f"profile_{metric}" for panel in panels)
    ]
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "Each line is one method from the surface (bottom) to the stratosphere (top); "
            "shading is the 95 % interval over dates, and methods share their dates, so that "
            "overlapping shadings do not imply a tie. RMSE judges the ensemble mean and CRPS the "
            "whole ensemble: further left is better. Bias and spread / skill should follow the "
            "dashed line; spread / skill below 1 means an overconfident ensemble."
        ),
        panels=panels,
        missing=missing,
    )


def metric_panel(
    results: pd.DataFrame, metric: str, dpi: int, variable: str = "temperature"
) -> Panel | None:
    """Draw the profiles of one metric and variable, one line per method.

    Args:
        results: The table of results, in the units of `slams.report.display`.
        metric: One of `METRICS`.
        dpi: Dots per inch.
        variable: A variable with levels.

    Returns:
        The panel, or `None` where the table has no such number.
    """
    name, units, reference = METRICS[metric]
    units = units and display_units(variable)
    figure = new_figure(height=4.1)
    axes = figure.add_subplot()
    pressures: set[float] = set()
    drawn = []
    for method in in_order(results["method"]):
        rows = profile(results, method, metric, variable)
        if rows.empty:
            continue
        style = method_style(method)
        draw_profile(axes, rows, style.colour, style.marker, style.label)
        pressures |= set(rows["pressure"])
        drawn.append(style.label)
    if not drawn:
        return None
    pressure_axis(axes, sorted(pressures))
    if reference is not None:
        axes.axvline(reference, color="#444444", linestyle="--", linewidth=1.0, zorder=1)
    if metric in ("rmse", "crps"):
        axes.set_xlim(left=0)
    axes.set_xlabel(quantity(name, units))
    label = variable_label(variable)
    headline(figure, f"{capitalised(name)} of {label}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Profile of the {name} of {label} by pressure for {', '.join(drawn)}"
    file = metric if variable == "temperature" else f"{variable}_{metric}"
    return render(figure, f"profile_{file}", alt, dpi)
