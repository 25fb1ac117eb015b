"""Observations withheld from all methods: the only independent check of a real analysis."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slams.metrics.observation_space import ASSIMILATED, HELD_OUT
from slams.report.drawing import draw_ranks_by_method, render
from slams.report.formatting import capitalised, number
from slams.report.observation_space import Observation, assimilates, parts, statistic_rows
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import by_method, method_label
from slams.report.tables import table

__all__ = ["held_out", "observation_ranks"]

_COLUMNS = {
    "o_minus_a_mean": "O-A mean",
    "o_minus_a_sd": "O-A sd",
    "total_spread": "total spread",
    "crps": "CRPS",
}


def held_out(run: AssimilationRun) -> Section:
    """Verify every method against the stations that were held out."""
    section = new_section("held-out")
    rows = run.observation_space
    rows = None if rows is None else rows[rows["use"].eq("held_out")]
    if rows is None or rows.empty:
        return section.without(
            "No station was held out: observations.stations.held_out keeps a share of them from "
            "every method, to verify the analyses."
        )
    rows = rows[rows["region"].eq("global")]
    for name, part in rows[rows["statistic"].eq("crps")].groupby("observation", sort=False):
        best, observation = part.sort_values("value").iloc[0], Observation(str(name))
        section.findings.append(
            f"{observation.heading}: the smallest CRPS is that of "
            f"{method_label(best['method'])}, {observation.in_units(float(best['value']))}."
        )
    lines = statistic_rows(rows, list(_COLUMNS))
    headings = ["observation", "method", *_COLUMNS.values(), "n"]
    caption = "Observations that were held out, with 95 % intervals over dates."
    section.tables.append(table(headings, lines, caption, "table-held-out"))
    return section


def observation_ranks(run: AssimilationRun) -> Section:
    """Show where observations fall among members to which their error was added."""
    section = new_section("observation-ranks")
    ranks = run.observation_ranks
    if ranks is None or ranks.empty:
        return section.without("No table of ranks at the observed points.")
    use = HELD_OUT if ranks["use"].eq(HELD_OUT).any() else ASSIMILATED
    rows = ranks[ranks["use"].eq(use)]
    if use == ASSIMILATED:
        # A method fits the observations it uses more closely than its spread implies.
        rows = rows[~rows["method"].map(assimilates).astype(bool)]
        section.without(
            "No station was held out, so that only methods that assimilate nothing can be judged "
            "by observations."
        )
    for name, part in rows.groupby("observation", sort=False):
        section.panels.append(_panel(Observation(str(name)), part))
    for observation, method, own in parts(rows):
        share = own.sort_values("bin")["weight"].to_numpy(float)
        chi2 = len(share) * float(np.square(share - 1 / len(share)).sum())
        section.findings.append(
            f"{observation.heading}, {method_label(method)}: "
            f"{100 * (share[0] + share[-1]):.1f} % of {int(own['n'].iloc[0]):,} observations "
            f"lie outside all members ({100 * 2 / len(share):.1f} % expected); χ² is "
            f"{number(chi2)} per independent observation."
        )
    return section


def _panel(observation: Observation, part: pd.DataFrame) -> Panel:
    heading = observation.heading
    shares = {
        method: own.sort_values("bin")["weight"].to_numpy(float) for method, own in by_method(part)
    }
    figure = draw_ranks_by_method(heading, shares, "the observation")
    alt = f"Rank histograms of {capitalised(heading)} by method"
    return render(figure, observation.file("observation_ranks"), alt)
