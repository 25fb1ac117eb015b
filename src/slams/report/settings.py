"""Settings of the run: the essentials of the recipe, and provenance."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from slams.calendar.ranges import date_ranges
from slams.plugins.methods import METHODS, split_name
from slams.report.formatting import joined
from slams.report.reading import AssimilationRun, TrainingRun, config_value, source_values
from slams.report.section import Section
from slams.report.tables import key_table

__all__ = ["provenance", "settings"]


def settings(run: AssimilationRun, labels: Sequence[str]) -> Section:
    """List the essentials of the recipe, followed by the folded whole recipe.

    Args:
        run: The assimilation that the report is about.
        labels: Names of all settings that the report compares.
    """
    anchor, title = "settings", "Settings"
    if not run.config:
        return Section(anchor, title, missing=["No recipe with the results: settings unknown."])
    items = {name: text for name, text in _essentials(run.config, run.record).items() if text}
    items["settings compared"] = ", ".join(labels)
    whole = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
    return Section(
        anchor=anchor,
        title=title,
        tables=[
            key_table(items),
            "<details><summary>The whole recipe</summary>"
            f'<pre class="scroll" tabindex="0">{html.escape(whole)}</pre></details>',
        ],
    )


def _essentials(config: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, str]:
    """Return one phrase per fact; a phrase is empty where one of its keys is missing."""

    def get(key: str) -> Any:
        return config_value(config, key)

    def phrase(text: str, *keys: str) -> str:
        values = [get(key) for key in keys]
        if any(value is None for value in values):
            return ""
        return text.format(*(_plain(value) for value in values))

    use = get("observations.use")
    guidance = "assimilation.guidance"
    satellite, splits = "observations.satellite", "data.splits"
    return {
        "experiment": phrase("{}, seed {}", "experiment", "seed"),
        "truth": _truth(config),
        "its origin": "; ".join(source_values(config, "origin")),
        "statistics from": phrase("{}", "data.statistics_from"),
        "channels": phrase("{}", "data.channels"),
        "channels used only as condition": _plain(get("data.condition_only") or ""),
        "training": date_ranges(get(f"{splits}.train") or ()),
        "validation": date_ranges(get(f"{splits}.validation") or ()),
        "test": date_ranges(get(f"{splits}.test") or ()),
        "reserved": date_ranges(record.get("reserved_days") or get(f"{splits}.reserved") or ()),
        "test days": str(record.get("test_days") or ""),
        "gap between splits (days)": phrase("at least {}", f"{splits}.gap"),
        "window (days)": phrase("{}", "data.window"),
        "observed": "" if use is None else (_plain(use) or "nothing"),
        "stations": _stations(config) if use and "stations" in use else "",
        "satellite": phrase(
            "{0} in footprints of {1} x {1} cells, a share of {2} of the globe in swaths, error "
            "{3} W m-2",
            *(f"{satellite}.{key}" for key in ("channel", "footprint", "coverage", "error")),
        )
        if use and "satellite" in use
        else "",
        "degraded": phrase(
            "{} in means of {} cells each way, every {} kept, noise {} of the standard deviation",
            *(f"observations.degraded.{key}" for key in ("channels", "block", "gap", "noise")),
        )
        if use and "degraded" in use
        else "",
        "gross-error check": phrase("{} standard deviations", "observations.gross_error"),
        "background": _background(config),
        "ensemble": phrase("{} members", "assimilation.members"),
        **_methods(config),
        "latent": phrase(
            "{} channels, {} times fewer points each way", "vae.latent_channels", "vae.factor"
        ),
        "guidance": phrase(
            "{}, localised with a half-width of {} km, archive of {} days",
            *(f"{guidance}.{key}" for key in ("kind", "localisation", "archive")),
        ),
        "sampler": phrase(
            "{}, {} steps", "assimilation.sampler.kind", "assimilation.sampler.steps"
        ),
        "intervals": phrase(
            "95 %, block bootstrap over dates, {} dates per block, {} resamples",
            "assimilation.bootstrap_block",
            "assimilation.bootstrap_samples",
        ),
    }


def _truth(config: Mapping[str, Any]) -> str:
    kinds, paths = (source_values(config, key) for key in ("kind", "path"))
    return f"{', '.join(kinds)}, from {', '.join(paths)}" if kinds and paths else ""


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


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return joined([str(item) for item in value])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stations(config: Mapping[str, Any]) -> str:
    file = config_value(config, "observations.stations.file")
    count = config_value(config, "observations.stations.count")
    where = f"from {file}" if file else f"{count} airport sites"
    variables = []
    for entry in config_value(config, "observations.stations.variables", ()):
        text = f"{entry.get('channel')} (error {entry.get('error')}"
        if entry.get("representativeness"):
            text += f", representativeness {entry['representativeness']}"
        variables.append(f"{text})")
    return f"{where}: {joined(variables)}"


def _background(config: Mapping[str, Any]) -> str:
    kind = config_value(config, "background.kind")
    if kind is None:
        return ""
    text = kind.replace("_", " ")
    if kind == "damped_persistence":
        lag = config_value(config, "background.lag", "?")
        text += f" of the state {lag} days before the window"
    days = config_value(config, "background.recentre_days", 0)
    return f"{text}, climatology re-centred on {days} days before" if days else text


def provenance(runs: Sequence[AssimilationRun], trainings: Sequence[TrainingRun]) -> Section:
    """List versions, fingerprints, run identifiers and lineage of every run in the report."""
    tables, missing = [], []
    for name, record in [
        *((f"assimilation, setting {run.setting}", run.record) for run in runs),
        *((f"training of the {run.stage}", run.record) for run in trainings),
    ]:
        if record:
            # Reports are passed on: omit the name of the machine.
            shared = {key: value for key, value in record.items() if key != "process"}
            body = key_table(_flat(shared))
            tables.append(f"<details><summary>{html.escape(name)}</summary>{body}</details>")
        else:
            missing.append(f"No run.json of the {name}: its provenance is unknown.")
    return Section(
        anchor="provenance",
        title="Provenance",
        caption="Identifiers, versions, data fingerprints and lineage, as recorded by each run.",
        tables=tables,
        missing=missing,
    )


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            flat[name] = ", ".join(str(item) for item in value) or "–"
        else:
            flat[name] = "–" if value is None or value == "" else str(value)
    return flat
