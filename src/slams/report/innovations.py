"""Observation space: observations minus background and analysis, and whether errors are right."""

from __future__ import annotations

import math

import pandas as pd

from slams.report.drawing import REFERENCE, finish, new_axes
from slams.report.labels import quantity
from slams.report.observation_space import Observation, assimilates, parts, root, statistic_rows
from slams.report.reading import AssimilationRun, config_value, observed
from slams.report.section import Panel, Section, new_section
from slams.report.style import by_method, in_order, method_label, method_style
from slams.report.tables import Cell, folded, method_cell, number_cell, table

__all__ = ["consistency", "innovations", "observation_error"]

_DEPARTURES = {
    "o_minus_b_mean": "O-B mean",
    "o_minus_b_sd": "O-B sd",
    "o_minus_a_mean": "O-A mean",
    "o_minus_a_sd": "O-A sd",
}
_ERRORS = {
    "r_assumed": "√R assumed",
    "r_desroziers": "√R estimated",
    "hbh_assumed": "√HBHᵀ assumed",
    "hbh_desroziers": "√HBHᵀ estimated",
    "hah_ensemble": "spread of the analysis",
    "hah_desroziers": "√HAHᵀ estimated",
    "chi2": "O-B χ²",
}


def observation_error(run: AssimilationRun, observation: str) -> float | None:
    """Return the standard deviation of an observation's error in the recipe (channel units)."""
    modality, _, channel = observation.partition("/")
    if modality == "satellite":
        error = config_value(run.config, "observations.satellite.error")
        return None if error is None else float(error)
    measured = config_value(run.config, "observations.stations.variables", [])
    for entry in measured if modality == "stations" else ():
        if entry.get("channel") == channel:
            return math.hypot(
                float(entry.get("error", 0.0)), float(entry.get("representativeness", 0.0))
            )
    return None


def innovations(run: AssimilationRun) -> Section:
    """Show how far the observations are from background and analysis, by kind."""
    section = new_section("innovations")
    if run.innovations is None or run.innovations.empty:
        return section.without(
            "Nothing was observed in this setting: no O-B and O-A."
            if run.modalities == ()
            else "No table of observations: no O-B and O-A."
        )
    rows = []
    for name, part in run.innovations.groupby("observation", sort=True):
        observation = Observation(str(name))
        section.panels.append(_panel(run, observation, part))
        rows += _rows(observation, part)
    headings = ["observation", "method", *_DEPARTURES.values(), "n"]
    if "chi2" in run.innovations:
        headings.append("O-B χ²")
    caption = "O-B and O-A in the observations' units."
    section.tables.append(table(headings, rows, caption, "table-innovations"))
    space = run.observation_space
    if space is not None:
        space = space[space["use"].eq("assimilated") & space["region"].ne("global")]
        rows = statistic_rows(space, list(_DEPARTURES), regions=True)
    if space is not None and rows:
        headings = ["observation", "region", "method", *_DEPARTURES.values(), "n"]
        caption = "O-B and O-A by region, with 95 % intervals over dates."
        regions = table(headings, rows, caption, "table-innovations-regions")
        section.tables.append(folded("By region", [regions]))
    return section


def _rows(observation: Observation, part: pd.DataFrame) -> list[list[str | Cell]]:
    rows = []
    for method, own in by_method(part):
        own = own.drop_duplicates("quantity").set_index("quantity")
        own = own.reindex(["o_minus_b", "o_minus_a"])
        cells = [number_cell(own.loc[q, column]) for q in own.index for column in ("mean", "sd")]
        row = [observation.label, method_cell(method), *cells, f"{int(own['n'].max()):,}"]
        rows.append([*row, number_cell(own["chi2"].iloc[0])] if "chi2" in own else row)
    return rows


def _panel(run: AssimilationRun, observation: Observation, part: pd.DataFrame) -> Panel:
    values = part.pivot_table(index="method", columns="quantity", values="sd", aggfunc="first")
    values = values.reindex(index=in_order(values.index)[::-1], columns=["o_minus_b", "o_minus_a"])
    label = quantity("standard deviation", observation.units)
    axes = new_axes(observation.heading, 1.5 + 0.34 * len(values), label)
    for position, (method, before, after) in enumerate(values.itertuples()):
        style = method_style(method)
        arrow = {"arrowstyle": "->", "lw": 1.4, "shrinkA": 4, "shrinkB": 4}
        arrow["color"] = style.colour
        axes.annotate("", (after, position), (before, position), arrowprops=arrow)
        axes.plot(before, position, style.marker, mfc="white", mec=style.colour, ms=6.5, mew=1.5)
        axes.plot(after, position, style.marker, color=style.colour, ms=6.5)
    error = observation_error(run, observation.name)
    if error is not None:
        axes.axvline(error, zorder=1, **REFERENCE)
        top, look = ("data", "axes fraction"), {"fontsize": 8, "va": "top", "color": "#444444"}
        text = "observation error"
        axes.annotate(text, (error, 1.0), (3, -1), top, textcoords="offset points", **look)
    axes.set_yticks(range(len(values)), [method_label(method) for method in values.index])
    axes.set_ylim(-0.6, len(values) - 0.1)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    alt = f"Standard deviation of O-B and O-A for {observation.name}, by method"
    return finish(axes, observation.file("innovations"), alt, columns=0)


def consistency(run: AssimilationRun) -> Section:
    """Show assumed errors and those that the departures imply (Desroziers et al. 2005)."""
    section = new_section("consistency")
    space = run.observation_space
    if space is None or space.empty:
        return section.without("No statistics in observation space.")
    space = space[space["region"].eq("global") & space["use"].eq("assimilated")]
    space = space[space["method"].map(assimilates).astype(bool)]
    if space.empty:
        return section.without("No method here assimilates observations.")
    for observation, method, own in parts(space):
        assumed, estimated = (
            root(observed(own, f"r_{kind}")) for kind in ("assumed", "desroziers")
        )
        if assumed is not None and estimated is not None:
            section.findings.append(
                f"{observation.heading}, {method_label(method)}: the departures "
                f"imply an observation error of {observation.in_units(estimated.value)}, assumed "
                f"is {observation.in_units(assumed.value)}."
            )
    rows, caption = statistic_rows(space, list(_ERRORS)), "In the observations' units."
    headings = ["observation", "method", *_ERRORS.values(), "n"]
    section.tables.append(table(headings, rows, caption, "table-consistency"))
    return section
