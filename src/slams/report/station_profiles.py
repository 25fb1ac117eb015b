"""Profiles at a few stations on one date: truth, background and analyses with their spread."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slams.config.schema import ReportConfig
from slams.report.drawing import new_figure, render
from slams.report.formatting import capitalised
from slams.report.kept_case import KeptCase, kept_case
from slams.report.labels import latitude_label, longitude_label, quantity, variable_label
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import in_order, method_label, method_style
from slams.report.vertical import draw_profile, member_range, profile_at

__all__ = ["few_stations", "profile_panels", "station_profiles"]

# Latitudes (degrees north) that the stations drawn are nearest to: one of each belt.
_LATITUDES = (50.0, 0.0, -40.0)
_TRUTH = {"color": "#222222", "label": "truth", "linewidth": 2.2, "zorder": 3}


def few_stations(stations: pd.DataFrame) -> pd.DataFrame:
    """Choose a station of each belt by its latitude alone, not by how an analysis fits there.

    Args:
        stations: Columns latitude and longitude.

    Returns:
        The stations nearest to 50° N, the equator and 40° S; fewer where there are fewer.
    """
    latitude = stations["latitude"].to_numpy(float)
    nearest = [int(np.abs(latitude - wanted).argmin()) for wanted in _LATITUDES if len(latitude)]
    return stations.iloc[list(dict.fromkeys(nearest))]


def station_profiles(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show temperature at three stations, as it is and as departure from the background."""
    section = new_section("station-profiles")
    title = section.title
    section.title = title.format(date="one date")
    if run.stations is None or run.stations.empty:
        return section.without("No stations were assimilated: no profiles at stations.")
    case = kept_case(run, options)
    if case is None:
        return section.without(
            "No background and ensembles of temperature were kept: no profiles at stations."
        )
    section.title = title.format(date=case.date)
    section.panels = _panels(case, run.stations)
    section.findings = _coverage(case, run.stations)
    return section


def profile_panels(run: AssimilationRun, variable: str, options: ReportConfig) -> list[Panel]:
    """Draw the profiles of a variable at three stations; nothing where they were not kept."""
    case = kept_case(run, options, variable)
    if case is None or run.stations is None:
        return []
    return _panels(case, run.stations)


def _panels(case: KeptCase, stations: pd.DataFrame) -> list[Panel]:
    return [
        _panel(case, station, number)
        for number, station in enumerate(few_stations(stations).to_dict("records"), start=1)
    ]


def _panel(case: KeptCase, station: dict[str, object], number: int) -> Panel:
    name, point = variable_label(case.variable), (station["latitude"], station["longitude"])
    place = f"{latitude_label(round(point[0], 1))}, {longitude_label(round(point[1], 1))}"
    title = f"{capitalised(name)} at {station.get('id', 'a station')}, {place}"
    figure = new_figure(title, 4.3)
    state, departure = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    background = method_style("background").line | {"linestyle": "--"}
    lines = [(case.background, background, False)]
    methods = in_order(case.ensembles)
    # Shadings of several methods cannot be told apart: the last, the leading one, is shaded.
    lines += [(case.ensembles[m], method_style(m).points(), m == methods[-1]) for m in methods]
    if case.truth is not None:
        lines.append((case.truth, _TRUTH, False))
    for field, look, shaded in lines:
        draw_profile(state, field, point, look, shaded=shaded)
        draw_profile(departure, field, point, look, minus=case.background, shaded=shaded)
    state.set_xlabel(quantity(name, case.units))
    departure.set(xlabel=quantity("minus background", case.units), ylabel="")
    figure.legend(*departure.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    drawn = ", ".join(str(look["label"]) for _, look, _ in lines)
    alt = f"{title}, by pressure on {case.date}: {drawn}; with the members' 5-95 % range"
    prefix = "" if case.variable == "temperature" else f"{case.variable}_"
    return render(figure, f"{prefix}station_profile_{number}", alt)


def _coverage(case: KeptCase, stations: pd.DataFrame) -> list[str]:
    """Return how often the truth lies within the shading, for each method."""
    if case.truth is None:
        return []
    points = few_stations(stations)[["latitude", "longitude"]].to_numpy(float)
    sentences = []
    for method in in_order(case.ensembles):
        inside, count, members = 0, 0, case.ensembles[method].sizes["member"]
        for point in points:
            truth = profile_at(case.truth, tuple(point))
            low, high = member_range(profile_at(case.ensembles[method], tuple(point)))
            inside += int(((low <= truth) & (truth <= high)).sum())
            count += truth.size
        expected = 100 * min(0.9, (members - 1) / (members + 1))
        sentences.append(
            f"The truth lies within the 5-95 % range of {method_label(method)} at {inside} of "
            f"these {count} points, {100 * inside / count:.0f} %; {expected:.0f} % are expected, "
            "but neighbouring levels are not independent."
        )
    return sentences
