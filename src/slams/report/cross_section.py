"""A section from pole to pole on one date: what the analysis changed, and the spread it has."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from slams.config.schema import ReportConfig
from slams.report.drawing import new_axes, render
from slams.report.formatting import number
from slams.report.kept_case import KeptCase, kept_case
from slams.report.labels import longitude_label, quantity, variable_label
from slams.report.mapdata import area_weights, leading
from slams.report.mapdrawing import centred, ranged
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.station_profiles import few_stations
from slams.report.style import DIFFERENCE_MAP, SPREAD_MAP, method_label
from slams.report.vertical import draw_section, section_at

__all__ = ["cross_section", "section_panels", "section_rms"]


def cross_section(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show increment and spread of temperature along the meridian of a station."""
    section = new_section("cross-section")
    title = section.title
    section.title = title.format(where="a meridian", date="one date")
    case, method = kept_case(run, options), leading(run.methods)
    if case is None or method not in case.ensembles:
        return section.without(
            "No background and ensemble of temperature were kept: no section from pole to pole."
        )
    longitude = _meridian(case, run.stations)
    section.title = title.format(where=longitude_label(longitude), date=case.date)
    section.panels = _panels(case, method, longitude, run.stations)
    if not section.panels:
        return section.without("The background has no value along this section.")
    if case.truth is not None:
        analysis, label = case.ensembles[method], method_label(method)
        before, after, spread = (
            f"{number(section_rms(field, longitude))} {case.units}"
            for field in (
                case.background - case.truth,
                analysis.mean("member") - case.truth,
                analysis.std("member", ddof=1),
            )
        )
        section.findings.append(
            f"Along this section the root mean square error of the background is {before}, that "
            f"of {label} {after}; the root mean square of its spread is {spread}."
        )
    return section


def section_panels(run: AssimilationRun, variable: str, options: ReportConfig) -> list[Panel]:
    """Draw the section of a variable with levels; nothing where it was not kept."""
    case, method = kept_case(run, options, variable), leading(run.methods)
    if case is None or method not in case.ensembles:
        return []
    return _panels(case, method, _meridian(case, run.stations), run.stations)


def section_rms(field: xr.DataArray, longitude: float) -> float:
    """Return the root mean square along a meridian, by area and with equal weight of levels.

    Args:
        field: Dimensions level, latitude, longitude.
        longitude: Degrees east; the nearest column of the grid is taken.
    """
    square = section_at(field, longitude=longitude) ** 2
    area = square["latitude"].copy(data=area_weights(square["latitude"].values))
    return float(np.sqrt(square.weighted(area).mean()))


def _meridian(case: KeptCase, stations: pd.DataFrame | None) -> float:
    """Return the longitude of the grid nearest to the first station drawn, or to Greenwich."""
    longitude = 0.0
    if stations is not None and len(stations):
        longitude = float(few_stations(stations)["longitude"].iloc[0])
    return float(section_at(case.background, longitude=longitude)["longitude"])


def _panels(
    case: KeptCase, method: str, longitude: float, stations: pd.DataFrame | None
) -> list[Panel]:
    ensemble, label = case.ensembles[method], method_label(method)
    analysis, spread = ensemble.mean("member"), ensemble.std("member", ddof=1)
    rows = [("increment", f"Increment: {label}", analysis - case.background, analysis)]
    if case.truth is not None:
        needed = case.truth - case.background
        rows.insert(0, ("needed", "Truth − background", needed, case.truth))
    seen = [section_at(row[2], longitude=longitude).values for row in rows]
    if not all(np.isfinite(values).any() for values in seen):  # a background may have gaps
        return []
    difference = DIFFERENCE_MAP, centred(seen), "departure from the background"
    drawn = [(*row, *difference) for row in rows]
    values = [section_at(spread, longitude=longitude).values]
    norm, title = partial(ranged, zero=True)(values), f"Spread: {label}"
    drawn.append(("spread", title, spread, analysis, SPREAD_MAP, norm, "standard deviation"))
    name, panels = variable_label(case.variable), []
    prefix = "" if case.variable == "temperature" else f"{case.variable}_"
    for file, title, field, lines, cmap, norm, what in drawn:
        axes = new_axes(title, 3.5)
        mesh = draw_section(
            axes,
            field,
            longitude=longitude,
            cmap=cmap,
            norm=norm,
            lines=lines,
            stations=stations,
        )
        extend = "max" if norm.vmin == 0 else "both"
        bar = axes.figure.colorbar(mesh, ax=axes, location="bottom", extend=extend, aspect=40)
        bar.set_label(quantity(f"{name}, {what}", case.units))
        alt = (
            f"Section of pressure by latitude at {longitude_label(longitude)} on {case.date}: "
            f"{title}, {name}"
        )
        panels.append(render(axes.figure, f"{prefix}section_{file}", alt))
    return panels
