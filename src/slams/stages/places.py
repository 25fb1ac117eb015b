"""Where the runs of a recipe are, and the finished runs that it builds on.

This module turns the whole recipe into the arguments of other packages: paths, a `RunRequest`, a
`TrackingStore`. It imports nothing heavy: commands are checked with it before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slams.config.loading import to_plain
from slams.config.schema import Config
from slams.config.splits import describe_test_days
from slams.errors import UserError
from slams.plugins.methods import trained_stages
from slams.runs.provenance import network_difference
from slams.runs.record import RunRecord, is_finished, read_recipe
from slams.runs.request import RunRequest
from slams.runtime import directories
from slams.tracking.store import TrackingStore

if TYPE_CHECKING:
    from data_modules.reanalysis import ReanalysisDataModule

__all__ = [
    "ERRORS",
    "data_request",
    "error_directory",
    "finished_assimilations",
    "finished_run",
    "run_request",
    "stage_directory",
    "stage_of",
    "tracking_store",
    "trained_directory",
    "trained_inputs",
]

# Directory of measured denoising errors, in that of an experiment or of a bundle.
ERRORS = "denoising_errors"
# Stage -> verb.
_VERBS = {
    "filter": "train filter",
    "vae": "train vae",
    "score": "train score",
    "score_pixel": "train score",
    "assimilation": "assimilate",
}


def stage_of(config: Config, verb: str) -> str:
    """Return the stage that a verb runs; empty for a verb without a run directory.

    Args:
        config: The recipe.
        verb: The verb, for example `train score`.
    """
    if verb == "train score" and config.score.space == "pixel":
        return "score_pixel"
    return next((stage for stage, name in _VERBS.items() if name == verb), "")


def stage_directory(config: Config, stage: str) -> Path:
    """Return the directory of a stage; a setting other than `default` gets a directory of its own.

    That directory, `assimilation-<setting>`, lies next to the default one, not inside it, so that
    starting one of them over never touches another.
    """
    name = stage
    if stage == "assimilation" and config.assimilation.setting != "default":
        name = f"assimilation-{config.assimilation.setting}"
    return Path(config.runs) / config.experiment / name


def run_request(
    config: Config,
    stage: str,
    inputs: Mapping[str, str] | None = None,
    fingerprint: str = "",
    reserved: Sequence[str] | None = None,
) -> RunRequest:
    """Return the request of a stage of a recipe for its run directory.

    Args:
        config: The recipe.
        stage: `vae`, `score`, `score_pixel` or `assimilation`.
        inputs: Lineage, stage -> run id of each run that this one is built on.
        fingerprint: Fingerprint of the training store.
        reserved: Days that the recipe and the store reserve, ISO dates in pairs; those of the
            recipe where the store has not been opened.
    """
    splits = config.data.splits
    reserved = splits.reserved if reserved is None else reserved
    run = RunRecord(
        run_id="",
        stage=stage,
        experiment=config.experiment,
        inputs=dict(inputs or {}),
        fingerprint=fingerprint,
        reserved_days=list(reserved),
        test_days=describe_test_days(splits, reserved, read=stage == "assimilation"),
    )
    path, recipe = stage_directory(config, stage), to_plain(config)
    return RunRequest(path, recipe, run, config.resume, config.data.store)


def data_request(config: Config, stage: str, data: ReanalysisDataModule) -> RunRequest:
    """Return the request of a stage whose training store has been opened, with its lineage.

    Args:
        config: The recipe.
        stage: As for `run_request`.
        data: The DataModule of the stage.

    Raises:
        UserError: A run that the stage is built on is missing, see `finished_run`.
    """
    inputs = trained_inputs(config, stage)
    provider = data.provider
    if provider is not None and provider.states is not None and stage != "filter":
        # Another store may lie at the same path.
        inputs["background"] = provider.states.fingerprint
    return run_request(config, stage, inputs, data.store.fingerprint, data.reserved)


def tracking_store(config: Config) -> TrackingStore:
    """Return where the runs of a recipe are tracked."""
    return TrackingStore(config.tracking, Path(config.runs), config.experiment)


def trained_directory(config: Config, stage: str) -> Path:
    """Return the directory of the trained stage that a recipe builds on.

    It is in the experiment that `pretrained_experiment` names, or else in the recipe's own.
    """
    experiment = config.pretrained_experiment or config.experiment
    return stage_directory(replace(config, experiment=experiment), stage)


def error_directory(config: Config) -> Path:
    """Return where denoising errors are kept, next to the runs of the networks that make them."""
    return trained_directory(config, "score").parent / ERRORS


def finished_run(config: Config, stage: str) -> RunRecord:
    """Read the record of the finished run of a stage that a recipe builds on.

    Within its own experiment, the recipe must describe the network as it was trained.

    Raises:
        UserError: There is none, it has not finished, or its network differs; the message names
            the command to run.
    """
    path = trained_directory(config, stage)
    command = f"slams {_VERBS[stage]}"
    # The command trains it only with this key.
    words = " (score.space=pixel)" if stage == "score_pixel" else ""
    if not (path / "run.json").exists():
        raise UserError(
            f"{path} is missing or not a run; run `{command}` with the recipe of experiment "
            f"{config.pretrained_experiment or config.experiment!r}{words} first"
        )
    record = RunRecord.read(path)
    if record.status != "finished":
        raise UserError(
            f"{path} is {record.status}, expected a finished run; run `{command}` again to "
            f"continue it{directories.describe_backup(path)}"
        )
    if not config.pretrained_experiment:
        other = network_difference(stage, read_recipe(path), to_plain(config))
        if other is not None:
            raise UserError(
                f"{path} was trained with another recipe: {other}; train it again with "
                f"resume=overwrite or choose another experiment"
            )
    return record


def finished_assimilations(config: Config) -> list[Path]:
    """Return the directories of a recipe's finished assimilation and of its settings'.

    Raises:
        UserError: None of them has finished.
    """
    first = stage_directory(config, "assimilation")
    others = sorted((Path(config.runs) / config.experiment).glob("assimilation*"))
    found = [path for path in dict.fromkeys((first, *others)) if is_finished(path)]
    if not found:
        raise UserError(f"{first}: expected a finished assimilation; run `slams assimilate` first")
    return found


def trained_inputs(config: Config, stage: str) -> dict[str, str]:
    """Return the finished runs that a stage is built on: stage -> run id.

    Args:
        config: The recipe; its methods decide for an assimilation.
        stage: As for `run_request`.

    Raises:
        UserError: One of them is missing, see `finished_run`.
    """
    stages = {"vae"} if stage == "score" else set()
    if stage == "assimilation":
        stages = {one for name in config.assimilation.methods for one in trained_stages(name)}
    return {one: finished_run(config, one).run_id for one in sorted(stages, reverse=True)}
