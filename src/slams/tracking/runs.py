"""MLflow: one tracked run a stage, found again when the stage resumes.

Metrics, parameters, the recipe, figures and the report of a stage go into one MLflow run whose
id is kept in `run.json`; its tags name the runs it is built on, so that vae -> score ->
assimilation can be followed in the interface. Without a server the store is a sqlite file in the
directory of all runs, always named explicitly: the file store that Lightning falls back to is
refused by mlflow since 3.13.

    with RunDirectory.open(config, "vae") as run, tracking.start(config, run) as tracker:
        trainer = make_trainer(..., logger=tracker.logger)
"""

from __future__ import annotations

import getpass
import logging
import os
import re
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import filelock

from slams.config.loading import to_plain
from slams.config.schema import Config, TrackingConfig
from slams.errors import UserError
from slams.runs.directory import RunDirectory, ending
from slams.runs.provenance import flatten
from slams.runs.record import RunRecord
from slams.runs.sweep_record import parent_tags
from slams.runtime.ranks import is_rank_zero, say

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

__all__ = ["Tracker", "attach", "open_store", "start", "tracking_uri", "unusable"]

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
# What mlflow takes in one call, and the length of a parameter that every version takes.
_METRICS_A_CALL = 1000
_PARAMETERS_A_CALL = 100
_PARAMETER_LENGTH = 250
# Characters of the end of an error that are kept as a tag, which mlflow shows beside the run.
_ERROR_LENGTH = 1000
# A new sqlite store takes about ten seconds; a process that waits longer waits for a dead one.
_LOCK_SECONDS = 300


def tracking_uri(config: Config) -> str:
    """Gives where a recipe logs to: its server, or sqlite in the directory of all runs."""
    if config.tracking.uri and not config.tracking.offline:
        return config.tracking.uri
    return f"sqlite:///{(Path(config.runs) / 'mlflow.db').resolve().as_posix()}"


def start(config: Config, run: RunDirectory) -> Tracker:
    """Starts or takes up again the MLflow run of a stage.

    Args:
        config: The recipe; `tracking.enabled=false` gives a tracker that does nothing.
        run: The run directory, which keeps the id.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    if not config.tracking.enabled or run.finished:
        return Tracker(None, "", "")
    uri = tracking_uri(config)
    if not is_rank_zero():
        return Tracker(None, run.record.mlflow_run_id, uri)
    # Read once when mlflow is imported, therefore set before.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client, experiment_id = open_store(config, uri)
        run_id = _take_up(client, run) or _create(client, experiment_id, config, run)
        _log_recipe(client, run_id, config, run)
    except (MlflowException, SQLAlchemyError) as error:
        raise unusable(uri, error) from error
    seconds = config.tracking.system_seconds if config.tracking.system_metrics else 0.0
    return Tracker(client, run_id, uri, seconds)


def attach(config: Config, run_dir: str | Path, directory: str | Path, folder: str) -> None:
    """Copies what a directory holds into the MLflow run of a stage that has finished.

    Does nothing without tracking, on other ranks, and where the stage was not tracked.

    Args:
        config: The recipe.
        run_dir: Run directory of the finished stage.
        directory: What to copy.
        folder: Folder among the run's artifacts.

    Raises:
        UserError: The tracking server cannot be reached or used.
    """
    run_id = RunRecord.read(run_dir).mlflow_run_id
    if not (config.tracking.enabled and run_id and is_rank_zero()):
        return
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri(config)
    try:
        client, _ = open_store(config, uri)
        client.log_artifacts(run_id, str(directory), folder)
    except (MlflowException, SQLAlchemyError) as error:
        raise unusable(uri, error) from error


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
        from slams.modules.mlflow_logger import RunLogger

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


def open_store(config: Config, uri: str) -> tuple[MlflowClient, str]:
    """Opens the store and the experiment; makes either where it is missing.

    Processes that make one sqlite store, or one experiment, at the same moment break it for
    good: a file lock lets one of them in at a time.
    """
    from mlflow import MlflowClient

    # Migrations report every step of theirs.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    runs = Path(config.runs)
    runs.mkdir(parents=True, exist_ok=True)
    name = config.tracking.experiment or config.experiment
    location = None
    if uri == tracking_uri(replace(config, tracking=TrackingConfig())):
        location = (runs / "mlflow-artifacts" / name).resolve().as_uri()
        if not (runs / "mlflow.db").exists():
            say(f"creating the tracking store {runs / 'mlflow.db'} (about ten seconds, once)")
    try:
        with filelock.FileLock(runs / ".mlflow.lock", timeout=_LOCK_SECONDS):
            client = MlflowClient(uri)
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                return client, client.create_experiment(name, artifact_location=location)
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(experiment.experiment_id)
            return client, experiment.experiment_id
    except filelock.Timeout:
        raise UserError(
            f"{runs / '.mlflow.lock'} has been held for {_LOCK_SECONDS} s; another process is "
            f"creating the tracking store, stop it or set tracking.enabled=false"
        ) from None


def _take_up(client: MlflowClient, run: RunDirectory) -> str:
    """Sets the run of an earlier attempt back to running; empty where there is none."""
    from mlflow.exceptions import MlflowException

    run_id = run.record.mlflow_run_id
    if not run_id:
        return ""
    try:
        found = client.get_run(run_id)
        if found.info.lifecycle_stage == "deleted":
            client.restore_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # the store was removed meanwhile
            return ""
        raise
    return run_id


def _create(client: MlflowClient, experiment_id: str, config: Config, run: RunDirectory) -> str:
    """Creates the MLflow run and keeps its id before anything is logged to it."""
    record = run.record
    tags = {
        "mlflow.user": getpass.getuser(),
        "stage": record.stage,
        "experiment": record.experiment,
        "run_id": record.run_id,
        "directory": str(run.path.resolve()),
        "data_fingerprint": record.fingerprint,
        "revision": record.revision,
    }
    if record.stage == "assimilation":
        tags["setting"] = config.assimilation.setting
    tags |= parent_tags(run.path)
    tags |= {f"{stage}_run_id": run_id for stage, run_id in record.inputs.items()}
    name = f"{record.experiment}/{run.path.name}"
    created = client.create_run(experiment_id, tags=tags, run_name=name)
    run.update(mlflow_run_id=created.info.run_id)
    return created.info.run_id


def _log_recipe(client: MlflowClient, run_id: str, config: Config, run: RunDirectory) -> None:
    """Logs the parameters that are not there yet, and the whole recipe as a file.

    Parameters cannot be changed once logged, and long ones are cut: the file is complete.
    """
    from mlflow.entities import Param

    there = client.get_run(run_id).data.params
    rows = [
        Param(key, str(value)[:_PARAMETER_LENGTH])
        for key, value in flatten(to_plain(config)).items()
        if key not in there
    ]
    for first in range(0, len(rows), _PARAMETERS_A_CALL):
        client.log_batch(run_id, params=rows[first : first + _PARAMETERS_A_CALL])
    client.log_artifact(run_id, str(run.path / "config.yaml"))


def unusable(uri: str, error: Exception) -> UserError:
    """Words the failure of a tracking server."""
    reason = str(error).strip().splitlines()[0]
    return UserError(
        f"key 'tracking.uri': the tracking server {uri} cannot be used ({reason}); correct it or "
        f"set tracking.enabled=false"
    )


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-./ ]", "_", name)
