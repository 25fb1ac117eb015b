"""Scores of each setting of the observations, on a choice of dates, and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slams.report.drawing import draw_bar, finish, finish_bars, new_axes
from slams.report.labels import METRICS, metric_label
from slams.report.paired import Sampling, by_date, estimate
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.reading import AssimilationRun, Estimate, lookup, profile
from slams.report.section import Panel
from slams.report.style import method_style

__all__ = ["SettingScores", "bars", "level_lines"]

# From no observations to all of them; the setting with most observations has the solid line.
_LINES = ("-", "-.", "--", ":")
_MARKERS = "oDs^v<>PX"


@dataclass(frozen=True)
class SettingScores:
    """Scores of temperature of one setting on a choice of dates.

    Attributes:
        run: The assimilation run.
        label: What was observed, in words.
        dates: Dates to score; `None` for the numbers of the results table.
    """

    run: AssimilationRun
    label: str
    dates: pd.Index | None = None

    def overall(self, method: str, metric: str) -> Estimate | None:
        """Return a metric, mean over levels."""
        if self.dates is None:
            return lookup(self.run.results, method, metric)
        chosen = self._chosen(method, metric)
        return None if chosen.empty else estimate(chosen, metric, Sampling.of(self.run.config))

    def levels(self, method: str, metric: str) -> pd.DataFrame:
        """Return a metric by level: columns pressure (hPa), value, lower, upper."""
        if self.dates is None:
            return profile(self.run.results, method, metric)
        chosen, rows = self._chosen(method, metric), []
        for level in filter(str.isdigit, chosen.columns):
            score = estimate(chosen[[level]], metric, Sampling.of(self.run.config))
            rows.append((float(level), score.value, *score.bounds))
        frame = pd.DataFrame(rows, columns=["pressure", "value", "lower", "upper"])
        return frame.sort_values("pressure", ascending=False)

    def _chosen(self, method: str, metric: str) -> pd.DataFrame:
        scored = by_date(self.run.cases, method, metric)
        return scored.loc[scored.index.intersection(self.dates)]


def bars(scores: Sequence[SettingScores], methods: Sequence[str], metric: str) -> Panel | None:
    """Draw one bar per setting and method with its interval; `None` where nothing is known."""
    name, many = METRICS[metric].name, max(len(methods), 1)
    title = f"{name} of temperature by observations used"
    axes = new_axes(title, 0.9 + len(scores) * (0.3 * many + 0.25), metric_label(metric))
    height, tops = 0.8 / many, []
    for index, method in enumerate(methods):
        style = method_style(method)
        for row, setting in enumerate(scores):
            estimate = setting.overall(method, metric)
            if estimate is not None:
                position = row + (index - (len(methods) - 1) / 2) * height
                tops.append(draw_bar(axes, position, estimate, 0.92 * height, style.colour))
        axes.barh(np.nan, 0, **style.line)
    if not any(tops):
        return None
    known = (setting.overall("background", metric) for setting in scores)
    background = next((estimate for estimate in known if estimate is not None), None)
    if background is not None:
        look = method_style("background").line | {"linestyle": "--", "linewidth": 1.6}
        axes.axvline(background.value, zorder=1, **look)
        tops.append(background.value)
    labels = [setting.label.replace(" + ", "\n+ ") for setting in scores]
    finish_bars(axes, labels, 1.16 * max(tops))
    alt = f"Bars of {name} by setting: {'; '.join(setting.label for setting in scores)}"
    return finish(axes, f"modalities_{metric}", alt)


def level_lines(scores: Sequence[SettingScores], method: str) -> Panel | None:
    """Draw one profile of RMSE per setting for one method; `None` where nothing is known."""
    style = method_style(method)
    axes = new_axes(f"RMSE by level: {style.label}", 4.1, metric_label("rmse"))
    pressures: set[float] = set()
    # The method is the same, so its colour is; line and marker distinguish the settings.
    for index, setting in enumerate(scores):
        rows = setting.levels(method, "rmse")
        if rows.empty:
            continue
        look = style.points() | {
            "label": setting.label,
            "linestyle": _LINES[(len(scores) - 1 - index) % len(_LINES)],
            "marker": _MARKERS[index % len(_MARKERS)],
        }
        draw_profile(axes, rows, look)
        pressures |= set(rows["pressure"])
    if not pressures:
        return None
    known = (setting.levels("background", "rmse") for setting in reversed(scores))
    background = next((rows for rows in known if not rows.empty), None)
    if background is not None:
        line = method_style("background").line
        axes.plot(background["value"], background["pressure"], **line)
    pressure_axis(axes, sorted(pressures))
    axes.set_xlim(left=0)
    alt = f"RMSE of {style.label} by level: {'; '.join(setting.label for setting in scores)}"
    return finish(axes, "modalities_profile", alt)
