"""The MLflow run of a sweep: the parent of the runs of its settings.

The first process of the sweep makes it. It holds the swept keys as parameters, the number of
settings that have finished as metrics, and the output of `slams compare` as artifacts. Settings
find it through `sweep.json` (`slams.runs.sweep_record`).
"""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slams.runs import provenance
from slams.runs.sweep_record import SweepRecord
from slams.runtime.directories import exclusive
from slams.runtime.ranks import is_rank_zero, say
from slams.tracking.store import (
    SYNCED_FROM,
    TrackingStore,
    UnreachableError,
    find_run,
    resume_run,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["attach_comparison", "open_sweep", "record_progress"]

_LENGTH = 250


def open_sweep(store: TrackingStore, directory: Path, sweep: SweepRecord) -> SweepRecord:
    """Write `sweep.json`, and create or resume the sweep's MLflow run.

    Args:
        store: Where the sweep is tracked.
        directory: The sweep's directory, made where it is missing.
        sweep: What is varied; the id of its MLflow run is filled in here.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory / ".sweep.lock"):
        old = SweepRecord.read(directory)
        record = replace(
            sweep,
            sweep_id=(old.sweep_id if old else "") or uuid.uuid4().hex,
            mlflow_run_id=old.mlflow_run_id if old else "",
        )
        if record != old:
            # Stored with its identity, which finds a run whose id was not stored.
            record.write(directory)
        if store.section.enabled:
            run_id = _on_store(store, directory, record, _begun)
            if run_id != record.mlflow_run_id and not (record.mlflow_run_id and store.is_local):
                record = replace(record, mlflow_run_id=run_id)
                record.write(directory)
    return record


def record_progress(
    store: TrackingStore,
    directory: Path,
    finished: int,
    failed: Mapping[str, str],
    running: bool,
) -> None:
    """Record the progress of a sweep, and its end.

    Args:
        store: Where the sweep is tracked.
        directory: The sweep's directory.
        finished: Number of settings that have finished.
        failed: Settings that have failed, with their reasons.
        running: Whether settings remain to be run, here or by other processes.
    """
    record = SweepRecord.read(directory)
    if not (store.section.enabled and record and record.mlflow_run_id):
        return

    def log(client: MlflowClient, run_id: str) -> None:
        client.log_metric(run_id, "settings_finished", finished)
        client.log_metric(run_id, "settings_failed", len(failed))
        text = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        client.set_tag(run_id, "failed", text[:5000])
        if not running:
            client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    _on_store(store, directory, record, log)


def attach_comparison(store: TrackingStore, directory: Path, comparison: Path) -> bool:
    """Copy a comparison into the MLflow run of a sweep; return whether there is one.

    Args:
        store: Where the sweep is tracked.
        directory: The sweep's directory.
        comparison: Directory of the output of `slams compare`.
    """
    record = SweepRecord.read(directory)
    if not (store.section.enabled and record and record.mlflow_run_id and is_rank_zero()):
        return False

    def log(client: MlflowClient, run_id: str) -> None:
        client.log_artifacts(run_id, str(comparison), "comparison")

    _on_store(store, directory, record, log)
    return True


def _on_store(
    store: TrackingStore,
    directory: Path,
    record: SweepRecord,
    call: Callable[[MlflowClient, str], None],
) -> str:
    """Call a function with the sweep's run, in the local store where the server does not answer.

    Returns:
        MLflow's id of the run, which is created where there is none.
    """
    try:
        return _with_run(store, directory, record, call)
    except UnreachableError as error:
        say(f"{error}; the sweep's run is kept in {store.runs}/mlflow.db for `slams sync`")
        return _with_run(store.local, directory, record, call)


def _with_run(
    store: TrackingStore,
    directory: Path,
    record: SweepRecord,
    call: Callable[[MlflowClient, str], None],
) -> str:
    with store.connected() as (client, experiment_id):
        run_id = find_run(client, experiment_id, record.mlflow_run_id, record.sweep_id)
        if not run_id:
            run_id = _create(client, experiment_id, store, directory, record)
        call(client, run_id)
    return run_id


def _begun(client: MlflowClient, run_id: str) -> None:
    resume_run(client, run_id)


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
        "run_id": record.sweep_id,
    }
    if record.mlflow_run_id and not store.is_local:  # the run was kept locally until now
        tags[SYNCED_FROM] = record.mlflow_run_id
    name = f"{store.experiment}/{record.name}"
    run_id = client.create_run(experiment_id, tags=tags, run_name=name).info.run_id
    settings = record.settings.values()
    for key in dict.fromkeys(key for setting in settings for key in setting):
        values = dict.fromkeys(json.dumps(one[key]) for one in settings if key in one)
        client.log_param(run_id, key, ", ".join(values)[:_LENGTH])
    client.log_param(run_id, "settings", len(settings))
    return run_id
