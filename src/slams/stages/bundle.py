"""Export of a run as a bundle, and the bundle opened again: recipe, data and networks."""

from __future__ import annotations

import atexit
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import torch

from data_modules.multimodal import MultimodalDataModule
from data_modules.store.packed_store import write_packed
from data_modules.stream.background import FEWEST_FILE_DAYS
from slams.bundles.card import write_card
from slams.bundles.files import RECORD, Bundle, is_bundle
from slams.bundles.weights import weights_file, write_weights
from slams.config.loading import load as load_recipe
from slams.config.loading import to_yaml
from slams.config.schema import Config, SourceConfig
from slams.config.yaml_text import read_yaml_text
from slams.errors import UserError
from slams.modules.base import read_checkpoint
from slams.plugins.guidance import GUIDANCE
from slams.plugins.methods import Role, in_role
from slams.runs.record import RunRecord, now
from slams.runtime.atomic import replacing_store, write_text
from slams.runtime.directories import exclusive, lock_file, make, remove_created
from slams.runtime.files import read_table
from slams.runtime.kept_tensors import TensorFiles
from slams.stages.bundle_card import bundle_notes, make_card
from slams.stages.bundle_filter import (
    FilterRun,
    OpenFilter,
    find_filter,
    open_filter,
    write_filter,
)
from slams.stages.data import trajectories
from slams.stages.loading import Networks, best_weights
from slams.stages.methods import inner, make_methods
from slams.stages.places import ERRORS, error_directory, finished_run

__all__ = [
    "MODEL",
    "SERVED",
    "OpenBundle",
    "export_run",
    "keep_model",
    "load_bundle",
    "open_bundle",
    "run_config",
    "without_observations",
    "write_bundle",
]

# Methods that a bundle serves.
SERVED = ("climatology", "background", "optimal_interpolation", "latent_diffusion")
# Largest number of values of a packed archive without a number of days: 134 million, 80 MB.
_VALUES = 2**27
_STAGES = ("vae", "score")
# Directory of the bundle in that of an assimilation.
MODEL = "model"


@dataclass(frozen=True)
class OpenBundle:
    """A bundle that has been opened and checked.

    Attributes:
        path: Its directory.
        record: Its record.
        config: Its recipe, with paths inside the bundle.
        data: Its data, without observations.
        networks: Its networks.
        kept: Denoising errors that were measured for it, and those of this process.
        learned_filter: The filter whose forecasts are the backgrounds of its cycles, if any.
    """

    path: Path
    record: Bundle
    config: Config
    data: MultimodalDataModule
    networks: Networks
    kept: TensorFiles
    learned_filter: OpenFilter | None = None


def run_config(run_dir: str | Path) -> Config:
    """Read the recipe of a finished run, with the runs next to it as those it is built on.

    Raises:
        UserError: It is not a run of this version, or has not finished.
    """
    path = Path(run_dir)
    _check_finished(path)
    config = load_recipe(path / "config.yaml")
    # Loaded from another directory, or moved: the runs next to it are used. An experiment's name
    # may have several parts.
    return replace(config, runs=str(path.resolve().parents[1 + config.experiment.count("/")]))


def export_run(
    run_dir: str | Path,
    output: str | Path,
    archive: bool = True,
    days: int = 0,
    errors: bool = True,
) -> Path:
    """Write the bundle of a finished run, see `write_bundle`.

    Args:
        run_dir: Directory of a score model or an assimilation.
        output: Directory of the bundle, which does not exist, is empty, or holds this bundle
            already: it is kept then.
        archive: As for `write_bundle`.
        days: As for `write_bundle`.
        errors: As for `write_bundle`.

    Returns:
        The directory of the bundle.

    Raises:
        UserError: The run cannot be used, or the output exists.
    """
    config, output = run_config(run_dir), Path(output)
    if output.is_symlink():
        output = output.resolve()  # what it stands for is written, and the link stays
    if output.resolve() == Path.cwd():
        raise UserError(
            f"--output: found {output}, the working directory, expected one that can be replaced"
        )
    made = make(output.parent)
    try:
        with exclusive(lock_file(output)):  # another export of this bundle is waited for
            if output.exists() and (not output.is_dir() or any(output.iterdir())):
                if not _is_same(output, config, archive, days, errors):
                    raise UserError(
                        f"--output: {output} exists; remove it, or choose another directory"
                    )
                return output
            results = Path(run_dir) / "results.parquet"
            scores = read_table(results) if results.exists() else None
            write_bundle(config, output, archive, days, scores, errors)
    except BaseException:
        remove_created(made)
        raise
    return output


def write_bundle(
    config: Config,
    output: Path,
    archive: bool = True,
    days: int = 0,
    results: pd.DataFrame | None = None,
    errors: bool = False,
) -> Bundle:
    """Write a bundle, completely or not at all.

    Args:
        config: The recipe; the runs that it builds on have finished.
        output: Directory of the bundle; an earlier bundle there is replaced.
        archive: Whether to write the archive days, without which no observation can be used.
        days: Largest number of archive days, evenly spaced; 0 for all, or as many as 2**27 values.
        results: Results table of an assimilation, for the model card.
        errors: Whether to write the denoising errors of the archive, where the recipe's guidance
            uses them: copied from the run if it has measured them, or else measured.

    Raises:
        UserError: A trained network or the training store is missing, or of another grid.
    """
    data = trajectories(without_observations(config))
    Networks(config, data).latent_score()  # refuses networks that do not belong together
    with replacing_store(output) as part:
        part.mkdir(parents=True)
        for stage in _STAGES:
            write_weights(read_checkpoint(best_weights(config, stage)), weights_file(part, stage))
        source, period = data.archive_source()
        written = _archive_days(data, days) if archive else np.empty(0)
        write_packed(part / "store.zarr", data.store, written, period.dates, (source, data.store))
        states = data.provider.states
        if states is not None and archive:
            own = written[np.isin(written, states.time)]
            write_packed(
                part / "background.zarr", data.store, own, period.dates, (states,), origin=states
            )
        found, missing = _filter_of(config, data, archive)
        if found is not None:
            write_filter(part, found)
        write_text(part / "config.yaml", to_yaml(_kept(config, period.dates, archive)))
        if errors and archive and _uses_errors(config):
            _measure_errors(part, error_directory(config))
        bundle = Bundle(
            slams=version("slams"),
            created=now(),
            experiment=config.experiment,
            vae=finished_run(config, "vae").run_id,
            score=finished_run(config, "score").run_id,
            methods=list(SERVED),
            archive_days=len(written),
            filter="" if found is None else found.run_id,
            error_bytes=sum(p.stat().st_size for p in (part / ERRORS).rglob("*") if p.is_file()),
            notes=[*bundle_notes(config, archive), *([missing] if missing else [])],
        )
        write_text(part / "README.md", write_card(make_card(bundle, config, data.store, results)))
        bundle.write(part)
    return bundle


def keep_model(config: Config, run_dir: Path) -> None:
    """Write the model of a finished assimilation into its directory, if it is not there.

    The run can then be moved, and read without its training store.

    Args:
        config: The recipe.
        run_dir: Directory of the assimilation.
    """
    path = run_dir / MODEL
    subject = in_role(Role.SUBJECT).name
    if subject not in config.assimilation.methods or is_bundle(path):
        return
    write_bundle(config, path, results=read_table(run_dir / "results.parquet"))


def load_bundle(path: str | Path) -> OpenBundle:
    """Open the bundle at a path, in the directory of a run, or made of a run for this process.

    Raises:
        UserError: There is neither a bundle nor a finished run, or as for `write_bundle` and
            `open_bundle`.
    """
    path = Path(path)
    if is_bundle(path):
        return open_bundle(path)
    if not path.is_dir():
        raise UserError(f"{path}: found no such directory, expected a bundle or a run")
    if not (path / "run.json").exists():
        raise UserError(f"{path} is neither a bundle nor a run: it has no {RECORD}, no run.json")
    _check_finished(path)
    if is_bundle(path / MODEL):
        return open_bundle(path / MODEL, path.resolve().parent / ERRORS)
    config, folder = run_config(path), Path(mkdtemp(prefix="slams-"))
    # What is made of a bundle reads it later, and may live longer than the model.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_bundle(config, folder / MODEL)
    return open_bundle(folder / MODEL, error_directory(config))


def open_bundle(path: str | Path, errors: Path | None = None) -> OpenBundle:
    """Open a bundle, whose recipe is treated as data.

    Args:
        path: Its directory.
        errors: Directory of denoising errors that a run has measured, read where it has them.

    Raises:
        UserError: It is not a bundle, is of another version, a file is missing or has changed, or
            its recipe names a plug-in that the user has not allowed.
    """
    path = Path(path).absolute()  # it is read later too, perhaps from another directory
    record = Bundle.read(path)
    config, data = _inside(path)
    kept = TensorFiles(path / ERRORS, [errors] if errors else [], writes=False)
    networks, learned = Networks(config, data, bundle=path), open_filter(path, record.filter)
    return OpenBundle(path, record, config, data, networks, kept, learned)


def _inside(path: Path) -> tuple[Config, MultimodalDataModule]:
    """Return the recipe and the data of a bundle, with paths inside it."""
    config = load_recipe(path / "config.yaml")
    states = path / "background.zarr"
    background = replace(config.background, recentre_days=0)
    if background.kind == "file":
        if states.exists():
            background = replace(background, path=str(states))
        else:  # without an archive
            background = replace(background, kind="climatology", path="")
    store = str(path / "store.zarr")
    config = replace(
        config,
        data=replace(config.data, store=store),
        background=background,
    )
    return config, trajectories(without_observations(config))


def _uses_errors(config: Config) -> bool:
    """Return whether analyses of a bundle use denoising errors that can be kept."""
    guidance = config.assimilation.guidance
    kind = GUIDANCE.get(guidance.kind, "assimilation.guidance.kind")
    # A gain that is regressed on the background is not identified by weights.
    kept = kind.uses_errors and guidance.background in ("condition", "neither")
    return kept and config.data.days == 1  # a bundle analyses no longer windows


def _measure_errors(part: Path, measured: Path) -> None:
    """Write the denoising errors of a bundle's archive, with backgrounds as in its recipe.

    Args:
        part: The bundle, whose weights and archive are written.
        measured: Directory of those that the run has measured.
    """
    config, data = _inside(part.absolute())
    networks = Networks(config, data, bundle=part)
    kept = TensorFiles(part / ERRORS, [measured])
    name = in_role(Role.SUBJECT).name
    method = inner(make_methods(config, [name], data, networks=networks, kept=kept)[0])
    with torch.no_grad():
        method.measure_errors(config.background.kind != "climatology")


def _filter_of(
    config: Config, data: MultimodalDataModule, archive: bool
) -> tuple[FilterRun | None, str]:
    """Return the filter that a bundle holds, and why it holds none, see `find_filter`."""
    if not archive or config.data.days > 1:  # it makes no cycle
        return None, ""
    return find_filter(config.runs, data.provider.states)


def without_observations(config: Config) -> Config:
    """Return the recipe for data without observations, whose networks need not be there."""
    return replace(config, observations=replace(config.observations, use=[]))


def _check_finished(run_dir: Path) -> None:
    record = RunRecord.read(run_dir)
    if record.status != "finished":
        raise UserError(f"{run_dir} is {record.status}, expected a finished run")
    if record.stage == "vae":
        raise UserError(
            f"{run_dir} is the run of an autoencoder, expected that of an assimilation or a score "
            f"model"
        )


def _archive_days(data: MultimodalDataModule, days: int) -> np.ndarray:
    """Return the days of the archive and of the validation period, `(n,)` increasing.

    If these are too many, blocks of consecutive days are selected, evenly spaced: a background of
    any age that the statistics have can be made within a block.

    Raises:
        UserError: The fewest days that a model can be made of are more than allowed.
    """
    splits = [s for s in ("train", "validation") if s == "train" or s in data.periods]
    most = days or max(
        _VALUES // (len(data.channels) * data.grid.shape[0] * data.grid.shape[1]), 2
    )
    every = {split: data.archive_days(split) for split in splits}
    total = sum(map(len, every.values()))
    if total > most:
        of_file = data.provider.states is not None
        ages = () if of_file else data.store.statistics.lags
        block = data.data.window + max(ages, default=0)
        # The errors of states of a file are estimated again from the training days.
        least = {s: 2 if s != "train" or not of_file else FEWEST_FILE_DAYS for s in splits}
        fewest = block * sum(least.values())
        if days and days < fewest:
            raise UserError(f"--archive-days: found {days}, expected at least {fewest}")
        spare = max(most - fewest, 0) // block
        for split, own in every.items():
            blocks = least[split] + spare * len(own) // total
            first = np.linspace(0, max(len(own) - block, 0), blocks).astype(np.int64)
            every[split] = own[np.unique(first[:, None] + np.arange(min(block, len(own))))]
    return np.unique(np.concatenate(list(every.values())))


def _kept(config: Config, training: list[str], archive: bool) -> Config:
    """Return the recipe of a bundle, without the paths of this machine."""
    data = config.data
    splits = replace(
        data.splits,
        train=training if archive else [],
        validation=data.splits.validation if archive else [],
        test=[],
        reserved=[],
    )

    def named(source: SourceConfig) -> SourceConfig:
        return replace(
            source, path=Path(source.path).name, files=[Path(f).name for f in source.files]
        )

    data = replace(
        data,
        store="store.zarr",
        splits=splits,
        source=named(data.source),
        sources=[named(source) for source in data.sources],
        statistics_from="",
        cache="none",
        num_workers=0,
    )
    default = Config()
    return replace(
        config, data=data, runs=default.runs, tracking=default.tracking, pretrained_experiment=""
    )


def _is_same(output: Path, config: Config, archive: bool, days: int, errors: bool) -> bool:
    """Return whether a directory holds the bundle that an export would write."""
    if not is_bundle(output):
        return False
    found = Bundle.read(output)
    recipe = read_yaml_text(output / "config.yaml")
    data = trajectories(without_observations(config))
    learned = _filter_of(config, data, archive)[0]
    return (
        found.score == finished_run(config, "score").run_id
        and found.filter == ("" if learned is None else learned.run_id)
        and recipe == to_yaml(_kept(config, data.archive_source()[1].dates, archive))
        and bool(found.error_bytes) == (errors and archive and _uses_errors(config))
        and found.archive_days == (len(_archive_days(data, days)) if archive else 0)
    )
