"""The MLflow run of a sweep: the parent of the runs of its settings.

It is made once, by whichever process of the sweep comes first, and holds the swept keys as
parameters, how many settings have finished as metrics, and what `slams compare` writes as
artifacts. Settings find it through `sweep.json` (`slams.runs.sweep_record`).
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from slams.config.schema import Config
from slams.runs import provenance
from slams.runs.sweep_record import SweepRecord
from slams.runtime.ranks import is_rank_zero
from slams.sweeps import Sweep
from slams.tracking.runs import open_store, tracking_uri, unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["attach_comparison", "open_sweep", "record_progress"]

_LENGTH = 250


def open_sweep(sweep: Sweep) -> SweepRecord:
    """Writes `sweep.json`, and makes the sweep's MLflow run or takes it up again.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    directory = sweep.directory
    directory.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(directory / ".sweep.lock"):
        old = SweepRecord.read(directory)
        settings = {s.name: dict(s.overrides) for s in sweep.settings}
        kept = old.mlflow_run_id if old else ""
        record = SweepRecord(sweep.name, str(sweep.recipe), settings, kept)
        if sweep.config.tracking.enabled:
            run_id = _take_up(sweep, record)
            record = replace(record, mlflow_run_id=run_id)
        if record != old:
            record.write(directory)
    return record


def record_progress(sweep: Sweep, finished: int, failed: dict[str, str], running: bool) -> None:
    """Records how far a sweep has come, and its end.

    Args:
        sweep: The sweep.
        finished: Settings that have finished.
        failed: Settings that have failed, with their reasons.
        running: Whether settings are still to be done, here or by other processes.
    """
    record = SweepRecord.read(sweep.directory)
    if not (sweep.config.tracking.enabled and record and record.mlflow_run_id):
        return
    run_id = record.mlflow_run_id

    def log(client: MlflowClient) -> None:
        client.log_metric(run_id, "settings_finished", finished)
        client.log_metric(run_id, "settings_failed", len(failed))
        text = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        client.set_tag(run_id, "failed", text[:5000])
        if not running:
            client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    _with_store(sweep.config, log)


def attach_comparison(config: Config, directory: Path, comparison: Path) -> bool:
    """Copies a comparison into the MLflow run of a sweep; tells whether there is one.

    Args:
        config: The recipe of the sweep.
        directory: The sweep's directory.
        comparison: Directory of what `slams compare` has written.
    """
    record = SweepRecord.read(directory)
    if not (config.tracking.enabled and record and record.mlflow_run_id and is_rank_zero()):
        return False
    run_id = record.mlflow_run_id
    _with_store(config, lambda client: client.log_artifacts(run_id, str(comparison), "comparison"))
    return True


def _take_up(sweep: Sweep, record: SweepRecord) -> str:
    """Sets the sweep's run to running, or creates it; gives its id."""
    found = ""

    def open_run(client: MlflowClient) -> None:
        nonlocal found
        from mlflow.exceptions import MlflowException

        if record.mlflow_run_id:
            try:
                if client.get_run(record.mlflow_run_id).info.lifecycle_stage == "deleted":
                    client.restore_run(record.mlflow_run_id)
                client.update_run(record.mlflow_run_id, status="RUNNING")
                found = record.mlflow_run_id
                return
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        tracking = sweep.config.tracking
        name = tracking.experiment or sweep.config.experiment
        tags = {
            "mlflow.user": getpass.getuser(),
            "stage": "sweep",
            "sweep": sweep.name,
            "experiment": sweep.config.experiment,
            "recipe": str(sweep.recipe),
            "directory": str(sweep.directory.resolve()),
            "revision": provenance.revision(),
        }
        experiment = client.get_experiment_by_name(name)
        created = client.create_run(
            experiment.experiment_id, tags=tags, run_name=f"{sweep.config.experiment}/{sweep.name}"
        )
        found = created.info.run_id
        for key in sweep.keys:
            values = list(
                dict.fromkeys(
                    json.dumps(s.overrides[key]) for s in sweep.settings if key in s.overrides
                )
            )
            client.log_param(found, key, ", ".join(values)[:_LENGTH])
        client.log_param(found, "settings", len(sweep.settings))

    _with_store(sweep.config, open_run)
    return found


def _with_store(config: Config, act: Callable[[MlflowClient], None]) -> None:
    """Opens the tracking store, makes the experiment where it is missing, and acts on it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri(config)
    try:
        client, _ = open_store(config, uri)
        act(client)
    except (MlflowException, SQLAlchemyError) as error:
        raise unusable(uri, error) from error
