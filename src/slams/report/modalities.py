"""Contribution of each kind of observation: the same checkpoints, different observations.

Settings may have been verified on different numbers of dates. They are then compared on the
dates that all of them have, scored again from the table of cases; where these are too few, each
keeps its own scores and the report states that they are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from slams.plugins.methods import Role, in_role
from slams.report.formatting import change
from slams.report.labels import metric_label
from slams.report.mapdata import leading
from slams.report.paired import Sampling, by_date, compare
from slams.report.reading import AssimilationRun
from slams.report.section import Section, new_section
from slams.report.setting_scores import SettingScores, bars, level_lines
from slams.report.style import in_order, method_label
from slams.report.tables import table

__all__ = ["modality_study", "setting_labels"]


def setting_labels(runs: Sequence[AssimilationRun]) -> list[str]:
    """Return labels of settings: what they observe, and their own name where that is ambiguous."""
    labels = []
    for run in runs:
        use = run.modalities
        labels.append(run.setting if use is None else " + ".join(use) or "no observations")
    return [
        label if labels.count(label) == 1 else f"{run.setting} ({label})"
        for run, label in zip(runs, labels, strict=True)
    ]


def modality_study(runs: Sequence[AssimilationRun]) -> Section:
    """Compare settings: table, bars and profiles, and the gain of each over no observations."""
    section = new_section("modalities")
    known = [run for run in runs if run.results is not None and not run.results.empty]
    if len(known) < 2:
        return section.without(
            "Only one setting of observations was run: nothing to compare. "
            "assimilation.modality_study is the number of dates on which every subset of the "
            "modalities is run."
        )
    known.sort(key=lambda run: (len(run.modalities or ()), run.setting))
    dates, section.missing = _common_dates(known)
    scores = [
        SettingScores(run, label, dates)
        for run, label in zip(known, setting_labels(known), strict=True)
    ]
    methods = in_order(m for run in known for m in run.methods)
    # These use no observations, and so do not differ between settings.
    blind = [in_role(role).name for role in (Role.CLIMATOLOGY, Role.BACKGROUND)]
    methods = [m for m in methods if m not in blind]
    if not methods:
        section.without("No method that uses observations was run.")
    drawn = [bars(scores, methods, metric) for metric in ("rmse", "crps")]
    method = leading(methods)
    if method is not None:
        drawn.append(level_lines(scores, method))
    section.panels = [panel for panel in drawn if panel is not None]
    section.findings = _findings(scores, methods)
    columns = [("background", "rmse"), *((m, k) for m in methods for k in ("rmse", "crps"))]
    headings = [f"{method_label(method)}: {metric_label(metric)}" for method, metric in columns]
    rows = [[s.label, *(s.overall(*column) for column in columns)] for s in scores]
    caption = "Temperature, mean over levels, by setting."
    section.tables.append(table(["observed", *headings], rows, caption, "table-modalities"))
    return section


def _common_dates(runs: list[AssimilationRun]) -> tuple[pd.Index | None, list[str]]:
    """Return the dates to compare on, and notes about them."""
    if any(run.cases is None for run in runs):
        return None, ["A setting has no table of cases: its dates may differ from the others'."]
    sets = [set(run.cases["date"]) for run in runs]
    common = set.intersection(*sets)
    if all(dates == common for dates in sets):
        return None, []
    fewest = min(map(len, sets))
    if len(common) >= max(3, fewest / 2):
        return pd.Index(sorted(common)), [
            f"Settings were verified on {fewest} to {max(map(len, sets))} dates; they are "
            f"compared here on the {len(common)} dates that all of them share."
        ]
    return None, [
        f"Settings were verified on different dates and share only {len(common)} of them: the "
        "numbers below belong to each setting's own dates, and part of their differences is due "
        "to the dates."
    ]


def _findings(scores: list[SettingScores], methods: list[str]) -> list[str]:
    nothing = next((s.run for s in scores if s.run.modalities == ()), None)
    if nothing is None:
        return [
            "No setting without observations was run, so that the gain of each modality over "
            "none is unknown."
        ]
    compared = [in_role(role).name for role in (Role.SUBJECT, Role.YARDSTICK)]
    others = [s for s in scores if s.run is not nothing and s.run.cases is not None]
    sentences = []
    for method in (m for m in compared if m in methods and nothing.cases is not None):
        for setting in others:
            seen, none = (by_date(r.cases, method, "rmse") for r in (setting.run, nothing))
            comparison = compare(seen, none, "rmse", Sampling.of(setting.run.config))
            if comparison is not None and comparison.dates >= 3:
                words = setting.label.replace(" + ", " and ")
                subject = f"With {words}, the RMSE of {method_label(method)}"
                sentences.append(change(subject, comparison, "its RMSE without observations"))
    return sentences
