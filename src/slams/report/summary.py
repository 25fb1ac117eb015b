"""One compact picture of a run, for a README or a slide: maps above, profiles below."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from slams.config.schema import ReportConfig
from slams.report.drawing import render
from slams.report.formatting import capitalised
from slams.report.labels import METRICS, quantity
from slams.report.mapdata import case_fields, chosen, leading, on_levels
from slams.report.mapdrawing import MAP_FRAME, centred, map_row, place_map, ranged
from slams.report.profiles import draw_method_profiles
from slams.report.reading import AssimilationRun
from slams.report.section import Panel
from slams.report.style import DIFFERENCE_MAP, SPREAD_MAP, field_style, method_label

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
    if method is None or run.results is None or not on_levels(dataset, "temperature"):
        return None
    case, level, _ = chosen(dataset, options, "temperature")
    fields = case_fields(run, "temperature", case, level, [method])
    if fields is None or fields.background is None or method not in fields.spread:
        return None
    errors = [fields.background - fields.truth, fields.mean[method] - fields.truth]
    titles = ("Background − truth", f"{capitalised(method_label(method))} − truth")
    truth = [("truth", f"Truth, {level} hPa, {fields.date}", fields.truth, None)]
    errors = [("error", *pair, None) for pair in zip(titles, errors, strict=True)]
    spread = [("spread", "Spread, and the stations", fields.spread[method], run.stations)]
    deviation, from_zero = quantity("standard deviation", fields.units), partial(ranged, zero=True)
    cmap, temperature = field_style("temperature").cmap, quantity("temperature", fields.units)
    maps = [
        *map_row(truth, cmap, ranged, temperature),
        *map_row(errors, DIFFERENCE_MAP, centred, quantity("error", fields.units)),
        *map_row(spread, SPREAD_MAP, from_zero, deviation),
    ]
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    lower = 0.45  # room for the legend
    upper = _HEIGHT - _MAP / 2 - MAP_FRAME
    corners = [(_EDGE + k * (_MAP + _GAP), upper) for k in range(3)] + [(_EDGE, lower)]
    for shown, corner in zip(maps, corners, strict=True):
        place_map(figure, corner, _MAP, shown, fields)
    for column, metric in enumerate(("rmse", "crps"), start=1):
        left = _EDGE + column * (_MAP + _GAP) + 0.5
        box = (left / _WIDTH, (lower + 0.44) / _HEIGHT, (_MAP - 0.5) / _WIDTH, 2.0 / _HEIGHT)
        axes = figure.add_axes(box)
        if not draw_method_profiles(axes, run.results, metric):
            return None
        axes.set_xlabel(quantity(METRICS[metric].name, fields.units))
        axes.set_title(f"{METRICS[metric].name} of temperature")
        if column == 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=6)
    alt = f"Maps at {level} hPa on {fields.date} and profiles of RMSE and CRPS by method"
    return render(figure, "summary", alt, wide=True, dpi=max(options.dpi, 110))
