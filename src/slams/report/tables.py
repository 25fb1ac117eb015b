"""Tables of the report as HTML, each number with its interval and, in its cell, every digit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from slams.report.best import best
from slams.report.display import display_units
from slams.report.formatting import capitalised, number
from slams.report.labels import METRICS, metric_label, quantity, variable_label
from slams.report.reading import AssimilationRun, Estimate, lookup, profile
from slams.report.section import template
from slams.report.style import in_order, method_label, method_style
from slams.variables import ON_LEVELS, UNITS

__all__ = [
    "SCORES",
    "Cell",
    "compared_cells",
    "estimate_cell",
    "folded",
    "key_table",
    "level_tables",
    "method_cell",
    "method_table",
    "number_cell",
    "other_tables",
    "score_table",
    "table",
]


# Metrics of an ensemble that tables and figures show side by side.
SCORES = ("rmse", "crps", "spread_skill")


@dataclass(frozen=True)
class Cell:
    """Cell of a table; all texts are plain.

    Attributes:
        text: What is shown.
        value: Number behind the text, kept with every digit.
        interval: Small text below.
        bold: Whether the text is bold.
        colour: Colour of a dot before the text.
        head: Whether it is a heading of its row, as the first cell of a row always is.
    """

    text: str
    value: float | None = None
    interval: str = ""
    bold: bool = False
    colour: str = ""
    head: bool = False


# Metrics of the table of methods, with their headings.
_METHOD_COLUMNS = {
    **{metric: metric_label(metric) for metric in METRICS},
    "rank_chi2": "rank χ²",
    "wasserstein": "Wasserstein (σ)",
    "divergent_members": "members redrawn",
    "seconds_per_member": "seconds per member",
}

_BOLD = (
    "Bold: the best of each column, as far as digits are shown: the smallest error or distance, "
    "the bias nearest to 0, the spread / skill nearest to 1."
)


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str | Cell | Estimate | None]],
    caption: str = "",
    identity: str = "",
    kind: str = "",
) -> str:
    """Return a table that scrolls sideways on narrow screens, as HTML that pages insert as it is.

    Args:
        headings: Plain text.
        rows: Plain texts, cells and estimates; `None` is shown as a dash.
        caption: Plain text.
        identity: `id` of the table.
        kind: `class` of the table.
    """
    cells = [[_cell(item) for item in row] for row in rows]
    return template("table.html").module.table(headings, cells, caption, identity, kind)


def folded(summary: str, parts: Sequence[str]) -> str:
    """Return tables folded away behind a summary, as HTML."""
    return template("table.html").module.folded(summary, parts)


def _cell(item: str | Cell | Estimate | None) -> Cell:
    if isinstance(item, Cell):
        return item
    return Cell(item) if isinstance(item, str) else estimate_cell(item)


def estimate_cell(estimate: Estimate | None, bold: bool = False) -> Cell:
    """Return a cell with a number above its interval."""
    if estimate is None:
        return Cell("–")
    interval = ""
    if math.isfinite(estimate.lower) and estimate.lower < estimate.upper < math.inf:
        interval = " to ".join(number(bound, estimate.bounds) for bound in estimate.bounds)
    return Cell(number(estimate.value, estimate.bounds), estimate.value, interval, bold)


def compared_cells(metric: str, estimates: Sequence[Estimate | None]) -> list[Cell]:
    """Return cells of one metric, one per method, the best of them in bold."""
    return [estimate_cell(*pair) for pair in zip(estimates, best(metric, estimates), strict=True)]


def number_cell(value: float) -> Cell:
    """Return a cell with a number that has no interval."""
    return Cell(number(value), float(value))


def method_cell(method: str) -> Cell:
    """Return a cell with a method's name and the dot of its colour."""
    style = method_style(method)
    return Cell(style.label, colour=style.colour, head=True)


def method_table(run: AssimilationRun) -> str:
    """Return the first table: every method's scores of temperature, mean over levels."""
    methods = in_order(run.results["method"])
    columns = []
    for metric in _METHOD_COLUMNS:
        column = [lookup(run.results, method, metric) for method in methods]
        columns.append(compared_cells(metric, column))
    rows = [[method_cell(m), *cells] for m, *cells in zip(methods, *columns, strict=True)]
    scores = [lookup(run.results, method, "rmse") for method in methods]
    count = max((score.n for score in scores if score is not None), default=0)
    caption = (
        f"Temperature, mean over levels, {count} dates; small: 95 % interval over dates. {_BOLD}"
    )
    return table(["method", *_METHOD_COLUMNS.values()], rows, caption, "table-methods")


def other_tables(run: AssimilationRun) -> str | None:
    """Return one table per variable except temperature, side by side where the page is wide.

    One table of all variables would be wider than any page.

    Returns:
        HTML, or `None` where there is no such variable.
    """
    results = run.results
    first_levels = results.groupby("variable", sort=False)["level"].first()
    variables = [v for v in first_levels.index if v != "temperature" and v in UNITS]
    methods, parts = in_order(results["method"]), []
    for variable in variables:
        level = "mean" if variable in ON_LEVELS else first_levels[variable]
        columns = [
            compared_cells(metric, [lookup(results, m, metric, variable, level) for m in methods])
            for metric in SCORES
        ]
        rows = [[method_cell(m), *cells] for m, *cells in zip(methods, *columns, strict=True)]
        headings = ["method", *(METRICS[metric].name for metric in SCORES)]
        caption = capitalised(quantity(variable_label(variable), display_units(variable)))
        if variable in ON_LEVELS:
            caption += ", mean over levels"
        parts.append(table(headings, rows, caption, f"table-others-{variable}"))
    return template("table.html").module.side_by_side(parts) if parts else None


def level_tables(
    run: AssimilationRun, metrics: Sequence[str], variable: str = "temperature"
) -> list[str]:
    """Return one table per metric, with levels as rows and methods as columns.

    Args:
        run: The assimilation.
        metrics: Some of `METRICS`.
        variable: A variable with levels.
    """
    tables, results = [], run.results
    for metric in metrics:
        found = {
            method: set(profile(results, method, metric, variable)["pressure"])
            for method in in_order(results["method"])
        }
        methods = [method for method, levels in found.items() if levels]
        levels = [f"{pressure:g}" for pressure in sorted(set().union(*found.values()))]
        if methods:
            parts = {f"{level} hPa": (results, level) for level in levels}
            tables.append(score_table(metric, variable, methods, parts, "level"))
    return tables


def score_table(
    metric: str,
    variable: str,
    methods: Sequence[str],
    parts: Mapping[str, tuple[pd.DataFrame, str]],
    by: str,
) -> str:
    """Return a table of one metric with methods as columns.

    Args:
        metric: One of `METRICS`.
        variable: Name of the variable.
        methods: The columns.
        parts: Label of each row: a table of results, and the level to look up in it.
        by: What the rows are, in a word.
    """
    rows = []
    for label, (results, level) in parts.items():
        row = [lookup(results, method, metric, variable, level) for method in methods]
        rows.append([label, *compared_cells(metric, row)])
    what = f"{metric_label(metric, variable)} of {variable_label(variable)} by {by}"
    caption = f"{what}; bold: the best of each row"
    file = metric if variable == "temperature" else f"{variable}-{metric}"
    return table([by, *map(method_label, methods)], rows, caption, f"table-{by}s-{file}")


def key_table(items: Mapping[str, str]) -> str:
    """Return a table of two columns, names and values, both plain text."""
    return table(["what", "value"], list(items.items()), kind="keys")
