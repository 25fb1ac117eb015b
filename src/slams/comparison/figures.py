"""Figures of a sweep: a metric against what was varied, and against its own easiest value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from slams.comparison.scores import Row, ScoredSetting, described
from slams.report.drawing import REFERENCE, finish, new_axes
from slams.report.formatting import capitalised
from slams.report.labels import METRICS, Metric, quantity
from slams.report.section import Panel
from slams.report.style import in_order, method_label, method_style
from slams.variables import UNITS

__all__ = ["Axis", "find_axis", "metric_figures", "metric_label", "relative_figure"]

# With more panels than this, one panel shows all settings by name.
_MOST_PANELS = 6


@dataclass(frozen=True)
class Axis:
    """Axis and panels of the figures of a sweep.

    Attributes:
        key: The swept key of the horizontal axis; empty where settings are drawn side by side.
        panels: One group of settings per panel, by the values of the other keys.
    """

    key: str
    panels: Mapping[str, Sequence[ScoredSetting]]


def find_axis(settings: Sequence[ScoredSetting]) -> Axis:
    """Choose the numeric key with the most values; the other keys separate the panels."""
    keys = dict.fromkeys(key for s in settings for key in s.overrides)
    numeric: dict[str, int] = {}
    for key in keys:
        values = [s.overrides.get(key) for s in settings]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            numeric[key] = len(set(values))
    many = {key: count for key, count in numeric.items() if count > 1}
    if not many:
        return Axis("", {"": settings})
    key = max(many, key=lambda k: many[k])
    panels: dict[str, list[ScoredSetting]] = {}
    for setting in settings:
        # Keys that move with the axis, as in a zip, add no information.
        others = {
            k: value
            for k, value in setting.overrides.items()
            if k != key and not _follows(k, key, settings)
        }
        panels.setdefault(described(others), []).append(setting)
    if len(panels) > _MOST_PANELS or max(map(len, panels.values())) < 2:
        return Axis("", {"": settings})
    return Axis(key, panels)


def metric_label(metric: str, variable: str) -> str:
    """Return the label of a metric with the units of the results table, for an axis."""
    if metric == "wasserstein":
        return quantity("Wasserstein distance", "standard deviations")
    known = METRICS.get(metric, Metric(metric.replace("_", " "), physical=False))
    return quantity(known.name, UNITS.get(variable, "K") if known.physical else "")


def metric_figures(rows: Sequence[Row], metric: str) -> list[Panel]:
    """Draw a metric against the axis of the sweep, one line per method, one panel per group."""
    settings = list({id(r.setting): r.setting for r in rows}.values())
    axis = find_axis(settings)
    label = metric_label(metric, settings[0].variable)
    panels = []
    for number, (title, members) in enumerate(axis.panels.items()):
        own = [row for row in rows if any(row.setting is setting for setting in members)]
        points = [(row, row.estimate.value, *row.estimate.bounds) for row in own]
        name = f"{metric}_{number}" if len(axis.panels) > 1 else metric
        panels.append(_draw(points, members, axis.key, label, title, name))
    return panels


def relative_figure(rows: Sequence[Row], metric: str) -> Panel:
    """Draw every method relative to its own value in the easiest setting.

    Args:
        rows: Scores of a metric, compared with those of the easiest setting.
        metric: The metric.
    """
    settings = list({id(r.setting): r.setting for r in rows}.values())
    axis = find_axis(settings)
    key = axis.key if len(axis.panels) == 1 else ""
    points = []
    for row in rows:
        if row.baseline:
            points.append((row, 1.0, 1.0, 1.0))
        elif row.comparison is not None:
            change = row.comparison
            points.append((row, 1 + change.relative, 1 + change.lower, 1 + change.upper))
    name = METRICS[metric].name
    label, title = f"{name} / own {name} in the easiest", "relative to the easiest setting"
    return _draw(points, settings, key, label, title, f"relative_{metric}", line=1.0)


def _draw(
    points: Sequence[tuple[Row, float, float, float]],
    settings: Sequence[ScoredSetting],
    key: str,
    label: str,
    title: str,
    name: str,
    line: float | None = None,
) -> Panel:
    """Draw values with their bounds, by method: along a swept key, or setting by setting."""
    size = (5.6, 4.2) if key else (6.4, max(3.6, 0.42 * len(settings) + 1.8))
    axes = new_axes(capitalised(title or label), size[1], width=size[0])
    methods = in_order(row.method for row, *_ in points)
    for position, method in enumerate(methods):
        found = [point for point in points if point[0].method == method]
        values = np.array([numbers for _, *numbers in found], dtype=float).T
        style = method_style(method)
        if key:
            x = np.array([float(row.setting.overrides[key]) for row, *_ in found])
            order = np.argsort(x)
            x, (value, lower, upper) = x[order], values[:, order]
            if np.isfinite(lower).any():
                shade = {"color": style.colour, "alpha": 0.16, "linewidth": 0}
                axes.fill_between(x, lower, upper, **shade)
            axes.plot(x, value, **style.points())
        else:
            value, lower, upper = values
            shift = (position - (len(methods) - 1) / 2) * 0.7 / len(methods)
            places = [next(i for i, s in enumerate(settings) if s is p[0].setting) for p in found]
            bars = np.nan_to_num(np.abs(np.stack([value - lower, upper - value])))
            look = style.points() | {"linestyle": "", "elinewidth": 1.4}
            axes.errorbar(value, np.array(places, dtype=float) + shift, xerr=bars, **look)
    if key:
        _numeric_axis(axes, sorted({float(s.overrides[key]) for s in settings}), key)
        axes.set_ylabel(label)
        across = axes.axhline
    else:
        small = 7.5 if len(settings) > 6 else None
        axes.set_yticks(range(len(settings)), [s.name for s in settings], fontsize=small)
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlabel(label)
        across = axes.axvline
    if line is not None:
        across(line, zorder=1, **REFERENCE)
    alt = f"{label} against {key or 'the settings'} for {', '.join(map(method_label, methods))}"
    return finish(axes, name, alt, columns=3, wide=not key)


def _numeric_axis(axes: Axes, values: Sequence[float], key: str) -> None:
    """Label the values of a sweep; logarithmic where they grow by factors."""
    if len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= 8:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(key)


def _follows(key: str, other: str, settings: Sequence[ScoredSetting]) -> bool:
    """Return whether a key has one value for each value of another, and so moves with it."""
    pairs = {(repr(s.overrides.get(other)), repr(s.overrides.get(key))) for s in settings}
    values = {repr(s.overrides.get(key)) for s in settings}
    return len(values) > 1 and len({a for a, _ in pairs}) == len(pairs)
