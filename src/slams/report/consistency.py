"""Whether the assumed errors are right: Desroziers' estimates, and spread against departures."""

from __future__ import annotations

import html
import math

import pandas as pd

from slams.config.schema import ReportConfig
from slams.plugins.methods import Family, find_method
from slams.report.innovations import in_units, observation_heading
from slams.report.reading import AssimilationRun, Estimate, observed
from slams.report.section import Section
from slams.report.style import in_order, method_style
from slams.report.tables import estimate_cell, method_cell, table

__all__ = ["assimilates", "consistency", "root"]


def assimilates(method: str) -> bool:
    """Return whether a method, from whatever first guess, uses observations.

    Desroziers' relations estimate nothing for a method that does not.
    """
    spec, _ = find_method(method)
    return spec is None or spec.family is not Family.PRIOR


def root(estimate: Estimate | None) -> Estimate | None:
    """Return the square root of an estimated variance; `None` where it is negative."""
    if estimate is None or estimate.value < 0:
        return None
    bounds = (math.sqrt(max(b, 0.0)) for b in (estimate.lower, estimate.upper))
    lower, upper = (math.nan if math.isnan(b) else b for b in bounds)
    return Estimate(math.sqrt(estimate.value), lower, upper, estimate.n)


def consistency(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show assumed errors and those that the departures imply."""
    anchor, title = "consistency", "Assumed errors against the departures"
    space = run.observation_space
    if space is None or space.empty:
        return Section(anchor, title, missing=["No statistics in observation space."])
    whole = space[space["region"].eq("global") & space["use"].eq("assimilated")]
    whole = whole[whole["method"].map(assimilates).astype(bool)]
    if whole.empty:
        return Section(anchor, title, missing=["No method here assimilates observations."])
    rows = []
    findings = []
    for observation in dict.fromkeys(whole["observation"]):
        part = whole[whole["observation"] == observation]
        for method in in_order(part["method"]):
            own = part[part["method"] == method]
            name = f'<th scope="row">{html.escape(observation_heading(observation))}</th>'
            cells = [name, method_cell(method)]
            for statistic in _COLUMNS:
                estimate = observed(own, statistic)
                cells.append(estimate_cell(estimate if statistic == "chi2" else root(estimate)))
            rows.append(cells)
        findings += _findings(observation, part)
    return Section(
        anchor=anchor,
        title=title,
        findings=findings,
        caption=(
            "Standard deviations with 95 % intervals over dates. Where an analysis weights "
            "background and observations correctly, the products of the departures return the "
            "errors (Desroziers et al. 2005): √E[d(O-A) d(O-B)] the observation error assumed in "
            "R, √E[d(A-B) d(O-B)] the background error at the observed points, √E[d(A-B) d(O-A)] "
            "the analysis error there, which the ensemble's spread should equal. An estimate of "
            "√R below the assumed one says that the method draws closer to the observations than "
            "√R below the assumed one means that the method draws closer to the observations than "
            "their error allows, or that the assumed errors are too large overall (χ² below "
            "the mean of d(O-B)² over R + HBHᵀ point by point (diagonals only): 1 when the "
            "assumed errors are right, above 1 when they are too small."
        ),
        tables=[
            table(
                ["observation", "method", *_COLUMNS.values()],
                rows,
                "In the observations' units.",
                "table-consistency",
            )
        ],
    )


_COLUMNS = {
    "r_assumed": "√R assumed",
    "r_desroziers": "√R estimated",
    "hbh_assumed": "√HBHᵀ assumed",
    "hbh_desroziers": "√HBHᵀ estimated",
    "hah_ensemble": "spread of the analysis",
    "hah_desroziers": "√HAHᵀ estimated",
    "chi2": "O-B χ²",
}


def _findings(observation: str, part: pd.DataFrame) -> list[str]:
    found = []
    for method in in_order(part["method"]):
        own = part[part["method"] == method]
        assumed, estimated = (
            root(observed(own, f"r_{kind}")) for kind in ("assumed", "desroziers")
        )
        if assumed is None or estimated is None:
            continue
        found.append(
            f"{observation_heading(observation)}, {method_style(method).label}: the departures "
            f"imply an observation error of {in_units(estimated.value, observation)}, assumed is "
            f"{in_units(assumed.value, observation)}."
        )
    return found
