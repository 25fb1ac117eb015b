"""Tables of a sweep as Markdown, CSV and LaTeX, all made from rows of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from slams.comparison.scores import Row, ScoredSetting, described
from slams.errors import UserError
from slams.report.formatting import made_with, number, signed_percent
from slams.report.paired import Comparison
from slams.report.section import template
from slams.report.style import method_label
from slams.report.tables import table

__all__ = ["PlainTable", "degradation_table", "published_table", "settings_table", "tidy"]

_PUBLISHED = ("key", "value", "method", "metric", "result")


@dataclass(frozen=True)
class PlainTable:
    """Table as text.

    Attributes:
        caption: Description of its content.
        headings: One per column.
        rows: Cells.
        notes: Sentences below the table.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Write the table as Markdown."""
        rule = ["---"] * len(self.headings)
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
            for cells in (self.headings, rule, *self.rows)
        ]
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"**{self.caption}**\n\n" + "\n".join(lines) + (f"\n\n{notes}\n" if notes else "\n")

    def latex(self) -> str:
        """Write the table as LaTeX, for the package booktabs."""
        frame = pd.DataFrame(self.rows, columns=self.headings).map(_escape).rename(columns=_escape)
        caption = f"{_escape(self.caption)}. {_escape(' '.join(self.notes))}"
        return frame.to_latex(index=False, caption=caption, column_format="l" * len(self.headings))

    def html(self) -> str:
        """Write the table for the report's page, as HTML that it inserts as it is."""
        notes = template("table.html").module.paragraphs(self.notes)
        return table(self.headings, self.rows, self.caption) + notes


def settings_table(rows: Sequence[Row], label: str, baseline: str) -> PlainTable:
    """Return the table of settings: method, metric with interval, difference, verdict."""
    seeds = any(len(row.setting.seeds) > 1 for row in rows)
    paired = any(row.comparison is not None for row in rows)
    columns = {
        "setting": [row.setting.name for row in rows],
        "method": [method_label(row.method) for row in rows],
        f"{label} [95 %]": [_interval(row) for row in rows],
    }
    if seeds:
        columns["sd over seeds"] = [number(row.seed_sd) for row in rows]
    if paired:
        columns[f"against {baseline}"] = [_change(row.comparison) for row in rows]
        columns["verdict"] = [row.verdict for row in rows]
    dates = sorted({row.estimate.n for row in rows})
    counts = " or ".join(map(str, dates))
    notes = [f"Intervals are over {counts} dates by the block bootstrap."]
    notes += [made_with(version) for version in sorted({row.setting.estimator for row in rows})]
    if paired:
        notes.append(
            "Differences are paired, date by date; better and worse: the 95 % interval of the "
            "difference excludes zero."
        )
    if seeds:
        count = max(len(row.setting.seeds) for row in rows)
        notes.append(f"Means over {count} seeds, with their standard deviation.")
    cells = list(zip(*columns.values(), strict=True))
    return PlainTable(f"{label} of every setting", list(columns), cells, notes)


def degradation_table(
    found: Mapping[str, tuple[Comparison | None, Comparison | None, Comparison | None]],
    method: str,
    other: str,
    label: str,
    reference: str,
) -> PlainTable:
    """Return in which settings a method degrades faster than another, as a table."""
    first, second = method_label(method), method_label(other)
    rows = []
    for setting, (own, others, excess) in found.items():
        verdict = excess.verdict("slower", "faster", "–") if excess else "–"
        rows.append([setting, _change(own), _change(others), _change(excess), verdict])
    return PlainTable(
        f"How {label} grows from setting {reference}: {first} against {second}",
        ["setting", first, second, "excess [95 %]", f"{first} degrades"],
        rows,
        [f"Each change is relative to the method's own value at {reference}."],
    )


def published_table(
    path: Path, settings: Sequence[ScoredSetting], rows: Sequence[Row], metric: str
) -> PlainTable | None:
    """Return published figures next to ours, value by value; `None` for another metric.

    Args:
        path: CSV with the columns key, value, method, metric, result. Differences between the two
            are described in the file of the same name ending in .md, one sentence per line.
        settings: The settings of the sweep.
        rows: Our scores.
        metric: The metric of our scores.

    Raises:
        UserError: The file cannot be read or lacks a column.
    """
    try:
        published = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"key 'ablation.published': {path} cannot be read ({error})") from error
    absent = [name for name in _PUBLISHED if name not in published.columns]
    if absent:
        raise UserError(
            f"key 'ablation.published': {path} lacks the columns {', '.join(absent)}, expected "
            f"{','.join(_PUBLISHED)}"
        )
    swept = {key for s in settings for key in s.overrides}
    published = published[(published["metric"] == metric) & published["key"].isin(swept)]
    if published.empty:
        return None
    key = str(published["key"].iloc[0])
    figures = published[["value", "method", "result"]].drop_duplicates(["value", "method"])
    theirs = {(float(v), method): f"{r:.3f}" for v, method, r in figures.itertuples(index=False)}
    ours: dict[tuple[float, tuple[str, str]], str] = {}
    for row in rows:
        if key in row.setting.overrides:
            # Settings that also differ in another key, such as the modalities in use, have their
            # own columns.
            column = (row.method, _others(row.setting, key))
            ours.setdefault((float(row.setting.overrides[key]), column), _interval(row))
    methods = dict.fromkeys(method for _, method in theirs)
    columns = dict.fromkeys(column for _, column in ours)
    cells = [
        [
            f"{value:g}",
            *(theirs.get((value, method), "–") for method in methods),
            *(ours.get((value, column), "–") for column in columns),
        ]
        for value in sorted({value for value, _ in (*theirs, *ours)})
    ]
    notes = path.with_suffix(".md")
    sentences = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    headings = [key, *(f"published: {m}" for m in methods)]
    headings += [f"here: {method_label(m)}{f' ({o})' if o else ''}" for m, o in columns]
    return PlainTable(
        f"Published figures and ours: {metric}",
        headings,
        cells,
        [s.removeprefix("- ").strip() for s in sentences if s.strip()],
    )


def tidy(rows: Sequence[Row], metric: str) -> pd.DataFrame:
    """Arrange scores with one row per number, the swept keys as columns, and every digit."""
    return pd.DataFrame(
        [
            {
                "setting": row.setting.name,
                **{key: _cell(value) for key, value in row.setting.overrides.items()},
                "method": row.method,
                "metric": metric,
                "variable": row.setting.variable,
                **asdict(row.estimate),
                "estimator": row.setting.estimator,
                "seeds": len(row.setting.seeds),
                "seed_sd": row.seed_sd,
                "relative": row.comparison.relative if row.comparison else float("nan"),
                "relative_lower": row.comparison.lower if row.comparison else float("nan"),
                "relative_upper": row.comparison.upper if row.comparison else float("nan"),
                "verdict": row.verdict,
            }
            for row in rows
        ]
    )


def _interval(row: Row) -> str:
    bounds = row.estimate.bounds
    text = number(row.estimate.value, bounds)
    if bounds[0] < bounds[1]:
        text += f" [{number(bounds[0], bounds)}, {number(bounds[1], bounds)}]"
    return text


def _change(comparison: Comparison | None) -> str:
    if comparison is None:
        return "–"
    value, low, high = map(signed_percent, (comparison.relative, *comparison.bounds))
    interval = f" [{low}, {high}]" if comparison.lower <= comparison.upper else ""
    return f"{value} %{interval}"


def _others(setting: ScoredSetting, key: str) -> str:
    """Format the overrides of a setting, except for one key."""
    return described({k: value for k, value in setting.overrides.items() if k != key})


def _cell(value: object) -> object:
    return "+".join(map(str, value)) if isinstance(value, list) else value


_LATEX = {"\\": r"\textbackslash{}", "–": "--", "−": "$-$", "σ": r"$\sigma$", "^": r"\^{}"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}


def _escape(text: str) -> str:
    return text.translate(str.maketrans(_LATEX))
