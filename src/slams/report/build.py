"""Build `report/index.html` from run directories."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from matplotlib import style

from slams.config.schema import ReportConfig
from slams.errors import UserError
from slams.plugins.methods import METHODS
from slams.report.calibration import rank_histograms, spread_against_error
from slams.report.cross_section import cross_section
from slams.report.decomposition import decomposition
from slams.report.drawing import FIGURES
from slams.report.formatting import change, made_with, with_interval
from slams.report.held_out import held_out, observation_ranks
from slams.report.innovations import consistency, innovations
from slams.report.mapdata import leading
from slams.report.maps import surface_maps, temperature_maps
from slams.report.modalities import modality_study, setting_labels
from slams.report.other_levels import other_levels
from slams.report.over_time import cycle_drift, error_by_date, errors_by_day
from slams.report.paired import Sampling, by_date, compare
from slams.report.profiles import profiles
from slams.report.reading import (
    AssimilationRun,
    TrainingRun,
    config_value,
    lookup,
    read_assimilation,
    read_training,
)
from slams.report.regions import regional_scores
from slams.report.section import Section, new_section, page
from slams.report.settings import limits, provenance, settings, subtitle
from slams.report.spectra import spectra
from slams.report.station_profiles import station_profiles
from slams.report.style import in_order, method_label
from slams.report.summary import summary_figure
from slams.report.tables import method_table, other_tables
from slams.report.training import reconstruction, training_curves
from slams.runtime import atomic, directories
from slams.runtime.version import package_version

__all__ = ["write_report"]


def write_report(
    assimilation_dirs: Sequence[Path],
    vae_dir: Path | None = None,
    score_dir: Path | None = None,
    *,
    output: Path,
    options: ReportConfig | None = None,
) -> Path:
    """Write a self-contained report, its figures as PNG files, and a summary picture.

    The report states what a run directory lacks. Files are replaced only after everything was
    made: an interrupted or refused report leaves the previous one unchanged.

    Args:
        assimilation_dirs: One assimilation run directory per setting of observations; the report
            is about the first, the others are compared with it.
        vae_dir: Run directory of the VAE.
        score_dir: Run directory of the latent score.
        output: Directory of the report, for example `runs/demo/report`.
        options: Case, level and resolution of the figures.

    Returns:
        Path of `index.html`; `summary.png` and `figures/` are in the same directory.

    Raises:
        UserError: None of the assimilation directories exists, or the fields that the first one
            has kept are damaged.
    """
    options = options or ReportConfig()
    paths = [Path(path) for path in assimilation_dirs]
    present = [path for path in paths if path.is_dir()]
    found = [read_assimilation(path, refuse=path == present[0]) for path in present]
    if not found:
        raise UserError(
            "report: no assimilation run to report on; expected "
            f"{', '.join(map(str, paths)) or 'no directory'}; run `slams assimilate` first"
        )
    runs = [run for run in found if run.estimator == found[0].estimator]
    absent = [
        f"{path} does not exist: its setting is omitted." for path in paths if not path.is_dir()
    ]
    absent += [
        f"{run.path} was scored by estimators of version {run.estimator}, which cannot be "
        f"compared with version {runs[0].estimator}: its setting is omitted; run it again "
        "with resume=overwrite."
        for run in found
        if run.estimator != runs[0].estimator
    ]
    trainings = []
    for stage, path in (("vae", vae_dir), ("score", score_dir)):
        if path is None:
            continue
        if Path(path).is_dir():
            trainings.append(read_training(Path(path), stage))
        else:
            absent.append(f"{path} does not exist: nothing on the training of the {stage}.")
    with style.context([FIGURES, {"savefig.dpi": options.dpi}]):
        sections = _sections(runs, trainings, absent, options)
        summary = summary_figure(runs[0], options)
    name = str(config_value(runs[0].config, "experiment", runs[0].path.parent.name))
    text = page(
        title=f"{name}: analyses of temperature and their uncertainty",
        subtitle=subtitle(runs[0]),
        sections=sections,
        footer=f"Written by slams {package_version()}. {made_with(runs[0].estimator)} Coastlines: "
        "Natural Earth, public domain.",
    )
    return _write(Path(output), text, sections, summary.png if summary else None)


def _sections(
    runs: list[AssimilationRun],
    trainings: list[TrainingRun],
    absent: list[str],
    options: ReportConfig,
) -> list[Section]:
    first = runs[0]
    vae = next((run for run in trainings if run.stage == "vae"), None)
    sections = [
        _methods(first),
        decomposition(runs),
        modality_study(runs),
        temperature_maps(first, options),
        surface_maps(first, options),
        station_profiles(first, options),
        cross_section(first, options),
        profiles(first),
        *other_levels(first, options),
        regional_scores(first),
        rank_histograms(first),
        spread_against_error(first),
        spectra(first, options.level),
        error_by_date(first),
        errors_by_day(first),
        cycle_drift(first),
        innovations(first),
        consistency(first),
        held_out(first),
        observation_ranks(first),
        reconstruction(vae, options.level),
        training_curves(trainings),
        settings(first, setting_labels(runs)),
        limits(first),
        provenance(runs, trainings),
    ]
    missing = new_section("missing")
    missing.missing = [*absent, *(text for run in (*runs, *trainings) for text in run.missing)]
    if missing.missing:
        sections.append(missing)
    return [section for section in sections if section is not None]


def _methods(run: AssimilationRun) -> Section:
    """Make the first section: the table of methods and the findings from it."""
    section = new_section("methods")
    if run.results is None or run.results.empty:
        return section.without("No results table: no table of methods.")
    section.lead.append(method_table(run))
    others = other_tables(run)
    if others:
        section.tables.append(others)
    method = leading(in_order(run.results["method"]))
    if method is not None:
        section.findings = _findings(run, method)
    return section


def _findings(run: AssimilationRun, method: str) -> list[str]:
    """Return sentences on the scores of one method, and how it compares with the references."""
    label = method_label(method)
    sentences = []
    score = lookup(run.results, method, "rmse")
    if score is not None:
        sentences.append(
            f"Mean over levels, the RMSE of {label} is {with_interval(score, 'K')} on "
            f"{score.n} dates."
        )
    if run.cases is not None:
        references = sorted(METHODS.built_in(), key=lambda spec: spec.order)
        others = [m for m in run.methods if m != method]
        references = [spec for spec in references if spec.reference and spec.name in others]
        for metric in ("rmse", "crps"):
            this = by_date(run.cases, method, metric)
            for spec in references:
                other = by_date(run.cases, spec.name, metric)
                comparison = compare(this, other, metric, Sampling.of(run.config))
                if comparison is not None:
                    subject = f"The {metric.upper()} of {label}"
                    sentences.append(change(subject, comparison, f"that of {spec.reference}"))
    ratio = lookup(run.results, method, "spread_skill")
    if ratio is not None:
        sentences.append(f"The spread of {label} is {with_interval(ratio)} times its error.")
    diverged = lookup(run.results, method, "divergent_members")
    if diverged is not None and diverged.value > 0:
        sentences.append(
            f"{diverged.value:g} members of {label} diverged; they were detected and drawn again."
        )
    return sentences


def _write(output: Path, text: str, sections: list[Section], summary: bytes | None) -> Path:
    made = directories.make(output)
    figures, new = output / "figures", output / ".figures.tmp"
    picture, index = output / "summary.png", output / "index.html"
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()
        for section in sections:
            for panel in section.panels:
                (new / f"{panel.name}.png").write_bytes(panel.png)
        with atomic.replacing(index) as page_part, atomic.replacing(picture) as picture_part:
            page_part.write_text(text, encoding="utf-8")
            picture_part.write_bytes(summary or b"")
            # Figures of an earlier report that are absent from this one would look like part of
            # it.
            shutil.rmtree(figures, ignore_errors=True)
            new.rename(figures)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        directories.remove_created(made)
        raise
    if summary is None:
        picture.unlink()
    return index
