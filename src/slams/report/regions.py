"""Scores by region: where on the globe a method is good."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slams.report.drawing import REFERENCE, finish, new_axes
from slams.report.formatting import capitalised, number
from slams.report.labels import METRICS, metric_label, region_label, variable_label
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import by_method, in_order, method_label, method_style
from slams.report.tables import SCORES, folded, score_table

__all__ = ["regional_scores", "variable_panel"]


def regional_scores(run: AssimilationRun) -> Section:
    """Show the scores of temperature, mean over levels, in each region."""
    section = new_section("regions")
    if run.regions is None:
        return section.without("No table of regions: no scores by region.")
    rows = _mean_rows(run.regions, "temperature")
    if rows.empty:
        return section.without("The table of regions has no temperature.")
    section.panels = [_panel(rows, metric, "temperature") for metric in SCORES]
    section.tables.append(folded("The numbers", _tables(rows, "temperature")))
    own = rows[rows["metric"].eq("spread_skill") & rows["region"].ne("global")]
    for method, part in by_method(own.dropna(subset=["value"]).reset_index()):
        # A method without spread has a ratio of 0.
        far = part.loc[np.log(part["value"].clip(lower=1e-9)).abs().idxmax()]
        section.findings.append(
            f"{capitalised(method_label(method))}: spread / skill is furthest from 1 in the "
            f"region {region_label(far['region'])}, {number(float(far['value']))}."
        )
    return section


def variable_panel(
    run: AssimilationRun, variable: str, metric: str
) -> tuple[list[Panel], list[str]]:
    """Draw one metric of a variable with levels, mean over levels, by region.

    Returns:
        The panel, and one table per metric; nothing where the run has no such numbers.
    """
    rows = None if run.regions is None else _mean_rows(run.regions, variable)
    if rows is None or rows.empty:
        return [], []
    return [_panel(rows, metric, variable)], _tables(rows, variable)


def _mean_rows(regions: pd.DataFrame, variable: str) -> pd.DataFrame:
    return regions[regions["variable"].eq(variable) & regions["level"].eq("mean")]


def _panel(rows: pd.DataFrame, metric: str, variable: str) -> Panel:
    name, reference = capitalised(METRICS[metric].name), METRICS[metric].perfect
    own = rows[rows["metric"] == metric]
    regions = list(dict.fromkeys(own["region"]))
    places, count = np.arange(len(regions))[::-1], own["method"].nunique()
    label = metric_label(metric, variable)
    axes = new_axes(f"{name} by region", 1.6 + 0.42 * len(regions), label)
    offsets = np.linspace(0.28, -0.28, count) if count > 1 else [0.0]
    for (method, part), offset in zip(by_method(own), offsets, strict=True):
        style, part = method_style(method), part.set_index("region").reindex(regions)
        bounds = part[["lower", "upper"]].to_numpy(float).T
        axes.hlines(places + offset, *bounds, color=style.colour, linewidth=1.2, alpha=0.7)
        look = style.points(0.5) | {"linestyle": "none"}
        axes.plot(part["value"].to_numpy(float), places + offset, **look)
    for boundary in np.arange(len(regions) - 1) + 0.5:
        axes.axhline(boundary, color="#d9d9d9", linewidth=0.6)
    if reference is None:
        axes.set_xlim(left=0)
    else:
        axes.axvline(reference, zorder=1, **REFERENCE)
    axes.set_yticks(places, [region_label(region) for region in regions])
    axes.set_ylim(-0.5, len(regions) - 0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    alt = f"{name} of {variable_label(variable)} in {len(regions)} regions, by method"
    file = metric if variable == "temperature" else f"{variable}_{metric}"
    return finish(axes, f"regions_{file}", alt)


def _tables(rows: pd.DataFrame, variable: str) -> list[str]:
    parts = {
        capitalised(region_label(region)): (own, "mean")
        for region, own in rows.groupby("region", sort=False)
    }
    methods = in_order(rows["method"])
    return [score_table(metric, variable, methods, parts, "region") for metric in SCORES]
