"""Winds and humidity: one section per variable, with the same content as those on temperature."""

from __future__ import annotations

from slams.config.schema import ReportConfig
from slams.report import regions, spectra
from slams.report.display import display_units
from slams.report.formatting import capitalised
from slams.report.maps import level_maps
from slams.report.profiles import METRICS, metric_panel
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section
from slams.report.style import quantity, variable_label
from slams.report.tables import level_tables
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
    profiles = [metric_panel(run.results, metric, options.dpi, variable) for metric in METRICS]
    panels: list[Panel] = [panel for panel in profiles if panel is not None]
    maps = level_maps(run, variable, options)
    powers = spectra.variable_panels(run, variable, options)
    by_region = regions.variable_panel(run, variable, "rmse", options.dpi)
    units = display_units(variable)
    labels = {m: quantity(name, own and units) for m, (name, own, _) in METRICS.items()}
    numbers = level_tables(run, labels, variable)
    panels += [*maps, *powers]
    if by_region is not None:
        panels.append(by_region[0])
        numbers += by_region[1]
    name = variable_label(variable)
    kinds = {"maps": maps, "spectra": powers, "scores by region": by_region}
    return Section(
        anchor=f"levels-{variable.replace('_', '-')}",
        title=f"{capitalised(name)} by level",
        caption=(
            "Profiles are read as those of temperature. Maps are at the level of the maps of "
            "temperature or the nearest available, as are spectra; scores by region are means "
            "over levels."
        ),
        panels=panels,
        missing=[f"There are no {kind} of {name}." for kind, found in kinds.items() if not found],
        tables=["<details><summary>The numbers</summary>" + "".join(numbers) + "</details>"],
    )
