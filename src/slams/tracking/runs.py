"""MLflow: one tracked run per stage, found again when the stage resumes.

Metrics, parameters, the recipe, figures and the report of a stage go into one MLflow run whose
id is kept in `run.json`; its tags name the runs it is built on, so that the chain vae -> score ->
assimilation can be followed in the interface.

    with RunDirectory.open(request) as run, tracking.start(store, run) as tracker:
        trainer = make_trainer(..., logger=tracker.logger)
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slams.runs.directory import RunDirectory, ending
from slams.runs.provenance import flatten
from slams.runs.record import RunRecord
from slams.runs.sweep_record import parent_tags
from slams.runtime.ranks import is_rank_zero
from slams.tracking.headline import SCORED_METHOD, offer_view
from slams.tracking.outbox import Outbox
from slams.tracking.store import TrackingStore, with_fallback
from slams.tracking.tracked_run import TrackedRun, resume_run

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from mlflow import MlflowClient

    from slams.tracking.system import SystemMonitor

__all__ = ["Tracker", "attach", "start"]

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
# Largest length of a parameter in every version.
_PARAMETER_LENGTH = 250
# Characters of the end of an error that are kept as a tag, which mlflow shows next to the run; and
# of any other tag, which every version accepts.
_ERROR_LENGTH = 1000
_TAG_LENGTH = 5000


def start(
    store: TrackingStore, run: RunDirectory, tags: Mapping[str, str] | None = None
) -> Tracker:
    """Start or resume the MLflow run of a stage.

    Where the server does not answer, the run is kept in the local store for `slams sync`.

    Args:
        store: Where it is tracked; with `tracking.enabled=false` the tracker does nothing.
        run: The run directory, which stores the id.
        tags: Tags of a new run, in addition to those that every run has.

    Raises:
        UserError: The tracking store cannot be used.
    """
    section = store.section
    if not section.enabled or run.finished:
        return Tracker()
    if not is_rank_zero():
        return Tracker(run.record.mlflow_run_id, store.uri)
    tags = tags or {}

    def opened(at: TrackingStore) -> tuple[TrackingStore, MlflowClient, str]:
        return (at, *_open(at, run, tags, stands_in=at is not store))

    chosen, client, run_id = with_fallback(store, "the run continues and is kept", opened)

    def stand_in() -> tuple[MlflowClient, str, str]:
        return (*_open(store.local, run, tags, stands_in=True), str(store.local_database))

    outbox = Outbox(client, run_id, chosen.uri, None if chosen.is_local else stand_in)
    outbox.put(lambda client, run_id: _log_recipe(client, run_id, run))
    seconds = section.system_seconds if section.system_metrics else 0.0
    return Tracker(run_id, chosen.uri, outbox, seconds)


def attach(store: TrackingStore, run_dir: str | Path, directory: str | Path, folder: str) -> None:
    """Copy the content of a directory into the MLflow run of a finished stage.

    Does nothing without tracking, on other ranks, and where the stage was not tracked. Where the
    server does not answer, or the run was kept locally, the copy goes into the local store.

    Args:
        store: Where the stage is tracked.
        run_dir: Run directory of the finished stage.
        directory: Directory to copy.
        folder: Folder among the run's artifacts.

    Raises:
        UserError: The tracking store cannot be used.
    """
    record = RunRecord.read(run_dir)
    if not (store.section.enabled and record.mlflow_run_id and is_rank_zero()):
        return
    tracked = _tracked(record, Path(run_dir), {})

    def copy(at: TrackingStore) -> bool:
        with at.connected() as (client, experiment_id):
            if not at.is_local and not tracked.find(client, experiment_id):
                return False
            run_id, new = tracked.find_or_create(at, client, experiment_id)
            client.log_artifacts(run_id, str(directory), folder)
            if new:
                client.set_terminated(run_id, _STATUS[record.status])
        return True

    if not with_fallback(store, f"{folder} is kept", copy):
        copy(store.local)


class Tracker:
    """Tracker of one stage: writes to its MLflow run; does nothing without tracking.

    A context manager: leaving it records whether the run finished, failed or was killed. On
    ranks other than zero it does nothing.

    Attributes:
        run_id: MLflow's id of the run; empty without tracking.
        uri: The tracking server.
    """

    def __init__(
        self,
        run_id: str = "",
        uri: str = "",
        outbox: Outbox | None = None,
        system_seconds: float = 0.0,
    ) -> None:
        self.run_id = run_id
        self.uri = uri
        self._outbox = outbox
        self._monitor: SystemMonitor | None = None
        if outbox is not None and system_seconds > 0:
            from slams.tracking.system import SystemMonitor

            self._monitor = SystemMonitor(run_id, uri, system_seconds, self.log_metrics)
            self._monitor.start()

    @property
    def logger(self) -> Logger | None:
        """Return the Lightning logger of this run, or `None` without tracking."""
        if not self.uri:
            return None
        if self._outbox is None:
            from lightning.pytorch.loggers.logger import DummyLogger

            return DummyLogger()
        from slams.tracking.mlflow_logger import RunLogger

        return RunLogger(self.uri, self.run_id, self.log_metrics)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at a step without waiting for the store.

        Characters that mlflow refuses are replaced: `temperature@850` becomes `temperature_850`.
        """
        if self._outbox is None:
            return
        from mlflow.entities import Metric

        stamp = int(time.time() * 1000)
        self._outbox.put(
            [Metric(_allowed(key), float(value), stamp, step) for key, value in metrics.items()]
        )

    def log_scored_method(self, method: str) -> None:
        """Tag the run with the method of its headline scores; offer these in its experiment."""
        if self._outbox is not None:
            self._outbox.put(lambda c, run_id: c.set_tag(run_id, SCORED_METHOD, method))
            self._outbox.put(lambda c, run_id: offer_view(c, c.get_run(run_id).info.experiment_id))

    def log_artifact(self, path: str | Path, folder: str = "") -> None:
        """Copy a file into the run's artifacts; keep it there until the tracker is closed."""
        if self._outbox is not None:
            self._outbox.put(lambda c, run_id: c.log_artifact(run_id, str(path), folder or None))

    def close(self, status: str) -> None:
        """Wait for pending writes and record how the run ended.

        Args:
            status: `finished`, `failed` or `killed`.
        """
        if self._outbox is None:
            return
        if self._monitor is not None:
            self._monitor.finish()
        ended = int(time.time() * 1000)
        self._outbox.put(lambda c, run_id: c.set_terminated(run_id, _STATUS[status], ended))
        self._outbox.close()
        self._outbox = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            self._explain(error)
        self.close(ending(error))

    def _explain(self, error: Exception) -> None:
        """Record why a run failed: the last lines as a tag, the whole traceback as a file."""
        if self._outbox is None:
            return
        lines = traceback.format_exception(error)
        tail, whole = "".join(lines[-2:])[-_ERROR_LENGTH:], "".join(lines)
        self._outbox.put(lambda c, run_id: c.set_tag(run_id, "error", tail))
        self._outbox.put(lambda c, run_id: c.log_text(run_id, whole, "error.txt"))


def _open(
    store: TrackingStore, run: RunDirectory, tags: Mapping[str, str], stands_in: bool = False
) -> tuple[MlflowClient, str]:
    """Find or create the MLflow run of a stage in a store; store its id unless another is kept.

    In the local store that stands in for a server, the rest of a run is a separate run until
    `slams sync` joins the two.
    """
    tracked, known = _tracked(run.record, run.path, tags), run.record.mlflow_run_id
    with store.connected() as (client, experiment_id):
        run_id, new = tracked.find_or_create(store, client, experiment_id)
        if not new:
            resume_run(client, run_id)
    if run_id != known and not (known and stands_in):
        run.update(mlflow_run_id=run_id)
    return client, run_id


def _tracked(record: RunRecord, directory: Path, more: Mapping[str, str]) -> TrackedRun:
    """Return the tracked run of a stage, with more tags than every run has."""

    def tags() -> dict[str, str]:
        return {
            "stage": record.stage,
            "experiment": record.experiment,
            "directory": str(directory.resolve()),
            "data_fingerprint": record.fingerprint,
            "test_days": record.test_days,
            "revision": record.revision,
            **more,
            **parent_tags(directory),
            **{f"{stage}_run_id": run_id for stage, run_id in record.inputs.items()},
        }

    known, name = record.mlflow_run_id, f"{record.experiment}/{directory.name}"
    return TrackedRun(record.run_id, known, name, tags, is_new=record.attempts == 1 and not known)


def _log_recipe(client: MlflowClient, run_id: str, run: RunDirectory) -> None:
    """Log the parameters that are missing, and the whole recipe as a file.

    Parameters cannot be changed once logged, and long ones are cut: the file is complete. Values
    that differ in this attempt, such as `trainer.devices`, are recorded in a tag.
    """
    from mlflow.entities import Param

    there = client.get_run(run_id).data.params
    values = {
        key: str(value)[:_PARAMETER_LENGTH] for key, value in flatten(run.request.recipe).items()
    }
    missing = [Param(key, value) for key, value in values.items() if key not in there]
    client.log_batch(run_id, params=missing)
    changed = [
        f"{key}={value} (first {there[key]})"
        for key, value in values.items()
        # `resume` describes how the command was typed, not what the run is.
        if there.get(key, value) != value and key != "resume"
    ]
    if changed:
        name = f"changed_in_attempt_{run.record.attempts}"
        client.set_tag(run_id, name, "; ".join(changed)[:_TAG_LENGTH])
    client.log_artifact(run_id, str(run.path / "config.yaml"))


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-./ ]", "_", name)
