"""The MLflow run of a sweep: the parent of the runs of its settings.

The first process of the sweep makes it. It holds the swept keys as parameters, the number of
settings that have finished as metrics, and the output of `slams compare` as artifacts. Settings
find it through `sweep.json` (`slams.runs.sweep_record`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slams.runs import provenance
from slams.runs.sweep_record import SweepRecord
from slams.runtime.directories import exclusive
from slams.runtime.ranks import is_rank_zero
from slams.tracking.store import TrackingStore, with_fallback
from slams.tracking.tracked_run import TrackedRun, resume_run

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
            run_id = _on_store(store, directory, record, resume_run)
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
    """Call a function with the sweep's run, in the local store if the server does not answer.

    Returns:
        MLflow's id of the run, which is created where it is missing.
    """
    name = f"{store.experiment}/{record.name}"

    def tags() -> dict[str, str]:
        return {
            "stage": "sweep",
            "sweep": record.name,
            "experiment": store.experiment,
            "recipe": record.recipe,
            "directory": str(directory.resolve()),
            "revision": provenance.revision(),
        }

    def on(at: TrackingStore) -> str:
        tracked = TrackedRun(record.sweep_id, record.mlflow_run_id, name, tags)
        with at.connected() as (client, experiment_id):
            run_id, new = tracked.find_or_create(at, client, experiment_id)
            if new:
                _log_settings(client, run_id, list(record.settings.values()))
            call(client, run_id)
        return run_id

    return with_fallback(store, "the sweep's run is kept", on)


def _log_settings(
    client: MlflowClient, run_id: str, settings: Sequence[Mapping[str, Any]]
) -> None:
    """Log the swept keys with their values, and the number of settings, as parameters."""
    for key in dict.fromkeys(key for setting in settings for key in setting):
        values = dict.fromkeys(json.dumps(one[key]) for one in settings if key in one)
        client.log_param(run_id, key, ", ".join(values)[:_LENGTH])
    client.log_param(run_id, "settings", len(settings))
