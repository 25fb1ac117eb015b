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

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from slams.config.schema import ReportConfig
from slams.plugins.methods import (
    FIRST_GUESSES,
    FirstGuessSpec,
    Knows,
    MethodSpec,
    Role,
    in_role,
)
from slams.report.bars import draw_bar
from slams.report.formatting import capitalised, change, percent_range
from slams.report.paired import Comparison, Sampling, by_date, compare, estimate
from slams.report.reading import AssimilationRun, Estimate, lookup
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import method_style
from slams.report.tables import estimate_cell, table

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
        return cls(
            *(
                in_role(role)
                for role in (Role.CLIMATOLOGY, Role.BACKGROUND, Role.YARDSTICK, Role.SUBJECT)
            ),
            next(guess for guess in guesses if guess.knows is Knows.NOTHING),
            tuple(guess for guess in guesses if guess.knows is Knows.BACKGROUND),
        )

    @property
    def unguided(self) -> str:
        """Return the name of a row of another run: the score model where nothing is observed."""
        return f"{self.subject.name}, nothing observed"

    def rows(self) -> list[Row]:
        """Return what each row knows, from nothing to everything."""
        blind, yardstick, subject = self.nothing, self.yardstick, self.subject
        rows = [_row(self.climatology.name, self.climatology.prior, False, False)]
        rows.append(_row(self.background.name, self.background.prior, True, False))
        for guess in self.forecasts:
            rows.append(_row(f"{self.background.name}@{guess.name}", guess.prior, True, False))
        rows.append(Row(self.unguided, "score ensemble", subject.prior, True, False))
        label = f"{yardstick.short} on {{}}".format
        name, prior = yardstick.name, yardstick.prior
        rows.append(Row(f"{name}@{blind.name}", label(blind.label), prior, False, True))
        both = f"{self.background.prior}, {prior}"
        rows.append(Row(name, label(self.background.label), both, True, True))
        for guess in self.forecasts:
            both = f"{guess.prior}, {prior}"
            rows.append(Row(f"{name}@{guess.name}", label(guess.label), both, True, True))
        rows.append(_row(f"{subject.name}@{blind.name}", subject.prior, False, True))
        rows.append(_row(subject.name, subject.prior, True, True))
        return rows

    def steps(self) -> list[tuple[str, str, str]]:
        """Return the source of each gain, the row, and the row it is compared with."""
        yardstick, subject = self.yardstick.name, self.subject.name
        background, blind = self.background.name, self.nothing.name
        guesses = [guess.name for guess in self.forecasts]
        known = [background, *(f"{background}@{guess}" for guess in guesses)]
        guided = [yardstick, *(f"{yardstick}@{guess}" for guess in guesses)]
        return [
            *(("condition", this, other) for other, this in pairwise(known)),
            ("condition", subject, f"{subject}@{blind}"),
            *(("observations", *pair) for pair in zip(guided, known, strict=True)),
            ("observations", subject, known[-1]),
            ("observations", subject, self.unguided),
            ("prior", f"{subject}@{blind}", f"{yardstick}@{blind}"),
            *(("prior", subject, other) for other in guided),
        ]


def _row(method: str, prior: str, condition: bool, observed: bool) -> Row:
    return Row(method, method_style(method).label, prior, condition, observed)


# Colours of Okabe and Ito, one per kind of knowledge.
_COLOURS = {
    (False, False): "#999999",
    (True, False): "#e69f00",
    (False, True): "#56b4e9",
    (True, True): "#0072b2",
}
_KINDS = {
    (False, False): "neither",
    (True, False): "background",
    (False, True): "observations",
    (True, True): "both",
}


def decomposition(runs: Sequence[AssimilationRun], options: ReportConfig) -> Section | None:
    """Separate the contributions of prior, condition and observations.

    Args:
        runs: The assimilation runs; the first is the one that the report is about.
        options: Resolution of the figure.

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
    rows = [row for row in ladder.rows() if row.method in sources]
    scores = {
        (row.method, metric): _score(*sources[row.method], metric)
        for row in rows
        for metric in ("rmse", "crps", "spread_skill")
    }
    rows = [row for row in rows if scores[row.method, "rmse"] is not None]
    steps = _steps(ladder, sources, first)
    panels = [_bars(rows, scores, metric, options.dpi) for metric in ("rmse", "crps")]
    return Section(
        anchor="decomposition",
        title="What prior, condition and observations each bring",
        caption=(
            "A score model conditioned on the background is also a learned forecast: comparing it "
            "with optimal interpolation (OI) on the raw background compares forecasts more than "
            "assimilation. Here OI also starts from nothing (the climatology), from a "
            "linear regression on the training days and from the score model's own mean. Rows "
            "that differ in one thing show what it brings; intervals are 95 % over dates, and the "
            "differences are paired by date."
        ),
        panels=panels,
        findings=[_sentence(step) for step in steps if step.told],
        tables=[_table(rows, scores), *([_step_table(steps)] if steps else [])],
    )


@dataclass(frozen=True)
class _Step:
    """A comparison of two rows by RMSE and CRPS."""

    brought: str
    this: Row
    other: Row
    rmse: Comparison
    crps: Comparison | None
    told: bool


def _same_dates(first: AssimilationRun, other: AssimilationRun, method: str) -> bool:
    if first.cases is None or method not in set(other.cases["method"]):
        return False
    return set(first.cases["date"]) == set(other.cases["date"])


def _score(run: AssimilationRun, method: str, metric: str) -> Estimate | None:
    known = lookup(run.results, method, metric)
    if known is not None or run.cases is None or metric == "spread_skill":
        return known
    series = by_date(run.cases, method, metric)
    return None if series.empty else estimate(series, metric, Sampling.of(run))


def _steps(
    ladder: _Ladder, sources: dict[str, tuple[AssimilationRun, str]], first: AssimilationRun
) -> list[_Step]:
    """Compare the pairs of rows that were run; the leading pairs are also stated in sentences."""
    named = {row.method: row for row in ladder.rows()}
    found = []
    for brought, this, other in ladder.steps():
        pair = [sources.get(name) for name in (this, other)]
        if any(source is None or source[0].cases is None for source in pair):
            continue
        compared = {
            metric: compare(
                *(by_date(run.cases, name, metric) for run, name in pair),
                metric,
                Sampling.of(first),
            )
            for metric in ("rmse", "crps")
        }
        if compared["rmse"] is not None:
            own_mean = f"{ladder.background.name}@{ladder.forecasts[-1].name}"
            told = not (this == ladder.subject.name and other == own_mean)
            found.append(
                _Step(brought, named[this], named[other], compared["rmse"], compared["crps"], told)
            )
    return found


def _sentence(step: _Step) -> str:
    subject = f"{capitalised(step.brought)}: the RMSE of {step.this.label}"
    return change(subject, step.rmse, f"that of {step.other.label}")


def _table(rows: Sequence[Row], scores: dict[tuple[str, str], Estimate | None]) -> str:
    cells = []
    for row in rows:
        style = method_style(row.method.partition(",")[0])
        dot = f'<span class="dot" style="background:{style.colour}"></span>'
        cells.append(
            [
                f'<th scope="row">{dot}{html.escape(row.label)}</th>',
                f"<td>{html.escape(row.prior)}</td>",
                f"<td>{'background' if row.condition else '–'}</td>",
                f"<td>{'all' if row.observed else '–'}</td>",
                *(
                    estimate_cell(scores[row.method, metric])
                    for metric in ("rmse", "crps", "spread_skill")
                ),
            ]
        )
    return table(
        [
            "method",
            "prior",
            "condition",
            "observations",
            "RMSE (K)",
            "CRPS (K)",
            "spread / skill",
        ],
        cells,
        "Temperature, mean over levels; small: 95 % interval over dates.",
        "table-decomposition",
    )


def _step_table(steps: Sequence[_Step]) -> str:
    def cell(comparison: Comparison | None) -> str:
        if comparison is None:
            return "<td>–</td>"
        percent = 100 * comparison.relative
        text = f"{percent:+.1f} %".replace("-", "−")
        low, high = (f"{100 * b:+.1f}" for b in (comparison.lower, comparison.upper))
        span = f"{low} to {high} %".replace("-", "−")
        if not np.isfinite([comparison.lower, comparison.upper]).all():
            span = percent_range(comparison)
        return f'<td data-value="{percent!r}">{text}<span class="interval">{span}</span></td>'

    rows = [
        [
            f'<th scope="row">{html.escape(step.brought)}</th>',
            f"<td>{html.escape(step.this.label)}</td>",
            f"<td>{html.escape(step.other.label)}</td>",
            cell(step.rmse),
            cell(step.crps),
            f"<td>{step.rmse.better} of {step.rmse.dates}</td>",
        ]
        for step in steps
    ]
    return table(
        ["what brought it", "with it", "without it", "RMSE", "CRPS", "dates with smaller RMSE"],
        rows,
        "Paired differences relative to the row without it: negative is better.",
        "table-decomposition-steps",
    )


def _bars(
    rows: Sequence[Row],
    scores: dict[tuple[str, str], Estimate | None],
    metric: str,
    dpi: int,
) -> Panel:
    name = metric.upper()
    figure = new_figure(width=5.2, height=1.3 + 0.29 * len(rows))
    axes = figure.add_subplot()
    top = 0.0
    for position, row in enumerate(rows):
        score = scores[row.method, metric]
        if score is None:
            continue
        colour = _COLOURS[row.condition, row.observed]
        top = max(top, draw_bar(axes, position, score, 0.72, colour))
    for kind in dict.fromkeys((row.condition, row.observed) for row in rows):
        axes.barh(np.nan, 0, color=_COLOURS[kind], label=_KINDS[kind])
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.18 * (top or 1.0))
    axes.set_xlabel(f"{name} (K)")
    headline(figure, f"{name} of temperature by what is known about the day")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    alt = f"Bars of {name}: {'; '.join(row.label for row in rows)}"
    return render(figure, f"decomposition_{metric}", alt, dpi)
