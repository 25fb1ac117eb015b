"""Scores by region: where on the globe a method is good."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd

from slams.config.schema import ReportConfig
from slams.report.display import display_units
from slams.report.formatting import capitalised, number
from slams.report.reading import AssimilationRun, lookup
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import (
    in_order,
    method_style,
    quantity,
    region_label,
    variable_label,
)
from slams.report.tables import estimate_cell, table

__all__ = ["regional_scores", "variable_panel"]

# Metric: axis label, units of temperature, value of a perfect ensemble.
_METRICS: dict[str, tuple[str, str, float | None]] = {
    "rmse": ("RMSE", "K", None),
    "crps": ("CRPS", "K", None),
    "spread_skill": ("spread / skill", "", 1.0),
}


def regional_scores(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show the scores of temperature, mean over levels, in each region."""
    anchor, title = "regions", "Scores by region"
    if run.regions is None:
        return Section(anchor, title, missing=["No table of regions: no scores by region."])
    rows = run.regions[run.regions["variable"].eq("temperature") & run.regions["level"].eq("mean")]
    if rows.empty:
        return Section(anchor, title, missing=["The table of regions has no temperature."])
    panels = [_panel(rows, metric, options.dpi) for metric in _METRICS]
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "Temperature, mean over levels, with 95 % intervals over dates. The belts are those "
            "of the WMO's standard scores (tropics: 20° S to 20° N); they share the globe, as do "
            "land and sea. Weather varies less in the tropics, so that errors are smaller there "
            "for every method: compare methods within a region, and spread with error."
        ),
        panels=panels,
        findings=_findings(rows),
        tables=["<details><summary>The numbers</summary>" + "".join(_tables(rows)) + "</details>"],
    )


def variable_panel(
    run: AssimilationRun, variable: str, metric: str, dpi: int
) -> tuple[Panel, list[str]] | None:
    """Draw one metric of a variable with levels, mean over levels, by region.

    Returns:
        The panel, and one table per metric; `None` where the run has no such numbers.
    """
    if run.regions is None:
        return None
    rows = run.regions[run.regions["variable"].eq(variable) & run.regions["level"].eq("mean")]
    if rows.empty:
        return None
    return _panel(rows, metric, dpi, variable), _tables(rows, variable)


def _panel(rows: pd.DataFrame, metric: str, dpi: int, variable: str = "temperature") -> Panel:
    name, units, reference = _METRICS[metric]
    units = units and display_units(variable)
    own = rows[rows["metric"] == metric]
    methods, regions = in_order(own["method"]), list(dict.fromkeys(own["region"]))
    figure = new_figure(height=1.6 + 0.42 * len(regions))
    axes = figure.add_subplot()
    offsets = np.linspace(0.28, -0.28, len(methods)) if len(methods) > 1 else [0.0]
    for method, offset in zip(methods, offsets, strict=True):
        style = method_style(method)
        part = own[own["method"] == method].set_index("region").reindex(regions)
        position = np.arange(len(regions))[::-1] + offset
        value = part["value"].to_numpy(float)
        bounds = part[["lower", "upper"]].to_numpy(float).T
        axes.hlines(position, *bounds, color=style.colour, linewidth=1.2, alpha=0.7)
        axes.plot(
            value,
            position,
            style.marker,
            color=style.colour,
            label=style.label,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )
    for boundary in np.arange(len(regions) - 1) + 0.5:
        axes.axhline(boundary, color="#d9d9d9", linewidth=0.6)
    if reference is None:
        axes.set_xlim(left=0)
    else:
        axes.axvline(reference, color="#444444", linestyle="--", linewidth=1.0, zorder=1)
    axes.set_yticks(np.arange(len(regions))[::-1], [region_label(r) for r in regions])
    axes.set_ylim(-0.5, len(regions) - 0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(quantity(name, units))
    headline(figure, f"{capitalised(name)} by region")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"{capitalised(name)} of {variable_label(variable)} in {len(regions)} regions, by method"
    file = metric if variable == "temperature" else f"{variable}_{metric}"
    return render(figure, f"regions_{file}", alt, dpi)


def _tables(rows: pd.DataFrame, variable: str = "temperature") -> list[str]:
    tables = []
    methods = in_order(rows["method"])
    for metric, (name, units, _) in _METRICS.items():
        units = units and display_units(variable)
        lines = []
        for region in dict.fromkeys(rows["region"]):
            own = rows[rows["region"] == region]
            cells = [estimate_cell(lookup(own, method, metric, variable)) for method in methods]
            lines.append(
                [f'<th scope="row">{html.escape(capitalised(region_label(region)))}</th>', *cells]
            )
        labels = [method_style(method).label for method in methods]
        caption = f"{quantity(name, units)} of {variable_label(variable)} by region"
        file = metric if variable == "temperature" else f"{variable}-{metric}"
        tables.append(table(["region", *labels], lines, caption, f"table-regions-{file}"))
    return tables


def _findings(rows: pd.DataFrame) -> list[str]:
    found = []
    own = rows[rows["metric"].eq("spread_skill") & rows["region"].ne("global")]
    for method in in_order(own["method"]):
        part = own[own["method"] == method].dropna(subset=["value"]).reset_index()
        if part.empty:
            continue
        far = part.loc[(np.log(part["value"])).abs().idxmax()]
        found.append(
            f"{capitalised(method_style(method).label)}: spread / skill is furthest from 1 in the "
            f"region {region_label(far['region'])}, {number(float(far['value']))}."
        )
    return found
