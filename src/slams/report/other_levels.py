"""Winds and humidity: one section per variable, with the same content as those on temperature."""

from __future__ import annotations

from slams.config.schema import ReportConfig
from slams.report import regions, spectra
from slams.report.cross_section import section_panels
from slams.report.formatting import capitalised
from slams.report.labels import METRICS, variable_label
from slams.report.maps import variable_maps
from slams.report.profiles import metric_panel
from slams.report.reading import AssimilationRun
from slams.report.section import Section, new_section
from slams.report.station_profiles import profile_panels
from slams.report.tables import folded, level_tables
from slams.variables import ON_LEVELS

__all__ = ["other_levels"]


def other_levels(run: AssimilationRun, options: ReportConfig) -> list[Section]:
    """Show each variable with levels except temperature: profiles, maps, spectra, regions."""
    if run.results is None:
        return []
    there = dict.fromkeys(run.results["variable"])
    return [
        _section(run, variable, options)
        for variable in there
        if variable in ON_LEVELS and variable != "temperature"
    ]


def _section(run: AssimilationRun, variable: str, options: ReportConfig) -> Section:
    section, name = new_section("levels"), variable_label(variable)
    section.anchor = f"levels-{variable.replace('_', '-')}"
    section.title = section.title.format(variable=capitalised(name))
    profiles = (metric_panel(run.results, metric, variable) for metric in METRICS)
    section.panels = [panel for panel in profiles if panel is not None]
    numbers = level_tables(run, list(METRICS), variable)
    by_region, tables = regions.variable_panel(run, variable, "rmse")
    for kind, found in (
        ("maps", variable_maps(run, variable, options)),
        ("profiles at stations", profile_panels(run, variable, options)),
        ("sections", section_panels(run, variable, options)),
        ("spectra", spectra.variable_panels(run, variable, options.level)),
        ("scores by region", by_region),
    ):
        section.panels += found
        if not found:
            section.without(f"There are no {kind} of {name}.")
    section.tables.append(folded("The numbers", [*numbers, *tables]))
    return section
