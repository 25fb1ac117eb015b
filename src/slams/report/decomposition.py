"""Contributions of the prior, the condition and the observations to an analysis.

The quality of an analysis has three sources: the *prior* (what it knows about states in general:
a Gaussian with localised covariances, a linear regression, a score model), the *condition* (that
the prior knows the background of the day) and the *observations*. Methods on several first
guesses separate them. Rows that differ in one of the three are compared on the same dates; no
comparison favours a method:

    condition     gain of the forecast made from the background over knowing nothing
    observations  gain of the same prior and condition by the observations
    prior         gain of the score model over a Gaussian that knows the same

The score model's own ensemble without observations comes from the setting that observes nothing,
where it was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from slams.plugins.methods import (
    FIRST_GUESSES,
    FirstGuessSpec,
    Knows,
    MethodSpec,
    Role,
    in_role,
)
from slams.report.drawing import draw_bar, finish, finish_bars, new_axes
from slams.report.formatting import capitalised, change, percent_range, signed_percent
from slams.report.labels import METRICS, metric_label
from slams.report.paired import Comparison, Sampling, by_date, compare, estimate
from slams.report.reading import AssimilationRun, Estimate, lookup
from slams.report.section import Panel, Section, new_section
from slams.report.style import method_label, method_style
from slams.report.tables import SCORES, Cell, table

__all__ = ["Row", "decomposition"]


@dataclass(frozen=True)
class Row:
    """What a method knows.

    Attributes:
        method: Name of the method; for a row of another run, followed by the difference.
        label: Its name in table and figure.
        prior: Its prior, in words.
        condition: Whether the prior knows the background.
        observed: Whether it uses the observations.
    """

    method: str
    label: str
    prior: str
    condition: bool
    observed: bool

    @property
    def knows(self) -> tuple[str, str]:
        """Return what the row knows about the day, in a word, and its colour."""
        return _KNOWLEDGE[self.condition, self.observed]


# Colours of Okabe and Ito, one per kind of knowledge: the background or not, observations or not.
_KNOWLEDGE = {
    (False, False): ("neither", "#999999"),
    (True, False): ("background", "#e69f00"),
    (False, True): ("observations", "#56b4e9"),
    (True, True): ("both", "#0072b2"),
}


@dataclass(frozen=True)
class _Ladder:
    """Methods that the rows are about, by their roles.

    Attributes:
        climatology: The prior that knows nothing about the day.
        background: The background that every method starts from.
        yardstick: The classical method.
        subject: The score model's analysis.
        nothing: The first guess that knows nothing.
        forecasts: The first guesses that are made from the background; the last of them by the
            subject's own network.
    """

    climatology: MethodSpec
    background: MethodSpec
    yardstick: MethodSpec
    subject: MethodSpec
    nothing: FirstGuessSpec
    forecasts: tuple[FirstGuessSpec, ...]

    @classmethod
    def of_methods(cls) -> _Ladder:
        guesses = sorted(FIRST_GUESSES.built_in(), key=lambda guess: guess.order)
        roles = (Role.CLIMATOLOGY, Role.BACKGROUND, Role.YARDSTICK, Role.SUBJECT)
        return cls(
            *map(in_role, roles),
            next(guess for guess in guesses if guess.knows is Knows.NOTHING),
            tuple(guess for guess in guesses if guess.knows is Knows.BACKGROUND),
        )

    @property
    def unguided(self) -> str:
        """Return the name of a row of another run: the score model where nothing is observed."""
        return f"{self.subject.name}, nothing observed"

    @property
    def starts(self) -> list[tuple[str, str, str]]:
        """Return what an analysis of the day starts from: suffix of the method, label, prior."""
        guesses = [(f"@{guess.name}", guess.label, guess.prior) for guess in self.forecasts]
        return [("", self.background.label, self.background.prior), *guesses]

    def rows(self) -> list[Row]:
        """Return what each row knows, from nothing to everything."""
        blind, yardstick, subject = self.nothing, self.yardstick, self.subject
        name, prior, label = yardstick.name, yardstick.prior, f"{yardstick.short} on"
        known = self.background.name
        return [
            _row(self.climatology.name, self.climatology.prior, False, False),
            *(_row(f"{known}{at}", start, True, False) for at, _, start in self.starts),
            Row(self.unguided, "score ensemble", subject.prior, True, False),
            Row(f"{name}@{blind.name}", f"{label} {blind.label}", prior, False, True),
            *(
                Row(f"{name}{at}", f"{label} {start}", f"{start_prior}, {prior}", True, True)
                for at, start, start_prior in self.starts
            ),
            _row(f"{subject.name}@{blind.name}", subject.prior, False, True),
            _row(subject.name, subject.prior, True, True),
        ]

    def steps(self) -> list[tuple[str, str, str]]:
        """Return the source of each gain, the row, and the row it is compared with."""
        subject, blind = self.subject.name, self.nothing.name
        known, guided = (
            [f"{spec.name}{at}" for at, _, _ in self.starts]
            for spec in (self.background, self.yardstick)
        )
        return [
            *(("condition", this, other) for other, this in pairwise(known)),
            ("condition", subject, f"{subject}@{blind}"),
            *(("observations", *pair) for pair in zip(guided, known, strict=True)),
            ("observations", subject, known[-1]),
            ("observations", subject, self.unguided),
            ("prior", f"{subject}@{blind}", f"{self.yardstick.name}@{blind}"),
            *(("prior", subject, other) for other in guided),
        ]


def _row(method: str, prior: str, condition: bool, observed: bool) -> Row:
    return Row(method, method_label(method), prior, condition, observed)


@dataclass(frozen=True)
class _Step:
    """A comparison of two rows by RMSE and CRPS."""

    brought: str
    this: Row
    other: Row
    rmse: Comparison
    crps: Comparison | None


def decomposition(runs: Sequence[AssimilationRun]) -> Section | None:
    """Separate the contributions of prior, condition and observations.

    Args:
        runs: The assimilation runs; the first is the one that the report is about.

    Returns:
        The section, or `None` where no method was run on a first guess.
    """
    first = runs[0]
    if first.results is None or not any("@" in method for method in first.methods):
        return None
    ladder = _Ladder.of_methods()
    sources = {method: (first, method) for method in first.methods}
    blind = next((r for r in runs if r.modalities == () and r.cases is not None), None)
    if blind is not None and _same_dates(first, blind, ladder.subject.name):
        sources[ladder.unguided] = (blind, ladder.subject.name)
    scores = {
        row: {metric: _score(*sources[row.method], metric) for metric in SCORES}
        for row in ladder.rows()
        if row.method in sources
    }
    scores = {row: found for row, found in scores.items() if found["rmse"] is not None}
    steps = _steps(ladder, sources, first)
    section = new_section("decomposition")
    section.panels = [_bars(scores, metric) for metric in ("rmse", "crps")]
    # How the score model's analysis differs from its own forecast stays in the table.
    forecast = f"{ladder.background.name}@{ladder.forecasts[-1].name}"
    for step in steps:
        if (step.this.method, step.other.method) != (ladder.subject.name, forecast):
            subject = f"{capitalised(step.brought)}: the RMSE of {step.this.label}"
            section.findings.append(change(subject, step.rmse, f"that of {step.other.label}"))
    section.tables.append(_table(scores))
    if steps:
        section.tables.append(_step_table(steps))
    return section


def _same_dates(first: AssimilationRun, other: AssimilationRun, method: str) -> bool:
    if first.cases is None or method not in set(other.cases["method"]):
        return False
    return set(first.cases["date"]) == set(other.cases["date"])


def _score(run: AssimilationRun, method: str, metric: str) -> Estimate | None:
    known = lookup(run.results, method, metric)
    if known is not None or run.cases is None or metric == "spread_skill":
        return known
    series = by_date(run.cases, method, metric)
    return None if series.empty else estimate(series, metric, Sampling.of(run.config))


def _steps(
    ladder: _Ladder, sources: dict[str, tuple[AssimilationRun, str]], first: AssimilationRun
) -> list[_Step]:
    """Compare the pairs of rows that were run."""
    named = {row.method: row for row in ladder.rows()}
    found = []
    for brought, this, other in ladder.steps():
        pair = [sources.get(name) for name in (this, other)]
        if any(source is None or source[0].cases is None for source in pair):
            continue
        rmse, crps = (
            compare(
                *(by_date(run.cases, name, metric) for run, name in pair),
                metric,
                Sampling.of(first.config),
            )
            for metric in ("rmse", "crps")
        )
        if rmse is not None:
            found.append(_Step(brought, named[this], named[other], rmse, crps))
    return found


def _table(scores: Mapping[Row, Mapping[str, Estimate | None]]) -> str:
    rows = [
        [
            Cell(row.label, colour=method_style(row.method.partition(",")[0]).colour),
            row.prior,
            "background" if row.condition else "–",
            "all" if row.observed else "–",
            *found.values(),
        ]
        for row, found in scores.items()
    ]
    headings = ["method", "prior", "condition", "observations", *map(metric_label, SCORES)]
    caption = "Temperature, mean over levels; small: 95 % interval over dates."
    return table(headings, rows, caption, "table-decomposition")


def _step_table(steps: Sequence[_Step]) -> str:
    rows = [
        [
            step.brought,
            step.this.label,
            step.other.label,
            _change_cell(step.rmse),
            _change_cell(step.crps),
            f"{step.rmse.better} of {step.rmse.dates}",
        ]
        for step in steps
    ]
    headings = ["what brought it", "with it", "without it", "RMSE", "CRPS"]
    headings.append("dates with smaller RMSE")
    caption = "Paired differences relative to the row without it: negative is better."
    return table(headings, rows, caption, "table-decomposition-steps")


def _change_cell(comparison: Comparison | None) -> Cell | None:
    if comparison is None:
        return None
    span = f"{' to '.join(map(signed_percent, comparison.bounds))} %"
    if not np.isfinite(comparison.bounds).all():
        span = percent_range(comparison)
    text = f"{signed_percent(comparison.relative)} %"
    return Cell(text, 100 * comparison.relative, span)


def _bars(scores: Mapping[Row, Mapping[str, Estimate | None]], metric: str) -> Panel:
    name = METRICS[metric].name
    title = f"{name} of temperature by what is known about the day"
    axes = new_axes(title, 1.3 + 0.29 * len(scores), metric_label(metric), width=5.2)
    tops = [
        draw_bar(axes, position, found[metric], 0.72, row.knows[1])
        for position, (row, found) in enumerate(scores.items())
        if found[metric] is not None
    ]
    for word, colour in dict.fromkeys(row.knows for row in scores):
        axes.barh(np.nan, 0, color=colour, label=word)
    labels = [row.label for row in scores]
    finish_bars(axes, labels, 1.18 * (max(tops, default=0.0) or 1.0))
    alt = f"Bars of {name}: {'; '.join(labels)}"
    return finish(axes, f"decomposition_{metric}", alt, columns=4)
