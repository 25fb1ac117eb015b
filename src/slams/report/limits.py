"""Limitations of the numbers; those that depend on the recipe are derived from it."""

from __future__ import annotations

from slams.report.page import template
from slams.report.reading import AssimilationRun, config_value, source_values
from slams.report.section import Section, new_section

__all__ = ["limits"]


def limits(run: AssimilationRun) -> Section:
    """State the limitations of the numbers, one per sentence."""
    config, section = run.config, new_section("limits")
    items = template("limits.html").module.limits(
        kinds=source_values(config, "kind"),
        observed=config_value(config, "observations.source", "truth"),
        borrowed=config_value(config, "data.statistics_from", ""),
        recentred=config_value(config, "background.recentre_days", 0),
        background=config_value(config, "background.kind", "damped_persistence"),
        lag=config_value(config, "background.lag", "some"),
        dates=0 if run.cases is None else int(run.cases["date"].nunique()),
    )
    section.tables.append(items)
    return section
