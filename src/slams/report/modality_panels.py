"""Figures of the scores of each setting of observations: bars, and lines by level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slams.report.bars import draw_bar
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.section import Panel, headline, new_figure, render
from slams.report.setting_scores import SettingScores
from slams.report.style import method_style

__all__ = ["bars", "level_lines"]

# From no observations to all of them; the setting with most observations has the solid line.
_LINES = ("-", "-.", "--", ":")
_MARKERS = "oDs^v<>PX"


def bars(
    scores: Sequence[SettingScores], methods: Sequence[str], metric: str, dpi: int
) -> Panel | None:
    """Draw one bar per setting and method with its interval; `None` where nothing is known."""
    name, settings = metric.upper(), len(scores)
    figure = new_figure(height=0.9 + settings * (0.3 * max(len(methods), 1) + 0.25))
    axes = figure.add_subplot()
    height = 0.8 / max(len(methods), 1)
    top = 0.0
    for index, method in enumerate(methods):
        style = method_style(method)
        for row, setting in enumerate(scores):
            estimate = setting.overall(method, metric)
            if estimate is None:
                continue
            position = row + (index - (len(methods) - 1) / 2) * height
            top = max(top, draw_bar(axes, position, estimate, 0.92 * height, style.colour))
        axes.barh(np.nan, 0, color=style.colour, label=style.label)
    if top == 0.0:
        return None
    known = (setting.overall("background", metric) for setting in scores)
    background = next((estimate for estimate in known if estimate is not None), None)
    if background is not None:
        style = method_style("background")
        axes.axvline(
            background.value,
            color=style.colour,
            linestyle="--",
            linewidth=1.6,
            label=style.label,
            zorder=1,
        )
        top = max(top, background.value)
    labels = [setting.label.replace(" + ", "\n+ ") for setting in scores]
    axes.set_yticks(range(settings), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.16 * top)
    axes.set_xlabel(f"{name} (K)")
    headline(figure, f"{name} of temperature by observations used")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Bars of {name} by setting: {'; '.join(setting.label for setting in scores)}"
    return render(figure, f"modalities_{metric}", alt, dpi)


def level_lines(scores: Sequence[SettingScores], method: str, dpi: int) -> Panel | None:
    """Draw one profile of RMSE per setting for one method; `None` where nothing is known."""
    style = method_style(method)
    figure = new_figure(height=4.1)
    axes = figure.add_subplot()
    pressures: set[float] = set()
    # The method is the same, so its colour is; line and marker distinguish the settings.
    for index, setting in enumerate(scores):
        rows = setting.levels(method, "rmse")
        if rows.empty:
            continue
        line = _LINES[(len(scores) - 1 - index) % len(_LINES)]
        marker = _MARKERS[index % len(_MARKERS)]
        draw_profile(axes, rows, style.colour, marker, setting.label, line)
        pressures |= set(rows["pressure"])
    if not pressures:
        return None
    known = (setting.levels("background", "rmse") for setting in reversed(scores))
    background = next((rows for rows in known if not rows.empty), None)
    if background is not None:
        other = method_style("background")
        axes.plot(
            background["value"], background["pressure"], color=other.colour, label=other.label
        )
    pressure_axis(axes, sorted(pressures))
    axes.set_xlim(left=0)
    axes.set_xlabel("RMSE (K)")
    headline(figure, f"RMSE by level: {style.label}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"RMSE of {style.label} by level: {'; '.join(setting.label for setting in scores)}"
    return render(figure, "modalities_profile", alt, dpi)
