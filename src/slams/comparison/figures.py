"""Figures of a sweep: a metric against what was varied, and against its own easiest value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from slams.comparison.scores import Row, ScoredSetting
from slams.report.formatting import capitalised
from slams.report.profiles import METRICS
from slams.report.section import Panel, headline, new_figure, render
from slams.report.style import RC, in_order, method_style, quantity
from slams.variables import UNITS

__all__ = ["Axis", "find_axis", "metric_figures", "metric_label", "relative_figure"]

# With more panels than this, one panel shows all settings by name.
_MOST_PANELS = 6


class Axis:
    """Axis and panels of the figures of a sweep.

    Attributes:
        key: The swept key of the horizontal axis; empty where settings are drawn side by side.
        panels: One group of settings per panel, by the values of the other keys.
    """

    def __init__(self, key: str, panels: Mapping[str, Sequence[ScoredSetting]]) -> None:
        self.key = key
        self.panels = panels


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
        others = {k: v for k, v in setting.overrides.items() if k != key}
        # Keys that move with the axis, as in a zip, add no information.
        others = {k: v for k, v in others.items() if not _follows(k, key, settings)}
        title = ", ".join(f"{k.rpartition('.')[2]} {_words(v)}" for k, v in others.items())
        panels.setdefault(title, []).append(setting)
    if len(panels) > _MOST_PANELS or max(map(len, panels.values())) < 2:
        return Axis("", {"": settings})
    return Axis(key, panels)


def metric_label(metric: str, variable: str, variables: str = "") -> str:
    """Return the label of a metric with its units, for an axis."""
    name, units, _ = METRICS.get(metric, (metric.replace("_", " "), "", None))
    if metric in ("rmse", "crps", "bias"):
        units = UNITS.get(variable, units)
    if metric == "wasserstein":
        name, units = "Wasserstein distance", "standard deviations"
    return quantity(name, units)


def metric_figures(rows: Sequence[Row], metric: str, dpi: int = 150) -> list[Panel]:
    """Draw a metric against the axis of the sweep, one line per method, one panel per group."""
    settings = list({id(r.setting): r.setting for r in rows}.values())
    axis = find_axis(settings)
    label = metric_label(metric, settings[0].variable)
    panels = []
    with mpl.rc_context(RC):
        for number, (title, members) in enumerate(axis.panels.items()):
            points = {
                m: [
                    (r.setting, r.estimate.value, r.estimate.lower, r.estimate.upper)
                    for r in rows
                    if r.method == m and any(r.setting is s for s in members)
                ]
                for m in in_order(r.method for r in rows)
            }
            name = f"{metric}_{number}" if len(axis.panels) > 1 else metric
            panels.append(_draw(points, members, axis.key, label, title, name, dpi))
    return panels


def relative_figure(
    settings: Sequence[ScoredSetting],
    changes: Mapping[str, Mapping[str, tuple[float, float, float]]],
    metric: str,
    dpi: int = 150,
) -> Panel:
    """Draw every method relative to its own value in the easiest setting.

    Args:
        settings: The settings.
        changes: Method -> setting -> value, lower and upper bound of the ratio.
        metric: The metric.
        dpi: Dots per inch.
    """
    axis = find_axis(settings)
    key = axis.key if len(axis.panels) == 1 else ""
    points = {
        method: [(s, *found[s.name]) for s in settings if s.name in found]
        for method, found in changes.items()
    }
    name, _, _ = METRICS.get(metric, (metric, "", None))
    with mpl.rc_context(RC):
        return _draw(
            points,
            settings,
            key,
            f"{name} / own {name} in the easiest",
            "relative to the easiest setting",
            f"relative_{metric}",
            dpi,
            line=1.0,
        )


def _draw(
    points: Mapping[str, Sequence[tuple[ScoredSetting, float, float, float]]],
    settings: Sequence[ScoredSetting],
    key: str,
    label: str,
    title: str,
    name: str,
    dpi: int,
    line: float | None = None,
) -> Panel:
    crowded = not key and len(settings) > 6
    figure = new_figure(5.6, 4.2) if key else new_figure(6.4, max(3.6, 0.42 * len(settings) + 1.8))
    axes = figure.add_subplot()
    drawn = {m: p for m, p in points.items() if p}
    for position, (method, found) in enumerate(drawn.items()):
        style = method_style(method)
        value, lower, upper = (np.array([p[i] for p in found], dtype=float) for i in (1, 2, 3))
        look = {
            "color": style.colour,
            "marker": style.marker,
            "label": style.label,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
        }
        if key:
            x = np.array([float(p[0].overrides[key]) for p in found])
            order = np.argsort(x)
            if np.isfinite(lower).any():
                axes.fill_between(
                    x[order],
                    lower[order],
                    upper[order],
                    color=style.colour,
                    alpha=0.16,
                    linewidth=0,
                )
            axes.plot(x[order], value[order], **look)
        else:
            shift = (position - (len(drawn) - 1) / 2) * 0.7 / max(len(drawn), 1)
            places = [next(i for i, s in enumerate(settings) if s is p[0]) for p in found]
            y = np.array(places, dtype=float) + shift
            bars = np.abs(np.stack([value - lower, upper - value]))
            axes.errorbar(value, y, xerr=np.nan_to_num(bars), linestyle="", elinewidth=1.4, **look)
    if key:
        _numeric_axis(axes, sorted({float(s.overrides[key]) for s in settings}), key)
        axes.set_ylabel(label)
        if line is not None:
            axes.axhline(line, color="#444444", linestyle="--", linewidth=1.0, zorder=1)
    else:
        axes.set_yticks(
            range(len(settings)), [s.name for s in settings], fontsize=7.5 if crowded else None
        )
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlabel(label)
        if line is not None:
            axes.axvline(line, color="#444444", linestyle="--", linewidth=1.0, zorder=1)
    headline(figure, capitalised(title or label))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    along = key or "the settings"
    alt = f"{label} against {along} for {', '.join(method_style(m).label for m in drawn)}"
    return render(figure, name, alt, dpi, wide=not key)


def _numeric_axis(axes: Any, values: Sequence[float], key: str) -> None:
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


def _words(value: Any) -> str:
    return "+".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
