"""What a recipe says of a run: its settings, the limitations of its numbers, and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined, UndefinedError

from slams.calendar.ranges import date_ranges
from slams.plugins.methods import METHODS, split_name
from slams.report.formatting import joined
from slams.report.reading import AssimilationRun, TrainingRun, config_value, source_values
from slams.report.section import Section, new_section, template
from slams.report.tables import folded, key_table

__all__ = ["limits", "provenance", "settings", "subtitle"]


def settings(run: AssimilationRun, labels: Sequence[str]) -> Section:
    """List the essentials of the recipe, followed by the folded whole recipe.

    Args:
        run: The assimilation that the report is about.
        labels: Names of all settings that the report compares.
    """
    section = new_section("settings")
    if not run.config:
        return section.without("No recipe with the results: settings unknown.")
    items = {**_phrases(run, "settings"), **_methods(run.config)}
    items["settings compared"] = ", ".join(labels)
    whole = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
    recipe = template("table.html").module.verbatim(whole)
    section.tables = [key_table(items), folded("The whole recipe", [recipe])]
    return section


def subtitle(run: AssimilationRun) -> str:
    """Return what the assimilation was of, in one line."""
    return " · ".join([f"Setting {run.setting}", *_phrases(run, "subtitle").values()])


def _phrases(run: AssimilationRun, part: str) -> dict[str, str]:
    """Return the phrases of a part of `settings.yaml` that the recipe has all keys of."""
    # Pages escape what they show, so that phrases are plain text.
    environment = Environment(undefined=StrictUndefined, finalize=_known)
    environment.filters["ranges"] = date_ranges
    reserved = config_value(run.config, "data.splits.reserved")
    values = {
        **run.config,
        **{f"{key}s": source_values(run.config, key) for key in ("kind", "path", "origin")},
        "reserved": run.record.get("reserved_days") or reserved,
        "test_days": run.record.get("test_days"),
    }
    text = files("slams.report").joinpath("settings.yaml").read_text(encoding="utf-8")
    found = {}
    for name, phrase in yaml.safe_load(text)[part].items():
        try:
            found[name] = environment.from_string(phrase).render(values)
        except (UndefinedError, TypeError):  # a key is missing, or has no value
            continue
    return {name: phrase for name, phrase in found.items() if phrase}


def _known(value: Any) -> str:
    """Format a value of a recipe; one that is `None` counts as missing."""
    if value is None:
        raise UndefinedError
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return joined([str(item) for item in value])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _methods(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of the methods that take part, one phrase each."""
    used = {split_name(name)[0] for name in config_value(config, "assimilation.methods") or ()}
    specs = [spec for spec in map(METHODS.find, used) if spec is not None]
    found = {}
    for spec in sorted(specs, key=lambda spec: (spec.order, spec.name)):
        values = config_value(config, f"assimilation.{spec.settings_section}")
        if spec.settings and values:
            plain = {key: _plain(value) for key, value in values.items()}
            found[spec.label] = spec.settings.format_map(plain)
    return found


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
        cycled=config_value(config, "assimilation.cycle_days", 0) > 0,
        dates=0 if run.cases is None else int(run.cases["date"].nunique()),
    )
    section.tables.append(items)
    return section


def provenance(runs: Sequence[AssimilationRun], trainings: Sequence[TrainingRun]) -> Section:
    """List versions, fingerprints, run identifiers and lineage of every run in the report."""
    section = new_section("provenance")
    for name, record in [
        *((f"assimilation, setting {run.setting}", run.record) for run in runs),
        *((f"training of the {run.stage}", run.record) for run in trainings),
    ]:
        if record:
            # Reports are passed on: omit the name of the machine.
            shared = {key: value for key, value in record.items() if key != "process"}
            section.tables.append(folded(name, [key_table(_flat(shared))]))
        else:
            section.without(f"No run.json of the {name}: its provenance is unknown.")
    return section


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a record as text, those of inner records under dotted names."""
    flat = pd.json_normalize(dict(record)).to_dict("records")[0]
    texts = {
        key: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for key, value in flat.items()
    }
    return {key: "–" if text is None or text == "" else str(text) for key, text in texts.items()}
