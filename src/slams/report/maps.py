"""Maps of one case: truth, background, analysis, errors, increment and spread."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd

from slams.config.schema import ReportConfig
from slams.plugins.methods import Role, find_method, in_role
from slams.report.formatting import capitalised
from slams.report.labels import quantity, variable_label
from slams.report.mapdata import CaseFields, area_rmse, case_fields, chosen, leading, on_levels
from slams.report.mapdrawing import Map, centred, map_panels, map_row, ranged
from slams.report.reading import AssimilationRun, config_value
from slams.report.section import Panel, Section, new_section
from slams.report.style import DIFFERENCE_MAP, SPREAD_MAP, field_style, method_label

__all__ = ["surface_maps", "temperature_maps", "variable_maps"]


def temperature_maps(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show temperature at one level on one date: states, anomalies, errors, increment, spread."""
    section = new_section("maps")
    title = section.title
    section.title = title.format(level=options.level)
    dataset, store = run.fields("truth"), run.path / "analysis.zarr"
    if not on_levels(dataset, "temperature"):
        return section.without(f"The temperature of the truth is not in {store}: no maps.")
    case, level, section.missing = chosen(dataset, options, "temperature")
    method = leading(run.methods)
    shown = dict.fromkeys(m for m in (in_role(Role.YARDSTICK).name, method) if m)
    fields = case_fields(run, "temperature", case, level, list(shown))
    if fields is None:
        return section.without(
            f"The truth has no temperature at {level} hPa in case {case}: no maps."
        )
    section.title = f"{title.format(level=level)} on {fields.date}"
    if method and method not in fields.mean:
        section.without(f"{store} has no group {method}: no maps of it.")
    section.panels = map_panels(_temperature(fields, method, run.stations), fields)
    if method in fields.spread:
        section.caption += _patchiness(run, method)
    errors = [_with_rms(name, error, fields, "") for name, error in _errors(fields).items()]
    if errors:
        section.findings.append(
            f"On this one date, the RMSE at {level} hPa is: {', '.join(errors)}. One date proves "
            "nothing; the tables average over all of them."
        )
    return section


def surface_maps(run: AssimilationRun, options: ReportConfig) -> Section | None:
    """Show the variables without levels: truth, analysis and analysis error of each."""
    section, method = new_section("other-maps"), leading(run.methods)
    dataset = run.fields("truth")
    for variable in () if dataset is None else sorted(dataset.data_vars):
        if "level" not in dataset[variable].dims:
            section.panels += variable_maps(run, str(variable), options)
    if method is None or not section.panels:
        return None
    section.caption = section.caption.format(label=method_label(method))
    return section


def variable_maps(run: AssimilationRun, variable: str, options: ReportConfig) -> list[Panel]:
    """Draw truth, analysis and analysis error of a variable, at one level where it has levels.

    Stations that measure a variable without levels are dots on the analysis.
    """
    dataset, method = run.fields("truth"), leading(run.methods)
    if dataset is None or method is None or variable not in dataset:
        return []
    case, level, _ = chosen(dataset, options, variable)
    fields = case_fields(run, variable, case, level, [method])
    if fields is None or method not in fields.mean:
        return []
    measured = config_value(run.config, "observations.stations.variables", ())
    seen = level is None and variable in [entry.get("channel") for entry in measured]
    stations = run.stations if seen else None
    name = capitalised(variable_label(variable)) + (f", {level} hPa" if level is not None else "")
    units = quantity("", fields.units).strip(" ()")
    look = field_style(variable)
    scale = centred if look.signed else partial(ranged, zero=look.from_zero, power=look.power)
    norm = scale([fields.truth])
    mean, file = fields.mean[method], f"map_{variable}"
    error, title = mean - fields.truth, f"{name}: {method_label(method)}"
    rms = f"Error, rms {area_rmse(error, fields.latitude):.2f}"
    maps = [
        Map(f"{file}_truth", f"{name}: truth", fields.truth, look.cmap, norm, units),
        Map(f"{file}_analysis", title, mean, look.cmap, norm, units, stations),
        Map(f"{file}_error", rms, error, DIFFERENCE_MAP, centred([error]), units),
    ]
    return map_panels(maps, fields)


def _temperature(
    fields: CaseFields, method: str | None, stations: pd.DataFrame | None
) -> list[Map]:
    """Return the maps of temperature row by row: states, anomalies, errors, increment, spread."""
    analysis, units = fields.mean.get(method), fields.units
    states = [("truth", fields.truth), ("background", fields.background), ("analysis", analysis)]
    states = [(name, field) for name, field in states if field is not None]
    rows = [(f"map_{name}", name.capitalize(), field, None) for name, field in states]
    if analysis is not None:
        rows[-1] = ("map_analysis", f"Analysis: {method_label(method)}", analysis, stations)
    maps = map_row(rows, field_style("temperature").cmap, ranged, quantity("temperature", units))
    if fields.climatology is not None:
        rows = [
            (f"map_{name}_anomaly", f"{name.capitalize()} − climatology", field, None)
            for name, field in ((name, f - fields.climatology) for name, f in states)
        ]
        label = quantity("departure from climatology", units)
        maps += map_row(rows, DIFFERENCE_MAP, centred, label)
    rows = [
        (f"map_error_{name}", f"Error: {_with_rms(name, error, fields)}", error, None)
        for name, error in _errors(fields).items()
    ]
    maps += map_row(rows, DIFFERENCE_MAP, centred, quantity("error", units))
    if fields.background is not None and analysis is not None:
        title, increment = f"Increment: {method_label(method)}", analysis - fields.background
        rows = [("map_increment", title, increment, stations)]
        label = quantity("analysis − background", units)
        maps += map_row(rows, DIFFERENCE_MAP, centred, label)
    rows = [
        (f"map_spread_{name}", f"Spread: {_with_rms(name, spread, fields)}", spread, stations)
        for name, spread in fields.spread.items()
    ]
    label = quantity("ensemble standard deviation", units)
    return maps + map_row(rows, SPREAD_MAP, partial(ranged, zero=True), label)


def _patchiness(run: AssimilationRun, method: str) -> str:
    """Return sentences on why the map of an ensemble's spread looks patchy."""
    members = config_value(run.config, "assimilation.members", 0)
    factor = config_value(run.config, "vae.factor", 0)
    text = ""
    if members > 1:
        error = 100 / math.sqrt(2 * (members - 1))
        text = (
            f" A spread of {members} members is itself known to {error:.0f} % only, with errors "
            "that neighbouring cells share: much of its patchiness is chance."
        )
    spec, _ = find_method(method)
    if factor > 1 and spec is not None and "vae" in spec.needs:
        text += (
            " Where it shows squares, they are the decoder's, which writes each "
            f"{factor} × {factor} cells from one cell of the latent grid: members differ from "
            "their mean by steps at the edges (docs/diagnostics.md)."
        )
    return text


def _errors(fields: CaseFields) -> dict[str, np.ndarray]:
    """Return the error of the background, where it was kept, and of each method's mean."""
    states = {"background": fields.background, **fields.mean}
    return {name: f - fields.truth for name, f in states.items() if f is not None}


def _with_rms(method: str, field: np.ndarray, fields: CaseFields, mark: str = ",") -> str:
    rms = area_rmse(field, fields.latitude)
    return f"{method_label(method)}{mark} {rms:.2f} {fields.units}"
