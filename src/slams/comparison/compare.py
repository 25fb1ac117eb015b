"""Compare the settings of a sweep, or any finished assimilations, from their run directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style

from slams.comparison.figures import metric_figures, metric_label, relative_figure
from slams.comparison.scores import ScoredSetting, degradation, read_settings, score_settings
from slams.comparison.tables import (
    PlainTable,
    degradation_table,
    published_table,
    settings_table,
    tidy,
)
from slams.errors import UserError
from slams.plugins.methods import Family, Role, find_method, in_role, split_name
from slams.report.drawing import FIGURES
from slams.report.formatting import joined, made_with
from slams.report.section import Panel, Section, page
from slams.runs.record import RunRecord, is_finished
from slams.runs.sweep_record import SweepRecord, failure
from slams.runtime import atomic
from slams.runtime.ranks import say
from slams.runtime.version import package_version
from slams.stages.places import tracking_store
from slams.sweeps import Sweep, expand
from slams.tracking.sweeps import attach_comparison

__all__ = ["FORMATS", "compare"]

_SUFFIX = {"md": ".md", "csv": ".csv", "latex": ".tex", "html": ".html"}
FORMATS = tuple(_SUFFIX)


def compare(
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    baseline: str = "",
    metric: str = "crps",
    formats: Sequence[str] = FORMATS,
    output: str = "",
) -> Path:
    """Write tables and figures that compare settings; print the first table.

    Args:
        sources: A recipe with a section `ablation`, or run directories.
        overrides: Overrides of the recipe, as the sweep was run with.
        baseline: Setting or method to compare with; empty for the recipe's, or the first setting.
        metric: A metric of the results table.
        formats: Any of `md`, `csv`, `latex`, `html`.
        output: Output directory; empty for `comparison` next to the runs.

    Returns:
        The directory.

    Raises:
        UserError: There is nothing to compare, or the metric or baseline is unknown.
    """
    sweep, runs, varied, notes = _gather(sources, overrides)
    settings = read_settings(runs, varied)
    recipe = None if sweep is None else sweep.config.ablation
    baseline = _baseline(baseline or (recipe.baseline if recipe else ""), settings)
    rows = score_settings(settings, metric, baseline)
    label = metric_label(metric, settings[0].variable)
    tables = [settings_table(rows, label, baseline)]
    reference = baseline if baseline in {s.name for s in settings} else settings[0].name
    with style.context([FIGURES, {"savefig.dpi": 150}]):
        figures = metric_figures(rows, metric)
        if metric in ("rmse", "crps") and len(settings) > 1:
            compared = score_settings(settings, metric, reference)
            figures.append(relative_figure(compared, metric))
            tables += _degradations(settings, metric, reference, label)
    if recipe and recipe.published:
        path = sweep.recipe.parent / recipe.published
        found = published_table(path, settings, rows, metric)
        if found is not None:
            tables.append(found)
    home = (sweep.directory if sweep is not None else runs[0].parent) / "comparison"
    directory = Path(output) if output else home
    directory.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        with atomic.replacing(directory / f"{figure.name}.png") as temporary:
            temporary.write_bytes(figure.png)
    title = f"{sweep.name if sweep else 'Settings'} compared: {label}"
    for name in formats:
        if name == "csv":
            text = tidy(rows, metric).to_csv(index=False)
        elif name == "latex":
            text = "\n".join(table.latex() for table in tables)
        elif name == "html":
            text = _page(title, tables, figures, notes, settings[0].estimator)
        else:
            parts = [f"# {title}\n", *(table.markdown() for table in tables)]
            text = "\n".join(parts + [f"- {note}" for note in notes])
        atomic.write_text(directory / f"{metric}{_SUFFIX[name]}", text)
    print(tables[0].markdown())
    for note in notes:
        say(note)
    if sweep is not None and attach_comparison(
        tracking_store(sweep.config), sweep.directory, directory
    ):
        say("logged to the sweep's MLflow run")
    say(f"comparison: {directory}")
    return directory


def _gather(
    sources: Sequence[str], overrides: Sequence[str]
) -> tuple[Sweep | None, list[Path], dict[str, dict] | None, list[str]]:
    """Find the finished runs; note settings that are missing."""
    directories = [Path(source) for source in sources if Path(source).is_dir()]
    if directories and len(directories) < len(sources):
        strange = next(s for s in sources if not Path(s).is_dir())
        raise UserError(f"{strange} is not a run directory; name one recipe or run directories")
    if directories:
        if overrides:
            raise UserError("overrides belong to a recipe; run directories have their own")
        return (None, *_from_directories(directories))
    if len(sources) != 1:
        raise UserError(f"found {len(sources)} recipes, expected one, or run directories")
    sweep = expand(sources[0], overrides)
    runs, notes = [], []
    for setting in sweep.settings:
        reason = failure(sweep.directory, setting.name)
        if is_finished(setting.directory):
            runs.append(setting.directory)
        else:
            notes.append(
                f"setting {setting.name} is omitted: "
                + (f"it failed, {reason}" if reason else "it has not finished")
            )
    if not runs:
        raise UserError(
            f"{sweep.directory}: no setting has finished; run `slams ablate {sweep.recipe}` first"
        )
    return sweep, runs, {s.name: dict(s.overrides) for s in sweep.settings}, notes


def _from_directories(
    directories: Sequence[Path],
) -> tuple[list[Path], dict[str, dict] | None, list[str]]:
    """Return run directories as given, and the runs in the directories of sweeps."""
    runs: list[Path] = []
    varied: dict[str, dict] = {}
    for directory in directories:
        record = SweepRecord.read(directory)
        if record is None:
            runs.append(directory)
            continue
        runs += [p for p in sorted(directory.glob("assimilation-*")) if is_finished(p)]
        varied |= {name: dict(values) for name, values in record.settings.items()}
    for run in runs:
        if RunRecord.read(run).status != "finished":
            raise UserError(f"{run} is {RunRecord.read(run).status}, expected a finished run")
    if not runs:
        raise UserError(f"{directories[0]} holds no finished assimilation")
    known = all(run.name.removeprefix("assimilation-") in varied for run in runs)
    return runs, varied if varied and known else None, []


def _baseline(asked: str, settings: Sequence[ScoredSetting]) -> str:
    names = [s.name for s in settings]
    methods = list(dict.fromkeys(m for s in settings for m in s.methods))
    if asked and asked not in (*names, *methods):
        raise UserError(
            f"--baseline: found {asked!r}, expected a setting that has finished "
            f"({', '.join(names)}) or a method ({', '.join(methods)})"
        )
    return asked or names[0]


def _degradations(
    settings: Sequence[ScoredSetting], metric: str, reference: str, label: str
) -> list[PlainTable]:
    methods = next(s for s in settings if s.name == reference).methods
    # Compared with the yardstick from every first guess that exists.
    yardsticks = [m for m in methods if split_name(m)[0] == in_role(Role.YARDSTICK).name]
    tables = []
    for method in methods:
        spec, first_guess = find_method(method)
        if spec is None or spec.family is not Family.GENERATIVE or first_guess is not None:
            continue
        for other in yardsticks:
            found = degradation(settings, method, other, metric, reference)
            if found:
                tables.append(degradation_table(found, method, other, label, reference))
    return tables


def _page(
    title: str,
    tables: Sequence[PlainTable],
    figures: list[Panel],
    notes: list[str],
    estimator: int,
) -> str:
    caption = "Shading and bars are 95 % intervals over dates."
    sections = [Section("figures", "Figures", caption, panels=figures, missing=notes)]
    for number, table in enumerate(tables):
        sections.append(Section(f"table-{number}", table.caption, tables=[table.html()]))
    footer = f"Written by slams {package_version()}. {made_with(estimator)}"
    return page(title, joined([table.caption for table in tables]), sections, footer)
