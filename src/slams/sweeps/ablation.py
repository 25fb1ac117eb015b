"""Runs the settings of a sweep one after another; goes on after a failure.

What is finished is kept, what failed or was interrupted is run again, and what another process
has in hand is left to it: a setting is claimed by a file lock while it runs, so that members of a
job array and other commands on the same sweep never run one twice. A network that several
settings need is trained by the first of them while the others wait.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slams.config.checks import require
from slams.config.loading import to_plain
from slams.config.schema import Config
from slams.errors import UserError
from slams.runs.provenance import run_difference
from slams.runs.record import is_finished, read_recipe
from slams.runs.sweep_record import SweepRecord, claim, failure, forget_failure, keep_failure
from slams.runtime.failures import explain_failure
from slams.runtime.ranks import is_rank_zero, say
from slams.stages.assimilation import assimilate
from slams.stages.places import stage_directory, tracking_store
from slams.stages.preflight import check_prerequisites
from slams.stages.training import train_score, train_vae
from slams.sweeps import Setting, Sweep
from slams.sweeps.status import has_finished
from slams.tracking.sweeps import open_sweep, record_progress

__all__ = ["ablate"]


def ablate(sweep: Sweep, which: str | None = None) -> Path:
    """Run the settings of a sweep that have not finished.

    Args:
        sweep: The sweep.
        which: Number or name of the one setting to run, as the member of a job array does.

    Returns:
        The sweep's directory.

    Raises:
        UserError: Before anything runs, a setting lacks what every assimilation needs; or
            settings failed, once all others have run.
    """
    chosen = sweep.settings if which is None else (sweep.find(which),)
    processes = sweep.config.trainer.devices * sweep.config.trainer.num_nodes
    if processes > 1 and which is None:
        raise UserError(
            f"key 'trainer.devices': a sweep in one command runs on one device, found "
            f"{processes}; run its settings one by one with --setting 0 to "
            f"{len(sweep.settings) - 1}"
        )
    if is_rank_zero():
        settings = {s.name: dict(s.overrides) for s in sweep.settings}
        record = SweepRecord(sweep.name, str(sweep.recipe), settings)
        open_sweep(tracking_store(sweep.config), sweep.directory, record)
    elsewhere: list[str] = []
    try:
        _run_all(sweep, chosen, elsewhere, alone=which is not None)
    finally:
        _record(sweep)
    failed = {s.name: reason for s in chosen if (reason := failure(sweep.directory, s.name))}
    if elsewhere:
        say(f"left to other processes, which are at it: {', '.join(elsewhere)}")
    if failed:
        name, reason = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(chosen)} settings of sweep {sweep.name} failed: "
            f"{', '.join(failed)} ({name}: {reason}); the same command runs only what has not "
            f"finished"
        )
    say(f"sweep {sweep.name}: {len(chosen) - len(elsewhere)} of {len(chosen)} settings finished")
    return sweep.directory


def _run_all(
    sweep: Sweep, chosen: Sequence[Setting], elsewhere: list[str], *, alone: bool
) -> None:
    """Run settings in order; note those that other processes have in hand."""
    started, done = time.perf_counter(), 0
    for position, setting in enumerate(chosen):
        if not is_rank_zero():  # beside rank zero, which has the claim
            _stages(sweep, setting)
            continue
        with claim(sweep.directory, setting.name) as mine:
            if not mine:
                if alone:
                    raise UserError(f"setting {setting.name} is being run by another process")
                elsewhere.append(setting.name)
                continue
            # Looked at under the claim: another process may just have finished it.
            if has_finished(setting):
                forget_failure(sweep.directory, setting.name)
                continue
            say(f"setting {position + 1} of {len(chosen)}: {setting.name}")
            _attempt(sweep, setting)
            # Trainer, module and data refer to one another: without this, what a setting held in
            # memory is still there while the next one fills it.
            gc.collect()
            done += 1
            minutes = (time.perf_counter() - started) / 60
            say(f"setting {setting.name}: {minutes / done:.1f} min a setting so far")


def _attempt(sweep: Sweep, setting: Setting) -> None:
    """Run one setting; a failure is kept with its reason, and the sweep goes on."""
    config = setting.config
    try:
        _stages(sweep, setting)
    except Exception as error:
        places = [Path(config.runs), Path(config.data.store)]
        lines = str(error).strip().splitlines() or [""]
        reason = explain_failure(error, places) or f"{type(error).__name__}: {lines[-1]}"
        details = "".join(traceback.format_exception(error))
        kept = keep_failure(sweep.directory, setting.name, reason, details)
        say(f"setting {setting.name} failed: {reason} ({kept})")
    else:
        forget_failure(sweep.directory, setting.name)


def _stages(sweep: Sweep, setting: Setting) -> None:
    """Train what a setting needs and is not there, then assimilates."""
    for stage, config in setting.trainings.items():
        directory = stage_directory(config, stage)
        if is_rank_zero():
            _link(setting, stage)
            with claim(sweep.directory, f"{config.experiment}-{stage}", wait=True):
                if is_finished(directory):
                    _refuse_other(stage, setting)
                    continue
                _train(stage, config)
        elif not is_finished(directory):
            _train(stage, config)
    check_prerequisites(setting.config, "assimilate")
    assimilate(setting.config, report_after=False)


def _train(stage: str, config: Config) -> None:
    require(config, f"train {stage}")
    check_prerequisites(config, f"train {stage}")
    {"vae": train_vae, "score": train_score}[stage](config)


def _link(setting: Setting, stage: str) -> None:
    """Let a score that is trained for a setting find the VAE it shares with others.

    A link that stays right when the directory of all runs is moved.
    """
    if stage != "score":
        return
    config = setting.trainings["score"]
    vae = setting.trainings.get("vae") or replace(
        setting.config, pretrained_experiment="", experiment=setting.networks
    )
    here, there = stage_directory(config, "vae"), stage_directory(vae, "vae")
    if here == there or here.exists() or here.is_symlink():
        return
    if is_finished(there):
        here.parent.mkdir(parents=True, exist_ok=True)
        # Another process of this sweep may make the same link at the same time.
        with contextlib.suppress(FileExistsError):
            here.symlink_to(os.path.relpath(there, here.parent), target_is_directory=True)


def _refuse_other(stage: str, setting: Setting) -> None:
    """Refuse a trained stage that was trained with another recipe than the sweep's."""
    config = setting.trainings[stage]
    directory = stage_directory(config, stage)
    other = run_difference(stage, read_recipe(directory), to_plain(config))
    if other is not None:
        raise UserError(
            f"{directory} was trained with another recipe: {other}; train it again with "
            f"resume=overwrite or choose another ablation.name"
        )


def _record(sweep: Sweep) -> None:
    """Return the tracking server how far the whole sweep has come, other processes' part too."""
    if not is_rank_zero():
        return
    states = {s.name: is_finished(s.directory) for s in sweep.settings}
    failed = {
        s.name: reason for s in sweep.settings if (reason := failure(sweep.directory, s.name))
    }
    finished = [name for name, done in states.items() if done and name not in failed]
    open_ones = len(states) - len(finished) - len(failed)
    store = tracking_store(sweep.config)
    record_progress(store, sweep.directory, len(finished), failed, running=open_ones > 0)
