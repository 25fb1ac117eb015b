"""The MLflow run of a sweep: the parent of the runs of its settings.

It is made once, by whichever process of the sweep comes first, and holds the swept keys as
parameters, how many settings have finished as metrics, and what `slams compare` writes as
artifacts. Settings find it through `sweep.json` (`slams.runs.sweep_record`).
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from slams.runs import provenance
from slams.runs.sweep_record import SweepRecord
from slams.runtime.ranks import is_rank_zero
from slams.tracking.store import TrackingStore, resume_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["attach_comparison", "open_sweep", "record_progress"]

_LENGTH = 250


def open_sweep(store: TrackingStore, directory: Path, sweep: SweepRecord) -> SweepRecord:
    """Write `sweep.json`, and make the sweep's MLflow run or resume it.

    Args:
        store: Where the sweep is tracked.
        directory: The sweep's directory, made where it is missing.
        sweep: What is varied; the id of its MLflow run is filled in here.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(directory / ".sweep.lock"):
        old = SweepRecord.read(directory)
        record = replace(sweep, mlflow_run_id=old.mlflow_run_id if old else "")
        if store.section.enabled:
            with store.connected() as (client, experiment_id):
                if not resume_run(client, record.mlflow_run_id):
                    run_id = _create(client, experiment_id, store, directory, record)
                    record = replace(record, mlflow_run_id=run_id)
        if record != old:
            record.write(directory)
    return record


def record_progress(
    store: TrackingStore,
    directory: Path,
    finished: int,
    failed: Mapping[str, str],
    running: bool,
) -> None:
    """Record how far a sweep has come, and its end.

    Args:
        store: Where the sweep is tracked.
        directory: The sweep's directory.
        finished: Settings that have finished.
        failed: Settings that have failed, with their reasons.
        running: Whether settings are still to be done, here or by other processes.
    """
    record = SweepRecord.read(directory)
    if not (store.section.enabled and record and record.mlflow_run_id):
        return
    run_id = record.mlflow_run_id
    with store.connected() as (client, _):
        client.log_metric(run_id, "settings_finished", finished)
        client.log_metric(run_id, "settings_failed", len(failed))
        text = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        client.set_tag(run_id, "failed", text[:5000])
        if not running:
            client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def attach_comparison(store: TrackingStore, directory: Path, comparison: Path) -> bool:
    """Copy a comparison into the MLflow run of a sweep; return whether there is one.

    Args:
        store: Where the sweep is tracked.
        directory: The sweep's directory.
        comparison: Directory of what `slams compare` has written.
    """
    record = SweepRecord.read(directory)
    if not (store.section.enabled and record and record.mlflow_run_id and is_rank_zero()):
        return False
    with store.connected() as (client, _):
        client.log_artifacts(record.mlflow_run_id, str(comparison), "comparison")
    return True


def _create(
    client: MlflowClient,
    experiment_id: str,
    store: TrackingStore,
    directory: Path,
    record: SweepRecord,
) -> str:
    """Create the sweep's run with what is varied as parameters; return its id."""
    tags = {
        "mlflow.user": getpass.getuser(),
        "stage": "sweep",
        "sweep": record.name,
        "experiment": store.experiment,
        "recipe": record.recipe,
        "directory": str(directory.resolve()),
        "revision": provenance.revision(),
    }
    name = f"{store.experiment}/{record.name}"
    run_id = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    settings = record.settings.values()
    for key in dict.fromkeys(key for setting in settings for key in setting):
        values = dict.fromkeys(json.dumps(one[key]) for one in settings if key in one)
        client.log_param(run_id, key, ", ".join(values)[:_LENGTH])
    client.log_param(run_id, "settings", len(settings))
    return run_id
