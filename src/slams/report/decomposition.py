"""What the prior, the condition and the observations each bring.

An analysis owes its quality to three things: the *prior* (what it knows of states in general: a
Gaussian with localised covariances, a linear regression, a score model), the *condition* (that
the prior knows the background of the day) and the *observations*. Methods on several first
guesses take them apart. Rows that differ in one of the three are compared on the same dates; no
row is fairer to one method than to another:

    condition     how much the forecast made of the background gains over knowing nothing
    observations  how much the same prior and condition gain by the observations
    prior         how much the score model gains over a Gaussian that knows the same

The score model's own ensemble without observations comes from the setting that observes nothing,
where it was run.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slams.config.schema import ReportConfig
from slams.report.bars import draw_bar
from slams.report.exhibit import Exhibit, Panel, headline, new_figure, render
from slams.report.paired import Comparison, Sampling, by_date, compare, estimate
from slams.report.reading import AssimilationRun, Estimate, lookup
from slams.report.style import method_style
from slams.report.tables import estimate_cell, table
from slams.report.wording import capitalised, change, percent_range

__all__ = ["Row", "decomposition"]

# A row of another run: the score model's ensemble where nothing is observed.
_UNGUIDED = "latent_diffusion, nothing observed"


@dataclass(frozen=True)
class Row:
    """Says what a method knows.

    Attributes:
        method: Name of the method, or `_UNGUIDED`.
        label: Its name in table and figure.
        prior: Its prior, in words.
        condition: Whether the prior knows the background.
        observed: Whether it sees the observations.
    """

    method: str
    label: str
    prior: str
    condition: bool
    observed: bool


_GAUSSIAN, _LINEAR, _SCORE = "Gaussian", "linear regression", "score model"
_ROWS = (
    Row("climatology", "climatology", _GAUSSIAN, False, False),
    Row("background", "background", "persistence", True, False),
    Row("background@linear_inverse_model", "linear inverse model", _LINEAR, True, False),
    Row("background@score_mean", "score mean", _SCORE, True, False),
    Row(_UNGUIDED, "score ensemble", _SCORE, True, False),
    Row("optimal_interpolation@climatology", "OI on climatology", _GAUSSIAN, False, True),
    Row("optimal_interpolation", "OI on background", "persistence, Gaussian", True, True),
    Row(
        "optimal_interpolation@linear_inverse_model",
        "OI on linear inverse model",
        f"{_LINEAR}, Gaussian",
        True,
        True,
    ),
    Row("optimal_interpolation@score_mean", "OI on score mean", f"{_SCORE}, Gaussian", True, True),
    Row(
        "latent_diffusion@climatology",
        "latent diffusion without background",
        _SCORE,
        False,
        True,
    ),
    Row("latent_diffusion", "latent diffusion", _SCORE, True, True),
)

# What brought it; the row in question; the one it is compared with.
_STEPS = (
    ("condition", "background@linear_inverse_model", "background"),
    ("condition", "background@score_mean", "background@linear_inverse_model"),
    ("condition", "latent_diffusion", "latent_diffusion@climatology"),
    ("observations", "optimal_interpolation", "background"),
    (
        "observations",
        "optimal_interpolation@linear_inverse_model",
        "background@linear_inverse_model",
    ),
    ("observations", "optimal_interpolation@score_mean", "background@score_mean"),
    ("observations", "latent_diffusion", "background@score_mean"),
    ("observations", "latent_diffusion", _UNGUIDED),
    ("prior", "latent_diffusion@climatology", "optimal_interpolation@climatology"),
    ("prior", "latent_diffusion", "optimal_interpolation"),
    ("prior", "latent_diffusion", "optimal_interpolation@linear_inverse_model"),
    ("prior", "latent_diffusion", "optimal_interpolation@score_mean"),
)
# Colours of Okabe and Ito, one a kind of knowledge.
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


def decomposition(runs: Sequence[AssimilationRun], options: ReportConfig) -> Exhibit | None:
    """Takes apart what prior, condition and observations bring.

    Args:
        runs: The assimilation runs, the one that the report is about first.
        options: Resolution of the figure.

    Returns:
        The exhibit, or `None` where no method was run on a first guess.
    """
    first = runs[0]
    if first.results is None or not any("@" in method for method in first.methods):
        return None
    sources = {method: (first, method) for method in first.methods}
    blind = next((r for r in runs if r.modalities == () and r.cases is not None), None)
    if blind is not None and _same_dates(first, blind):
        sources[_UNGUIDED] = (blind, "latent_diffusion")
    rows = [row for row in _ROWS if row.method in sources]
    scores = {
        (row.method, metric): _score(*sources[row.method], metric)
        for row in rows
        for metric in ("rmse", "crps", "spread_skill")
    }
    rows = [row for row in rows if scores[row.method, "rmse"] is not None]
    steps = _steps(sources, first)
    panels = [_bars(rows, scores, metric, options.dpi) for metric in ("rmse", "crps")]
    return Exhibit(
        anchor="decomposition",
        title="What prior, condition and observations each bring",
        reading=(
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
    """Holds a comparison of two rows by RMSE and CRPS."""

    brought: str
    this: Row
    other: Row
    rmse: Comparison
    crps: Comparison | None
    told: bool


def _same_dates(first: AssimilationRun, other: AssimilationRun) -> bool:
    if first.cases is None or "latent_diffusion" not in set(other.cases["method"]):
        return False
    return set(first.cases["date"]) == set(other.cases["date"])


def _score(run: AssimilationRun, method: str, metric: str) -> Estimate | None:
    known = lookup(run.results, method, metric)
    if known is not None or run.cases is None or metric == "spread_skill":
        return known
    series = by_date(run.cases, method, metric)
    return None if series.empty else estimate(series, metric, Sampling.of(run))


def _steps(sources: dict[str, tuple[AssimilationRun, str]], first: AssimilationRun) -> list[_Step]:
    """Compares the pairs of rows that were run; those of the leading ladder become sentences."""
    named = {row.method: row for row in _ROWS}
    found = []
    for brought, this, other in _STEPS:
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
            told = not (this == "latent_diffusion" and other == "background@score_mean")
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
        "Paired differences, a share of the row without it: negative is better.",
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
    headline(figure, f"{name} of temperature by what is known of the day")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    alt = f"Bars of {name}: {'; '.join(row.label for row in rows)}"
    return render(figure, f"decomposition_{metric}", alt, dpi)
