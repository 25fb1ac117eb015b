"""The store that runs are tracked in: a server, or sqlite in the directory of all runs.

The sqlite store is always named explicitly: the file store that Lightning falls back to is refused
by mlflow since 3.13. mlflow is imported when a store is opened, not before.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from slams.config.schema import TrackingConfig
from slams.errors import UserError
from slams.runtime.ranks import say

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["TrackingStore", "resume_run"]

# A new sqlite store takes about ten seconds; a process that waits longer waits for a dead one.
_LOCK_SECONDS = 300


@dataclass(frozen=True)
class TrackingStore:
    """Hold where runs are tracked, and in which MLflow experiment.

    Attributes:
        section: Section `tracking` of a recipe.
        runs: Directory of all runs.
        experiment: The recipe's experiment, which `section.experiment` overrides in MLflow.
    """

    section: TrackingConfig
    runs: Path
    experiment: str

    @property
    def uri(self) -> str:
        """Return the address: that of the server, or sqlite in the directory of all runs."""
        if self.section.uri and not self.section.offline:
            return self.section.uri
        return self._sqlite

    @contextmanager
    def connected(self) -> Iterator[tuple[MlflowClient, str]]:
        """Open the store and its experiment; make either where it is missing.

        Yields:
            A client, and the id of the experiment.

        Raises:
            UserError: The store cannot be reached, or not be used inside the block.
        """
        # Read once when mlflow is imported, therefore set before.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield self._open()
        except (MlflowException, SQLAlchemyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"key 'tracking.uri': the tracking server {self.uri} cannot be used ({reason}); "
                f"correct it or set tracking.enabled=false"
            ) from error

    @property
    def _sqlite(self) -> str:
        return f"sqlite:///{(self.runs / 'mlflow.db').resolve().as_posix()}"

    def _open(self) -> tuple[MlflowClient, str]:
        """Open store and experiment under a lock.

        Processes that make one sqlite store, or one experiment, at the same moment break it for
        good: a file lock lets one of them in at a time.
        """
        from mlflow import MlflowClient

        # Migrations report every step of theirs.
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        runs = self.runs
        runs.mkdir(parents=True, exist_ok=True)
        name = self.section.experiment or self.experiment
        location = None
        if self.uri == self._sqlite:
            location = (runs / "mlflow-artifacts" / name).resolve().as_uri()
            if not (runs / "mlflow.db").exists():
                say(f"creating the tracking store {runs / 'mlflow.db'} (about ten seconds, once)")
        try:
            with filelock.FileLock(runs / ".mlflow.lock", timeout=_LOCK_SECONDS):
                client = MlflowClient(self.uri)
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


def resume_run(client: MlflowClient, run_id: str) -> bool:
    """Set a run of an earlier attempt back to running, and restore it where it was deleted.

    Args:
        client: Client of the store.
        run_id: MLflow's id of the run; empty where there was no attempt.

    Returns:
        Whether there is such a run: its store may have been removed meanwhile.
    """
    from mlflow.exceptions import MlflowException

    if not run_id:
        return False
    try:
        if client.get_run(run_id).info.lifecycle_stage == "deleted":
            client.restore_run(run_id)
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True
