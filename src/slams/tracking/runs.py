"""MLflow: one tracked run a stage, found again when the stage resumes.

Metrics, parameters, the recipe, figures and the report of a stage go into one MLflow run whose
id is kept in `run.json`; its tags name the runs it is built on, so that vae -> score ->
assimilation can be followed in the interface.

    with RunDirectory.open(request) as run, tracking.start(store, run) as tracker:
        trainer = make_trainer(..., logger=tracker.logger)
"""

from __future__ import annotations

import getpass
import logging
import re
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from slams.runs.directory import RunDirectory, ending
from slams.runs.provenance import flatten
from slams.runs.record import RunRecord
from slams.runs.sweep_record import parent_tags
from slams.runtime.ranks import is_rank_zero
from slams.tracking.store import TrackingStore, resume_run

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

__all__ = ["Tracker", "attach", "start"]

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
# What mlflow takes in one call, and the length of a parameter that every version takes.
_METRICS_A_CALL = 1000
_PARAMETERS_A_CALL = 100
_PARAMETER_LENGTH = 250
# Characters of the end of an error that are kept as a tag, which mlflow shows beside the run.
_ERROR_LENGTH = 1000


def start(
    store: TrackingStore, run: RunDirectory, tags: Mapping[str, str] | None = None
) -> Tracker:
    """Start or resume the MLflow run of a stage.

    Args:
        store: Where it is tracked; `tracking.enabled=false` gives a tracker that does nothing.
        run: The run directory, which keeps the id.
        tags: Tags of a new run, besides those that every run has.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    section = store.section
    if not section.enabled or run.finished:
        return Tracker(None, "", "")
    if not is_rank_zero():
        return Tracker(None, run.record.mlflow_run_id, store.uri)
    with store.connected() as (client, experiment_id):
        if not resume_run(client, run.record.mlflow_run_id):
            _create(client, experiment_id, run, tags or {})
        run_id = run.record.mlflow_run_id
        _log_recipe(client, run_id, run)
    seconds = section.system_seconds if section.system_metrics else 0.0
    return Tracker(client, run_id, store.uri, seconds)


def attach(store: TrackingStore, run_dir: str | Path, directory: str | Path, folder: str) -> None:
    """Copy what a directory holds into the MLflow run of a stage that has finished.

    Does nothing without tracking, on other ranks, and where the stage was not tracked.

    Args:
        store: Where the stage is tracked.
        run_dir: Run directory of the finished stage.
        directory: What to copy.
        folder: Folder among the run's artifacts.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    run_id = RunRecord.read(run_dir).mlflow_run_id
    if not (store.section.enabled and run_id and is_rank_zero()):
        return
    with store.connected() as (client, _):
        client.log_artifacts(run_id, str(directory), folder)


class Tracker:
    """Writes to the MLflow run of one stage; does nothing without tracking and on other ranks.

    A context manager: leaving it records whether the run finished, failed or was killed.

    Attributes:
        run_id: MLflow's id of the run; empty without tracking.
        uri: The tracking server.
    """

    def __init__(
        self, client: MlflowClient | None, run_id: str, uri: str, system_seconds: float = 0.0
    ) -> None:
        self.run_id = run_id
        self.uri = uri
        self._client = client
        self._monitor = None
        if client is not None and system_seconds > 0:
            self._monitor = _watch_system(run_id, uri, system_seconds)

    @property
    def logger(self) -> Logger | None:
        """Gives the Lightning logger of this run, or `None` without tracking."""
        if not self.uri:
            return None
        if self._client is None:
            from lightning.pytorch.loggers.logger import DummyLogger

            return DummyLogger()
        from slams.tracking.mlflow_logger import RunLogger

        return RunLogger(self.uri, self.run_id, self.log_metrics)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs numbers at a step without waiting for the store (1 ms in place of 30).

        Names may hold what mlflow refuses: `temperature@850` becomes `temperature_850`.
        """
        if self._client is None:
            return
        from mlflow.entities import Metric

        stamp = int(time.time() * 1000)
        rows = [
            Metric(key=_allowed(key), value=float(value), timestamp=stamp, step=step)
            for key, value in metrics.items()
        ]
        for first in range(0, len(rows), _METRICS_A_CALL):
            chunk = rows[first : first + _METRICS_A_CALL]
            self._client.log_batch(self.run_id, metrics=chunk, synchronous=False)

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Copies a file into the run's artifacts."""
        if self._client is not None:
            self._client.log_artifact(self.run_id, str(path), folder or None)

    def log_artifacts(self, directory: str | Path, folder: str = "") -> None:
        """Copies what a directory holds into the run's artifacts."""
        if self._client is not None:
            self._client.log_artifacts(self.run_id, str(directory), folder or None)

    def close(self, status: str) -> None:
        """Waits for what is still being written and records how the run ended.

        Args:
            status: `finished`, `failed` or `killed`.
        """
        if self._client is None:
            return
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        if self._monitor is not None:
            self._monitor.finish()
        mlflow.flush_async_logging()
        self._client.set_terminated(self.run_id, _STATUS[status])
        self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self._explain(error)
        self.close(ending(error))

    def _explain(self, error: Exception) -> None:
        """Records why a run failed: the last lines as a tag, the whole traceback as a file."""
        if self._client is None:
            return
        lines = traceback.format_exception(error)
        self._client.set_tag(self.run_id, "error", "".join(lines[-2:])[-_ERROR_LENGTH:])
        self._client.log_text(self.run_id, "".join(lines), "error.txt")


def _watch_system(run_id: str, uri: str, seconds: float) -> SystemMetricsMonitor:
    """Starts to measure the machine; a resumed run goes on counting where it was."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    for name in ("system_metrics_monitor", "metrics.gpu_monitor"):
        logging.getLogger(f"mlflow.system_metrics.{name}").setLevel(logging.ERROR)
    monitor = SystemMetricsMonitor(
        run_id, sampling_interval=seconds, resume_logging=True, tracking_uri=uri
    )
    monitor.start()
    return monitor


def _create(
    client: MlflowClient, experiment_id: str, run: RunDirectory, more: Mapping[str, str]
) -> None:
    """Create the MLflow run, and keep its id before anything is logged to it."""
    record = run.record
    tags = {
        "mlflow.user": getpass.getuser(),
        "stage": record.stage,
        "experiment": record.experiment,
        "run_id": record.run_id,
        "directory": str(run.path.resolve()),
        "data_fingerprint": record.fingerprint,
        "test_days": record.test_days,
        "revision": record.revision,
    }
    tags |= more
    tags |= parent_tags(run.path)
    tags |= {f"{stage}_run_id": run_id for stage, run_id in record.inputs.items()}
    name = f"{record.experiment}/{run.path.name}"
    created = client.create_run(experiment_id, tags=tags, run_name=name)
    run.update(mlflow_run_id=created.info.run_id)


def _log_recipe(client: MlflowClient, run_id: str, run: RunDirectory) -> None:
    """Logs the parameters that are not there yet, and the whole recipe as a file.

    Parameters cannot be changed once logged, and long ones are cut: the file is complete.
    """
    from mlflow.entities import Param

    there = client.get_run(run_id).data.params
    rows = [
        Param(key, str(value)[:_PARAMETER_LENGTH])
        for key, value in flatten(run.request.recipe).items()
        if key not in there
    ]
    for first in range(0, len(rows), _PARAMETERS_A_CALL):
        client.log_batch(run_id, params=rows[first : first + _PARAMETERS_A_CALL])
    client.log_artifact(run_id, str(run.path / "config.yaml"))


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-./ ]", "_", name)
