"""Run the settings of a sweep one after another, and continue after a failure.

Finished settings are kept, failed or interrupted ones are run again, and those that another
process is running are left to it: a setting is claimed by a file lock while it runs, so that tasks
of a job array and other commands on the same sweep never run one twice. A network that several
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
from slams.config.schema import Config
from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.runs.record import is_finished
from slams.runs.sweep_record import SweepRecord, claim, failure, forget_failure, keep_failure
from slams.runtime.failures import explain_failure
from slams.runtime.ranks import is_rank_zero, say
from slams.stages.assimilation import assimilate
from slams.stages.places import run_request, stage_directory, tracking_store
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
        which: Number or name of the one setting to run, as a task of a job array does.

    Returns:
        The sweep's directory.

    Raises:
        UserError: Before anything runs, if a setting lacks what every assimilation needs; or after
            all settings have run, if some failed.
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
    try:
        elsewhere = _run_all(sweep, chosen, alone=which is not None)
    finally:
        _record(sweep)
    failed = _failures(sweep, chosen)
    if elsewhere:
        say(f"left to other processes, which are running them: {', '.join(elsewhere)}")
    if failed:
        name, reason = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(chosen)} settings of sweep {sweep.name} failed: "
            f"{', '.join(failed)} ({name}: {reason}); the same command runs only what has not "
            f"finished"
        )
    say(f"sweep {sweep.name}: {len(chosen) - len(elsewhere)} of {len(chosen)} settings finished")
    return sweep.directory


def _run_all(sweep: Sweep, chosen: Sequence[Setting], *, alone: bool) -> list[str]:
    """Run settings in order; return the names of those that other processes are running."""
    started, done = time.perf_counter(), 0
    elsewhere: list[str] = []
    for position, setting in enumerate(chosen):
        if not is_rank_zero():  # together with rank zero, which has the claim
            _stages(sweep, setting)
            continue
        with claim(sweep.directory, setting.name) as claimed:
            if not claimed:
                if alone:
                    raise UserError(f"setting {setting.name} is being run by another process")
                elsewhere.append(setting.name)
                continue
            # Checked under the claim: another process may just have finished it.
            if has_finished(setting):
                forget_failure(sweep.directory, setting.name)
                continue
            say(f"setting {position + 1} of {len(chosen)}: {setting.name}")
            _attempt(sweep, setting)
            # Trainer, module and data refer to one another: without this, the memory of a setting
            # is still in use while the next setting allocates its own.
            gc.collect()
            done += 1
            minutes = (time.perf_counter() - started) / 60
            say(f"setting {setting.name}: {minutes / done:.1f} min per setting so far")
    return elsewhere


def _attempt(sweep: Sweep, setting: Setting) -> None:
    """Run one setting; record a failure with its reason, and continue."""
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
    """Train the networks that a setting needs and that are missing, then assimilate."""
    for stage, config in setting.trainings.items():
        directory = stage_directory(config, stage)
        if is_rank_zero():
            _link(setting, stage)
            with claim(sweep.directory, f"{config.experiment}-{stage}", wait=True):
                if is_finished(directory):
                    RunDirectory.check(run_request(config, stage))
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
    """Link the VAE that a setting shares with others to where its score's training expects it.

    The link is relative, so that it stays valid when the directory of all runs is moved.
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


def _record(sweep: Sweep) -> None:
    """Record the progress of the whole sweep on the tracking server, other processes included."""
    if not is_rank_zero():
        return
    failed = _failures(sweep, sweep.settings)
    finished = [s for s in sweep.settings if s.name not in failed and is_finished(s.directory)]
    running = len(finished) + len(failed) < len(sweep.settings)
    store = tracking_store(sweep.config)
    record_progress(store, sweep.directory, len(finished), failed, running)


def _failures(sweep: Sweep, settings: Sequence[Setting]) -> dict[str, str]:
    """Return the settings that failed the last time, with the reasons."""
    reasons = {setting.name: failure(sweep.directory, setting.name) for setting in settings}
    return {name: reason for name, reason in reasons.items() if reason}
