"""Maps of one case: truth, background, analysis, errors, increment and spread."""

from __future__ import annotations

import pandas as pd

from slams.config.schema import ReportConfig
from slams.plugins.methods import Role, in_role
from slams.report.formatting import capitalised
from slams.report.mapdata import (
    CaseFields,
    area_rmse,
    case_fields,
    chosen_case,
    chosen_level,
    leading,
)
from slams.report.mapdrawing import centred, field_panel, ranged
from slams.report.reading import AssimilationRun, config_value
from slams.report.section import Panel, Section
from slams.report.style import (
    DIFFERENCE_MAP,
    FIELD_MAPS,
    FROM_ZERO,
    SIGNED,
    SPREAD_MAP,
    method_style,
    quantity,
    variable_label,
)

__all__ = ["level_maps", "surface_maps", "temperature_maps"]


def temperature_maps(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show temperature at one level on one date: states, anomalies, errors, increment, spread."""
    anchor, title = "maps", f"Maps of temperature at {options.level} hPa"
    dataset = run.fields("truth")
    if (
        dataset is None
        or "temperature" not in dataset
        or "level" not in dataset["temperature"].dims
    ):
        return Section(
            anchor,
            title,
            missing=[
                f"The temperature of the truth is not in {run.path / 'analysis.zarr'}: no maps."
            ],
        )
    case, case_note = chosen_case(dataset, options.case)
    level, level_note = chosen_level(dataset, options.level)
    method = leading(run.methods)
    shown = [m for m in (in_role(Role.YARDSTICK).name, method) if m]
    fields = case_fields(run, "temperature", case, level, list(dict.fromkeys(shown)))
    missing = [note for note in (case_note, level_note) if note]
    if fields is None:
        missing.append(f"The truth has no temperature at {level} hPa in case {case}: no maps.")
        return Section(anchor, title, missing=missing)
    if method and method not in fields.mean:
        missing.append(f"{run.path / 'analysis.zarr'} has no group {method}: no maps of it.")
    panels = _states(fields, method, run.stations, options.dpi)
    panels += _anomalies(fields, method, options.dpi)
    panels += _errors(fields, options.dpi)
    panels += _increment_and_spread(fields, method, run.stations, options.dpi)
    return Section(
        anchor=anchor,
        title=f"Maps of temperature at {level} hPa on {fields.date}",
        caption=(
            "States first, then the same states as departures from the climatology, then errors "
            "(each state minus the truth, one colour scale for all, so that paler is better), and "
            "last the increment (analysis minus background) and the ensemble's spread. A good "
            "spread is dark where the analysis error is large. Dots are stations; the number in "
            "a title is the area-weighted root mean square of that map."
        ),
        panels=panels,
        findings=_case_findings(fields, level),
        missing=missing,
    )


def surface_maps(run: AssimilationRun, options: ReportConfig) -> Section | None:
    """Show the variables without levels: truth, analysis and analysis error of each."""
    dataset = run.fields("truth")
    method = leading(run.methods)
    if dataset is None or method is None:
        return None
    case, _ = chosen_case(dataset, options.case)
    panels: list[Panel] = []
    entries = config_value(run.config, "observations.stations.variables", ())
    seen = {entry.get("channel") for entry in entries}  # dots where stations measure it
    for variable in dataset.data_vars:
        if "level" in dataset[variable].dims:
            continue
        fields = case_fields(run, str(variable), case, None, [method])
        if fields is None or method not in fields.mean:
            continue
        dots = run.stations if variable in seen else None
        panels += _variable_panels(fields, str(variable), method, dots, options.dpi)
    if not panels:
        return None
    return Section(
        anchor="other-maps",
        title="Maps of the other fields",
        caption=(
            f"Truth, ensemble mean of {method_style(method).label}, and their difference, for the "
            "fields that the latent shares with temperature. An ensemble mean of precipitation is "
            "smoother than any rain that falls; its members are not. The colour scale of "
            "precipitation is stretched towards small values."
        ),
        panels=panels,
    )


def level_maps(run: AssimilationRun, variable: str, options: ReportConfig) -> list[Panel]:
    """Draw truth, analysis and analysis error of another variable with levels, at one level."""
    dataset = run.fields("truth")
    method = leading(run.methods)
    if dataset is None or method is None or variable not in dataset:
        return []
    case, _ = chosen_case(dataset, options.case)
    level, _ = chosen_level(dataset, options.level, variable)
    fields = case_fields(run, variable, case, level, [method])
    if fields is None or method not in fields.mean:
        return []
    return _variable_panels(fields, variable, method, None, options.dpi, level)


def _variable_panels(
    fields: CaseFields,
    variable: str,
    method: str,
    stations: pd.DataFrame | None,
    dpi: int,
    level: int | None = None,
) -> list[Panel]:
    """Draw truth, analysis and error of one variable; stations are dots on the analysis."""
    name = variable_label(variable) + (f", {level} hPa" if level is not None else "")
    units = quantity("", fields.units).strip(" ()")
    cmap = FIELD_MAPS.get(variable, "viridis")
    rain = variable == "total_precipitation_24hr"
    if variable in SIGNED:
        norm = centred([fields.truth])
    else:
        norm = ranged([fields.truth], zero=variable in FROM_ZERO, power=0.5 if rain else 1.0)
    error = fields.mean[method] - fields.truth
    rms = area_rmse(error, fields.latitude)
    label = method_style(method).label
    return [
        field_panel(
            f"map_{variable}_{part}",
            capitalised(heading),
            field,
            fields,
            colours,
            scale,
            units,
            dpi,
            stations if part == "analysis" else None,
        )
        for part, heading, field, colours, scale in (
            ("truth", f"{name}: truth", fields.truth, cmap, norm),
            ("analysis", f"{name}: {label}", fields.mean[method], cmap, norm),
            ("error", f"error, rms {rms:.2f}", error, DIFFERENCE_MAP, centred([error])),
        )
    ]


def _states(
    fields: CaseFields, method: str | None, stations: pd.DataFrame | None, dpi: int
) -> list[Panel]:
    states = [("truth", "Truth", fields.truth, None)]
    if fields.background is not None:
        states.append(("background", "Background", fields.background, None))
    if method in fields.mean:
        label = method_style(method).label
        states.append(("analysis", f"Analysis: {label}", fields.mean[method], stations))
    norm = ranged([field for _, _, field, _ in states])
    label = quantity("temperature", fields.units)
    return [
        field_panel(
            f"map_{name}", title, field, fields, FIELD_MAPS["temperature"], norm, label, dpi, dots
        )
        for name, title, field, dots in states
    ]


def _anomalies(fields: CaseFields, method: str | None, dpi: int) -> list[Panel]:
    if fields.climatology is None:
        return []
    states = [("truth", "Truth", fields.truth)]
    if fields.background is not None:
        states.append(("background", "Background", fields.background))
    if method in fields.mean:
        states.append(("analysis", "Analysis", fields.mean[method]))
    differences = [field - fields.climatology for _, _, field in states]
    norm = centred(differences)
    label = quantity("departure from climatology", fields.units)
    return [
        field_panel(
            f"map_{name}_anomaly",
            f"{title} − climatology",
            difference,
            fields,
            DIFFERENCE_MAP,
            norm,
            label,
            dpi,
        )
        for (name, title, _), difference in zip(states, differences, strict=True)
    ]


def _errors(fields: CaseFields, dpi: int) -> list[Panel]:
    errors = {}
    if fields.background is not None:
        errors["background"] = fields.background - fields.truth
    errors |= {method: mean - fields.truth for method, mean in fields.mean.items()}
    if not errors:
        return []
    norm = centred(list(errors.values()))
    panels = []
    for method, error in errors.items():
        rms = area_rmse(error, fields.latitude)
        title = f"Error: {method_style(method).label}, {rms:.2f} {fields.units}"
        panels.append(
            field_panel(
                f"map_error_{method}",
                title,
                error,
                fields,
                DIFFERENCE_MAP,
                norm,
                quantity("error", fields.units),
                dpi,
            )
        )
    return panels


def _increment_and_spread(
    fields: CaseFields, method: str | None, stations: pd.DataFrame | None, dpi: int
) -> list[Panel]:
    panels = []
    if fields.background is not None and method in fields.mean:
        increment = fields.mean[method] - fields.background
        panels.append(
            field_panel(
                "map_increment",
                f"Increment: {method_style(method).label}",
                increment,
                fields,
                DIFFERENCE_MAP,
                centred([increment]),
                quantity("analysis − background", fields.units),
                dpi,
                stations,
            )
        )
    if not fields.spread:
        return panels
    norm = ranged(list(fields.spread.values()), zero=True)
    for name, spread in fields.spread.items():
        mean_spread = area_rmse(spread, fields.latitude)
        title = f"Spread: {method_style(name).label}, {mean_spread:.2f} {fields.units}"
        panels.append(
            field_panel(
                f"map_spread_{name}",
                title,
                spread,
                fields,
                SPREAD_MAP,
                norm,
                quantity("ensemble standard deviation", fields.units),
                dpi,
                stations,
            )
        )
    return panels


def _case_findings(fields: CaseFields, level: int) -> list[str]:
    parts = []
    if fields.background is not None:
        rms = area_rmse(fields.background - fields.truth, fields.latitude)
        parts.append(f"background {rms:.2f} {fields.units}")
    for method, mean in fields.mean.items():
        rms = area_rmse(mean - fields.truth, fields.latitude)
        parts.append(f"{method_style(method).label} {rms:.2f} {fields.units}")
    if not parts:
        return []
    return [
        f"On this one date, the RMSE at {level} hPa is: {', '.join(parts)}. One date proves "
        "nothing; the tables average over all of them."
    ]
