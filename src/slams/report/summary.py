"""One compact picture of a run, for a README or a slide: maps above, profiles below."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slams.config.schema import ReportConfig
from slams.report.formatting import capitalised
from slams.report.mapdata import case_fields, chosen_case, chosen_level, leading
from slams.report.mapdrawing import MAP_FRAME, centred, place_map, ranged
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.reading import AssimilationRun, profile
from slams.report.section import Panel, render
from slams.report.style import (
    DIFFERENCE_MAP,
    FIELD_MAPS,
    SPREAD_MAP,
    in_order,
    method_style,
    quantity,
)

__all__ = ["summary_figure"]

# Inches.
_MAP, _GAP, _EDGE = 3.3, 0.3, 0.15
_WIDTH = 2 * _EDGE + 3 * _MAP + 2 * _GAP
_HEIGHT = 5.9


def summary_figure(run: AssimilationRun, options: ReportConfig) -> Panel | None:
    """Draw truth, errors of background and analysis, and spread; RMSE and CRPS by level below.

    Returns:
        The picture, or `None` where fields or results are missing.
    """
    method, dataset = leading(run.methods), run.fields("truth")
    if method is None or dataset is None or run.results is None:
        return None
    if "temperature" not in dataset or "level" not in dataset["temperature"].dims:
        return None
    case, _ = chosen_case(dataset, options.case)
    level, _ = chosen_level(dataset, options.level)
    fields = case_fields(run, "temperature", case, level, [method])
    if fields is None or fields.background is None or method not in fields.spread:
        return None
    label = method_style(method).label
    errors = [fields.background - fields.truth, fields.mean[method] - fields.truth]
    difference = centred(errors)
    spread = fields.spread[method]
    temperature = ranged([fields.truth])
    maps = [
        (
            f"Truth, {level} hPa, {fields.date}",
            fields.truth,
            FIELD_MAPS["temperature"],
            temperature,
            quantity("temperature", fields.units),
            None,
        ),
        (
            "Background − truth",
            errors[0],
            DIFFERENCE_MAP,
            difference,
            quantity("error", fields.units),
            None,
        ),
        (
            f"{capitalised(label)} − truth",
            errors[1],
            DIFFERENCE_MAP,
            difference,
            quantity("error", fields.units),
            None,
        ),
        (
            "Spread, and the stations",
            spread,
            SPREAD_MAP,
            ranged([spread], zero=True),
            quantity("standard deviation", fields.units),
            run.stations,
        ),
    ]
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    lower = 0.45  # room for the legend
    upper = _HEIGHT - _MAP / 2 - MAP_FRAME
    corners = [(_EDGE + k * (_MAP + _GAP), upper) for k in range(3)] + [(_EDGE, lower)]
    for (title, field, cmap, norm, caption, stations), corner in zip(maps, corners, strict=True):
        place_map(figure, corner, _MAP, title, field, fields, cmap, norm, caption, stations)
    for column, (metric, name) in enumerate((("rmse", "RMSE"), ("crps", "CRPS")), start=1):
        left = _EDGE + column * (_MAP + _GAP) + 0.5
        box = (left / _WIDTH, (lower + 0.44) / _HEIGHT, (_MAP - 0.5) / _WIDTH, 2.0 / _HEIGHT)
        axes = figure.add_axes(box)
        if not _draw_profiles(axes, run, metric):
            return None
        axes.set_xlabel(quantity(name, fields.units))
        axes.set_title(f"{name} of temperature")
        if column == 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=6)
    alt = f"Maps at {level} hPa on {fields.date} and profiles of RMSE and CRPS by method"
    return render(figure, "summary", alt, max(options.dpi, 110), wide=True)


def _draw_profiles(axes: Axes, run: AssimilationRun, metric: str) -> bool:
    pressures: set[float] = set()
    for method in in_order(run.results["method"]):
        rows = profile(run.results, method, metric)
        if not rows.empty:
            style = method_style(method)
            draw_profile(axes, rows, style.colour, style.marker, style.label)
            pressures |= set(rows["pressure"])
    if not pressures:
        return False
    pressure_axis(axes, sorted(pressures))
    axes.set_xlim(left=0)
    return True
