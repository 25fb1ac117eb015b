"""The context of every stage: its run directory and its tracked run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slams.config.schema import Config
from slams.runs.directory import RunDirectory
from slams.runs.request import RunRequest
from slams.runtime.ranks import say
from slams.stages.places import tracking_store
from slams.tracking import runs
from slams.tracking.runs import Tracker

__all__ = ["run_stage"]


def run_stage(
    config: Config, request: RunRequest, work: Callable[[RunDirectory, Tracker], None]
) -> Path:
    """Run the work of a stage in its run directory, tracked; keep a run that has finished.

    Args:
        config: The recipe.
        request: Request of the stage for its run directory.
        work: Function that does the work; called with the run directory and the tracked run.

    Returns:
        The run directory.

    Raises:
        UserError: The directory or the tracking server cannot be used.
    """
    tags = {}
    if request.run.stage == "assimilation":  # a trained network serves all settings
        tags["setting"] = config.assimilation.setting
    with (
        RunDirectory.open(request) as run,
        runs.start(tracking_store(config), run, tags) as tracker,
    ):
        if run.finished:
            say(run.summary())
        else:
            work(run, tracker)
    return run.path
