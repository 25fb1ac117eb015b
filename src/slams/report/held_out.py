"""Observations withheld from all methods: the only independent check of a real analysis."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd

from slams.config.schema import ReportConfig
from slams.metrics.observation_space import ASSIMILATED, HELD_OUT
from slams.report.consistency import assimilates, root
from slams.report.formatting import capitalised, number
from slams.report.innovations import in_units, observation_heading, observation_units
from slams.report.reading import AssimilationRun, observed
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import in_order, method_style, quantity
from slams.report.tables import estimate_cell, method_cell, table

__all__ = ["held_out", "observation_ranks"]

_COLUMNS = {
    "o_minus_a_mean": "O-A mean",
    "o_minus_a_sd": "O-A sd",
    "total_spread": "total spread",
    "crps": "CRPS",
}


def held_out(run: AssimilationRun, options: ReportConfig) -> Section:
    """Verify every method against the stations that were held out."""
    anchor, title = "held-out", "Held-out stations"
    space = run.observation_space
    rows = space if space is None else space[space["use"].eq("held_out")]
    if rows is None or rows.empty:
        reason = (
            "No station was held out: observations.stations.held_out keeps a share of them from "
            "every method, to verify the analyses."
        )
        return Section(anchor, title, missing=[reason])
    rows = rows[rows["region"].eq("global")]
    lines, findings = [], []
    for observation in dict.fromkeys(rows["observation"]):
        part = rows[rows["observation"] == observation]
        heading = observation_heading(observation)
        units = observation_units(observation)
        for method in in_order(part["method"]):
            own = part[part["method"] == method]
            cells = [
                f'<th scope="row">{html.escape(quantity(heading, units))}</th>',
                method_cell(method),
            ]
            for statistic in _COLUMNS:
                estimate = observed(own, statistic)
                cells.append(
                    estimate_cell(root(estimate) if statistic == "total_spread" else estimate)
                )
            lines.append([*cells, f"<td>{int(own['n'].max()):,}</td>"])
        scores = part[part["statistic"].eq("crps")].sort_values("value")
        if len(scores):
            best = scores.iloc[0]
            findings.append(
                f"{heading}: the smallest CRPS is that of {method_style(best['method']).label}, "
                f"{in_units(float(best['value']), observation)}."
            )
    return Section(
        anchor=anchor,
        title=title,
        findings=findings,
        caption=(
            "No method was given these stations. Their observations have errors, which count "
            "against every method equally: O-A cannot have a standard deviation below the "
            "observation error. Total spread is √(R + (1 + 1/M) s²), with s² the ensemble's "
            "variance at the station: it equals the root mean square of O-A for a reliable "
            "ensemble. CRPS is computed with the observation's error added to the members. "
            "Stations are where people live: they say little about oceans and poles."
        ),
        tables=[
            table(
                ["observation", "method", *_COLUMNS.values(), "n"],
                lines,
                "Observations that were held out, with 95 % intervals over dates.",
                "table-held-out",
            )
        ],
    )


def observation_ranks(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show where observations fall among members to which their error was added."""
    anchor, title = "observation-ranks", "Rank histograms at the observed points"
    ranks = run.observation_ranks
    if ranks is None or ranks.empty:
        return Section(anchor, title, missing=["No table of ranks at the observed points."])
    use = HELD_OUT if ranks["use"].eq(HELD_OUT).any() else ASSIMILATED
    rows = ranks[ranks["use"].eq(use)]
    missing = []
    if use == ASSIMILATED:
        # A method fits the observations it uses more closely than its spread implies.
        rows = rows[~rows["method"].map(assimilates).astype(bool)]
        missing.append(
            "No station was held out, so that only methods that assimilate nothing can be judged "
            "by observations."
        )
    panels, findings = [], []
    for observation in dict.fromkeys(rows["observation"]):
        part = rows[rows["observation"] == observation]
        if len(part):
            panels.append(_panel(observation, part, options.dpi))
        for method in in_order(part["method"]):
            own = part[part["method"] == method].sort_values("bin")
            share = own["weight"].to_numpy(float)
            chi2 = len(share) * float(np.square(share - 1 / len(share)).sum())
            findings.append(
                f"{observation_heading(observation)}, {method_style(method).label}: "
                f"{100 * (share[0] + share[-1]):.1f} % of {int(own['n'].iloc[0]):,} observations "
                f"lie outside all members ({100 * 2 / len(share):.1f} % expected); χ² is "
                f"{number(chi2)} per independent observation."
            )
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "As the rank histograms above, but for observations, which have errors: an error "
            "drawn from R was added to every member before ranking. Flat on the dashed "
            "line is ideal. χ² times the number of independent observations would follow a χ² "
            "distribution with M degrees of freedom; neighbours and days are not independent, so "
            "that the count of observations overstates that number by far: it measures "
            "flatness and tests nothing."
        ),
        panels=panels,
        findings=findings,
        missing=missing,
    )


def _panel(observation: str, part: pd.DataFrame, dpi: int) -> Panel:
    methods = in_order(part["method"])
    figure = new_figure(height=1.5 + 1.15 * len(methods))
    every = figure.subplots(len(methods), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, method in zip(every, methods, strict=True):
        style = method_style(method)
        share = part[part["method"] == method].sort_values("bin")["weight"].to_numpy(float)
        axes.bar(np.arange(len(share)), share * len(share), width=0.9, color=style.colour)
        axes.axhline(1.0, color="#444444", linestyle="--", linewidth=1.0)
        axes.set_title(style.label, fontsize=9, fontweight="normal", pad=3)
        axes.set_xlim(-0.7, len(share) - 0.3)
        axes.grid(axis="x", visible=False)
    every[-1].set_xlabel("rank of the observation among the members")
    figure.supylabel("observed / expected", fontsize=9.5)
    headline(figure, observation_heading(observation))
    name = "observation_ranks_" + "".join(c if c.isalnum() else "_" for c in observation)
    alt = f"Rank histograms of {capitalised(observation_heading(observation))} by method"
    return render(figure, name, alt, dpi)
