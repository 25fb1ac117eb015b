"""One compact picture of a run, for a README or a slide: maps above, profiles below."""

from __future__ import annotations

from slams.report.exhibit import Panel, new_figure, render
from slams.report.mapdata import case_fields, chosen_case, chosen_level, leading
from slams.report.mapdrawing import centred, draw_map, ranged
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.reading import AssimilationRun, profile
from slams.report.style import (
    DIFFERENCE_MAP,
    FIELD_MAPS,
    SPREAD_MAP,
    in_order,
    method_style,
    quantity,
)
from slams.schema import ReportConfig

__all__ = ["summary_figure"]


def summary_figure(run: AssimilationRun, options: ReportConfig) -> Panel | None:
    """Draws truth, errors of background and analysis, and spread; RMSE and CRPS by level below.

    Returns:
        The picture, or `None` where fields or results are missing.
    """
    method, dataset = leading(run.methods), run.fields("truth")
    if method is None or dataset is None or run.results is None or "temperature" not in dataset:
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
            f"{label[0].upper()}{label[1:]} − truth",
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
    figure = new_figure(10.4, 6.6)
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 1.15])
    places = [grid[0, 0], grid[0, 1], grid[0, 2], grid[1, 0]]
    for (title, field, cmap, norm, caption, stations), place in zip(maps, places, strict=True):
        axes = figure.add_subplot(place)
        mesh = draw_map(axes, field, fields.latitude, fields.longitude, cmap, norm, stations)
        axes.set_title(title)
        bar = figure.colorbar(
            mesh,
            ax=axes,
            orientation="horizontal",
            fraction=0.06,
            pad=0.03,
            aspect=38,
            extend="neither" if cmap == SPREAD_MAP else "both",
        )
        bar.set_label(caption)
        bar.outline.set_linewidth(0.5)
    for column, (metric, name) in enumerate((("rmse", "RMSE"), ("crps", "CRPS")), start=1):
        axes = figure.add_subplot(grid[1, column])
        pressures: set[float] = set()
        for entry in in_order(run.results["method"]):
            rows = profile(run.results, entry, metric)
            if not rows.empty:
                style = method_style(entry)
                draw_profile(axes, rows, style.colour, style.marker, style.label)
                pressures |= set(rows["pressure"])
        if not pressures:
            return None
        pressure_axis(axes, sorted(pressures))
        axes.set_xlim(left=0)
        axes.set_xlabel(quantity(name, fields.units))
        axes.set_title(f"{name} of temperature")
        if column == 1:
            axes.legend(loc="best")
    alt = f"Maps at {level} hPa on {fields.date} and profiles of RMSE and CRPS by method"
    return render(figure, "summary", alt, max(options.dpi, 110), wide=True)
