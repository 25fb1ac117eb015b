"""Observation space: observations minus background, and minus analysis."""

from __future__ import annotations

import html
import math

import pandas as pd

from slams.config.schema import ReportConfig
from slams.report.formatting import capitalised, number
from slams.report.reading import AssimilationRun, config_value, observed
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import (
    in_order,
    method_style,
    quantity,
    region_label,
    variable_label,
)
from slams.report.tables import estimate_cell, method_cell, table
from slams.variables import channel_units

__all__ = [
    "in_units",
    "innovations",
    "observation_error",
    "observation_heading",
    "observation_units",
]


def observation_error(run: AssimilationRun, observation: str) -> float | None:
    """Return the standard deviation of an observation's error in the recipe (channel units)."""
    modality, _, channel = observation.partition("/")
    if modality == "satellite":
        error = config_value(run.config, "observations.satellite.error")
        return None if error is None else float(error)
    if modality == "stations":
        for entry in config_value(run.config, "observations.stations.variables", []):
            if entry.get("channel") == channel:
                return math.hypot(
                    float(entry.get("error", 0.0)), float(entry.get("representativeness", 0.0))
                )
    return None


def innovations(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show how far the observations are from background and analysis, by kind."""
    anchor, title = "innovations", "Observations minus background, minus analysis"
    if run.innovations is None or run.innovations.empty:
        reason = (
            "Nothing was observed in this setting: no O-B and O-A."
            if run.modalities == ()
            else "No table of observations: no O-B and O-A."
        )
        return Section(anchor, title, missing=[reason])
    panels, rows = [], []
    for observation, part in run.innovations.groupby("observation", sort=True):
        panels.append(_panel(run, str(observation), part, options.dpi))
        rows += _rows(str(observation), part)
    headings = ["observation", "method", "O-B mean", "O-B sd", "O-A mean", "O-A sd", "n"]
    if "chi2" in run.innovations:
        headings.append("O-B χ²")
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "Standard deviation of observation minus background (hollow) and minus analysis "
            "(filled). The arrow from hollow to filled is how far a method draws to the "
            "observations; the dashed line is the observations' own error. An analysis that "
            "used an observation comes closer to it than that error; one far closer fits noise."
        ),
        panels=panels,
        tables=[
            table(headings, rows, "O-B and O-A in the observations' units.", "table-innovations"),
            *_region_table(run),
        ],
    )


def _region_table(run: AssimilationRun) -> list[str]:
    """Make the folded table of O-B and O-A by region, where the run has one."""
    space = run.observation_space
    if space is None:
        return []
    space = space[space["use"].eq("assimilated") & space["region"].ne("global")]
    columns = ("o_minus_b_mean", "o_minus_b_sd", "o_minus_a_mean", "o_minus_a_sd")
    rows = []
    for (observation, region), there in space.groupby(["observation", "region"], sort=False):
        for method in in_order(there["method"]):
            own = there[there["method"] == method]
            rows.append(
                [
                    f'<th scope="row">{html.escape(observation_heading(observation))}</th>',
                    f"<td>{html.escape(capitalised(region_label(region)))}</td>",
                    method_cell(method),
                    *(estimate_cell(observed(own, column)) for column in columns),
                    f"<td>{int(own['n'].max()):,}</td>",
                ]
            )
    if not rows:
        return []
    headings = ["observation", "region", "method", "O-B mean", "O-B sd", "O-A mean", "O-A sd", "n"]
    caption = "O-B and O-A by region, with 95 % intervals over dates."
    text = table(headings, rows, caption, "table-innovations-regions")
    return [f"<details><summary>By region</summary>{text}</details>"]


def observation_heading(observation: str) -> str:
    """Return an observation's name in words: `Stations: 2 m temperature`."""
    modality, _, channel = observation.partition("/")
    variable, _, level = channel.partition("@")
    name = f"{capitalised(modality)}: {variable_label(variable)}"
    return f"{name} {level} hPa" if level else name


def observation_units(observation: str) -> str:
    """Return the units of an observation, after the transform of its channel."""
    variable = observation.partition("/")[2].partition("@")[0]
    return channel_units(variable)


def in_units(value: float, observation: str) -> str:
    """Format a number with the units of an observation: `1.11 K`."""
    units = quantity("", observation_units(observation)).strip()
    return f"{number(value)} {units[1:-1]}" if units else number(value)


def _wide(part: pd.DataFrame, column: str) -> pd.DataFrame:
    return part.pivot_table(index="method", columns="quantity", values=column, aggfunc="first")


def _rows(observation: str, part: pd.DataFrame) -> list[list[str]]:
    tables = {column: _wide(part, column) for column in ("mean", "sd", "n")}
    rows = []
    for method in in_order(part["method"]):
        cells = [
            f'<th scope="row">{html.escape(observation_heading(observation))}</th>',
            method_cell(method),
        ]
        for departure in ("o_minus_b", "o_minus_a"):
            for column in ("mean", "sd"):
                value = float(tables[column].loc[method].get(departure, math.nan))
                cells.append(f'<td data-value="{value!r}">{number(value)}</td>')
        cells.append(f"<td>{int(tables['n'].loc[method].max()):,}</td>")
        if "chi2" in part:
            chi2 = float(_wide(part, "chi2").loc[method].get("o_minus_b", math.nan))
            cells.append(f'<td data-value="{chi2!r}">{number(chi2)}</td>')
        rows.append(cells)
    return rows


def _panel(run: AssimilationRun, observation: str, part: pd.DataFrame, dpi: int) -> Panel:
    values = _wide(part, "sd")
    methods = in_order(values.index)
    figure = new_figure(height=1.5 + 0.34 * len(methods))
    axes = figure.add_subplot()
    for position, method in enumerate(reversed(methods)):
        style = method_style(method)
        before = values.loc[method].get("o_minus_b", math.nan)
        after = values.loc[method].get("o_minus_a", math.nan)
        axes.annotate(
            "",
            xy=(after, position),
            xytext=(before, position),
            arrowprops={
                "arrowstyle": "->",
                "color": style.colour,
                "lw": 1.4,
                "shrinkA": 4,
                "shrinkB": 4,
            },
        )
        axes.plot(before, position, style.marker, mfc="white", mec=style.colour, ms=6.5, mew=1.5)
        axes.plot(after, position, style.marker, color=style.colour, ms=6.5)
    error = observation_error(run, observation)
    if error is not None:
        axes.axvline(error, color="#444444", linestyle="--", linewidth=1.0, zorder=1)
        axes.annotate(
            "observation error",
            (error, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -1),
            textcoords="offset points",
            fontsize=8,
            va="top",
            color="#444444",
        )
    axes.set_yticks(range(len(methods)), [method_style(m).label for m in reversed(methods)])
    axes.set_ylim(-0.6, len(methods) - 0.1)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(quantity("standard deviation", observation_units(observation)))
    headline(figure, observation_heading(observation))
    name = "innovations_" + "".join(c if c.isalnum() else "_" for c in observation)
    alt = f"Standard deviation of O-B and O-A for {observation}, by method"
    return render(figure, name, alt, dpi)
