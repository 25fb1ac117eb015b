"""Progress of the settings of a sweep, determined from their directories alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.runs.record import is_finished
from slams.runs.sweep_record import claim, failure
from slams.stages.places import run_request, stage_directory, trained_directory, trained_inputs
from slams.sweeps.expansion import Setting, Sweep

__all__ = ["describe", "has_finished", "status"]

_FINISHED, _FAILED, _RUNNING, _TODO = "finished", "failed", "running", "to do"


def has_finished(setting: Setting) -> bool:
    """Return whether a setting has finished with the present recipe, and need not run again."""
    if setting.config.resume == "overwrite" or not is_finished(setting.directory):
        return False
    return _is_current(setting)


def status(sweep: Sweep, setting: Setting) -> str:
    """Return the state of a setting: `finished`, `failed`, `running` or `to do`."""
    if has_finished(setting):
        return _FINISHED
    if sweep.directory.is_dir():
        with claim(sweep.directory, setting.name) as free:
            if not free:
                return _RUNNING
    if failure(sweep.directory, setting.name):
        return _FAILED
    return _TODO


def describe(sweep: Sweep, chosen: Sequence[Setting]) -> str:
    """Format the settings of a sweep and their progress.

    Args:
        sweep: The sweep.
        chosen: Settings to show.
    """
    rows = [("", "setting", "status", "networks", "overrides")]
    states = []
    for setting in chosen:
        states.append(status(sweep, setting))
        words = " ".join(f"{key}={_show(value)}" for key, value in setting.overrides.items())
        rows.append((str(setting.number), setting.name, states[-1], _origin(setting), words))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(f"{row[c]:{widths[c]}}" for c in range(4)), row[4]]).rstrip() for row in rows
    ]
    for setting, state in zip(chosen, states, strict=True):
        if state == _FAILED:
            lines.append(f"{setting.name} failed: {failure(sweep.directory, setting.name)}")
    counts = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    lines.append(f"sweep {sweep.name} in {sweep.directory}: {len(chosen)} settings, {counts}")
    return "\n".join(lines)


def _is_current(setting: Setting) -> bool:
    """Return whether a finished assimilation matches its setting and the present networks."""
    try:
        inputs = trained_inputs(setting.config, "assimilation")
        request = run_request(setting.config, "assimilation", inputs)
        RunDirectory.check(replace(request, resume="auto"))
    except UserError:
        return False
    return True


def _origin(setting: Setting) -> str:
    """Return the experiment of the networks, with the stages that are still to be trained."""
    missing = [
        stage
        for stage, c in setting.trainings.items()
        if not is_finished(stage_directory(c, stage))
    ]
    where = setting.config.pretrained_experiment
    there = trained_directory(setting.config, "score").parent
    if missing:
        return f"{where} (to train: {', '.join(missing)})"
    return where if there.is_dir() else f"{where} (missing)"


def _show(value: object) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
