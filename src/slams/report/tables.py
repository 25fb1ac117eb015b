"""Tables of the report as HTML, each number with its interval and, in its cell, every digit."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slams.report.display import display_units
from slams.report.formatting import number
from slams.report.reading import AssimilationRun, Estimate, lookup, profile
from slams.report.style import in_order, method_style, quantity, variable_label
from slams.variables import ON_LEVELS, UNITS

__all__ = [
    "Column",
    "estimate_cell",
    "key_table",
    "level_tables",
    "method_cell",
    "method_table",
    "other_table",
    "table",
]

_PLAIN = ("rank_chi2", "divergent_members", "seconds_per_member")


@dataclass(frozen=True)
class Column:
    """One column of a table of methods.

    Attributes:
        metric: Metric of the results table.
        heading: Heading, with units.
        best: Which value is set in bold: `low`, `one` (nearest to 1) or none if empty.
    """

    metric: str
    heading: str
    best: str = ""


_METHOD_COLUMNS = (
    Column("rmse", "RMSE (K)", "low"),
    Column("crps", "CRPS (K)", "low"),
    Column("bias", "bias (K)"),
    Column("spread_skill", "spread / skill"),
    Column("rank_chi2", "rank χ²"),
    Column("wasserstein", "Wasserstein (σ)", "low"),
    Column("divergent_members", "members redrawn"),
    Column("seconds_per_member", "seconds per member"),
)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", identity: str = ""
) -> str:
    """Return a table that scrolls sideways on narrow screens.

    Args:
        headings: Plain text, escaped here.
        rows: Whole cells, `<td>...</td>` or `<th>...</th>`, already escaped.
        caption: Plain text.
        identity: `id` of the table.
    """
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in headings)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    title = f'<p class="caption">{html.escape(caption)}</p>' if caption else ""
    name = f' id="{html.escape(identity)}"' if identity else ""
    return (
        f'{title}<div class="scroll" tabindex="0"><table{name}>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def estimate_cell(estimate: Estimate | None, bold: bool = False) -> str:
    """Return a cell with a number above its interval; its `data-value` keeps every digit."""
    if estimate is None:
        return "<td>–</td>"
    bounds = (estimate.lower, estimate.upper)
    text = number(estimate.value, bounds)
    text = f"<strong>{text}</strong>" if bold else text
    if all(math.isfinite(bound) for bound in bounds) and bounds[0] < bounds[1]:
        low, high = (number(bound, bounds) for bound in bounds)
        text += f'<span class="interval">{low} to {high}</span>'
    return f'<td data-value="{estimate.value!r}">{text}</td>'


def method_cell(method: str) -> str:
    """Return a cell with a method's name and the dot of its colour."""
    style = method_style(method)
    dot = f'<span class="dot" style="background:{style.colour}"></span>'
    return f'<th scope="row">{dot}{html.escape(style.label)}</th>'


def method_table(run: AssimilationRun) -> str:
    """Return the first table: every method's scores of temperature, mean over levels."""
    grid = {
        method: [lookup(run.results, method, column.metric) for column in _METHOD_COLUMNS]
        for method in in_order(run.results["method"])
    }
    rows = []
    for method, estimates in grid.items():
        cells = [method_cell(method)]
        for index, (column, estimate) in enumerate(zip(_METHOD_COLUMNS, estimates, strict=True)):
            others = [e[index].value for e in grid.values() if e[index] is not None]
            bold = column.best == "low" and estimate is not None and estimate.value == min(others)
            cells.append(estimate_cell(estimate, bold))
        rows.append(cells)
    count = max((e[0].n for e in grid.values() if e[0] is not None), default=0)
    return table(
        ["method", *(column.heading for column in _METHOD_COLUMNS)],
        rows,
        f"Temperature, mean over levels, {count} dates; small: 95 % interval over dates; bold: "
        "the smallest.",
        "table-methods",
    )


def other_table(run: AssimilationRun) -> str | None:
    """Return the table of every variable except temperature; `None` where there is none."""
    results = run.results
    variables = [v for v in dict.fromkeys(results["variable"]) if v != "temperature"]
    variables = [v for v in variables if v in UNITS]
    if not variables:
        return None
    columns = [
        (variable, metric, quantity(f"{variable_label(variable, short=True)}: {heading}", units))
        for variable in variables
        for metric, heading, units in (
            ("rmse", "RMSE", display_units(variable)),
            ("crps", "CRPS", display_units(variable)),
            ("spread_skill", "spread / skill", ""),
        )
    ]
    rows = []
    for method in in_order(results["method"]):
        cells = [method_cell(method)]
        for variable, metric, _ in columns:
            levels = results.loc[results["variable"] == variable, "level"]
            level = "mean" if variable in ON_LEVELS else levels.iloc[0]
            cells.append(estimate_cell(lookup(results, method, metric, variable, level)))
        rows.append(cells)
    headings = ["method", *(heading for _, _, heading in columns)]
    caption = "The other fields, physical units."
    if set(variables) & set(ON_LEVELS):
        caption = "The other fields, physical units; those with levels: mean over levels."
    return table(headings, rows, caption, "table-others")


def level_tables(
    run: AssimilationRun, metrics: Mapping[str, str], variable: str = "temperature"
) -> list[str]:
    """Return one table per metric, with levels as rows and methods as columns.

    Args:
        run: The assimilation.
        metrics: Metric and its name with units.
        variable: A variable with levels.
    """
    tables = []
    for metric, heading in metrics.items():
        methods = [
            m
            for m in in_order(run.results["method"])
            if not profile(run.results, m, metric, variable).empty
        ]
        levels = sorted(
            {p for m in methods for p in profile(run.results, m, metric, variable)["pressure"]}
        )
        if not methods:
            continue
        rows = [
            [
                f'<th scope="row">{level:g} hPa</th>',
                *(
                    estimate_cell(lookup(run.results, m, metric, variable, f"{level:g}"))
                    for m in methods
                ),
            ]
            for level in levels
        ]
        labels = [method_style(m).label for m in methods]
        caption = f"{heading} of {variable_label(variable)} by level"
        file = metric if variable == "temperature" else f"{variable}-{metric}"
        tables.append(table(["level", *labels], rows, caption, f"table-levels-{file}"))
    return tables


def key_table(items: Mapping[str, str], caption: str = "") -> str:
    """Return a table of two columns, names and values, both plain text."""
    rows = [
        [f'<th scope="row">{html.escape(key)}</th>', f"<td>{html.escape(value)}</td>"]
        for key, value in items.items()
    ]
    return table(["what", "value"], rows, caption).replace("<table", '<table class="keys"', 1)
