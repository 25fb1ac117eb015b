"""The store in which runs are tracked: a server, or sqlite in the directory of all runs.

The sqlite store is always named explicitly: mlflow refuses the file store that Lightning falls
back to since 3.13. mlflow is imported when a store is opened, not before.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import filelock

from slams.config.schema import TrackingConfig
from slams.errors import UserError
from slams.runtime.directories import exclusive
from slams.runtime.failures import causes
from slams.runtime.ranks import say
from slams.tracking.database import (
    artifacts_beside,
    check_readable,
    database_of,
    holds_runs,
    make_database,
    unusable,
)
from slams.tracking.moves import follow_move

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "SYNCED_FROM",
    "TrackingStore",
    "UnreachableError",
    "is_unreachable",
    "reason",
    "with_fallback",
]

_Result = TypeVar("_Result")

# Tag of a run that has another part in the local store, or is a copy of it: its id there.
SYNCED_FROM = "slams.synced_from"

# A new sqlite store takes about ten seconds; a longer wait means that the lock is stuck.
_LOCK_SECONDS = 300
# Timeout of mlflow for a server (s), and number of retries: by default it is silent for four
# minutes. Users who need more set these variables.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class UnreachableError(UserError):
    """Error for a tracking server that does not answer; runs can be kept locally."""


@dataclass(frozen=True)
class TrackingStore:
    """Where runs are tracked, and in which MLflow experiment.

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

    @property
    def is_local(self) -> bool:
        """Return whether runs are tracked in the directory of all runs."""
        return self.uri == self._sqlite

    @property
    def local(self) -> Self:
        """Return the store in the directory of all runs, which stands in for a lost server."""
        return replace(self, section=replace(self.section, offline=True))

    @contextmanager
    def connected(self) -> Iterator[tuple[MlflowClient, str]]:
        """Open the store and its experiment; create either where it is missing.

        Yields:
            A client, and the id of the experiment.

        Raises:
            UnreachableError: The server does not answer, now or inside the block.
            UserError: The store cannot be used.
        """
        # Read once when mlflow is imported, therefore set before that.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield self._open()
        except (MlflowException, SQLAlchemyError) as error:
            if is_unreachable(error):
                raise UnreachableError(
                    f"key 'tracking.uri': the tracking server {self.uri} does not answer "
                    f"({reason(error)}); start it, correct the key or set tracking.offline=true"
                ) from error
            database = database_of(self.uri)
            if database is not None:
                raise UserError(unusable(database, reason(error))) from error
            raise UserError(
                f"key 'tracking.uri': the tracking server {self.uri} cannot be used "
                f"({reason(error)}); correct it or set tracking.enabled=false"
            ) from error

    @property
    def local_database(self) -> Path:
        """Return the sqlite file in the directory of all runs."""
        return self.runs / "mlflow.db"

    @property
    def _sqlite(self) -> str:
        return f"sqlite:///{self.local_database.resolve().as_posix()}"

    def _open(self) -> tuple[MlflowClient, str]:
        """Open the store and the experiment under a lock.

        Processes that create one sqlite store, or one experiment, at the same moment break it
        permanently: a file lock admits one at a time.
        """
        from mlflow import MlflowClient

        # Migrations log every one of their steps, and mlflow each failure with its traceback: what
        # cannot be ignored is raised too.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        # A signal that stops the program in a query leaves a cursor that cannot be closed.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        runs = self.runs
        runs.mkdir(parents=True, exist_ok=True)
        name = self.section.experiment or self.experiment
        database = database_of(self.uri)
        place = database.parent if database else runs
        if not place.is_dir():
            raise UserError(
                f"key 'tracking.uri': found {self.uri}, but there is no directory {place}; make "
                f"it, or correct the key"
            )
        location = artifacts_beside(database, name) if database else None
        try:
            with exclusive(place / ".mlflow.lock", _LOCK_SECONDS):
                client = MlflowClient(self.uri) if database is None else _open_sqlite(database)
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    return client, client.create_experiment(name, artifact_location=location)
                if experiment.lifecycle_stage == "deleted":
                    client.restore_experiment(experiment.experiment_id)
                return client, experiment.experiment_id
        except filelock.Timeout:
            raise UserError(
                f"{place / '.mlflow.lock'} has been held for {_LOCK_SECONDS} s; another process "
                f"is creating the tracking store, stop it or set tracking.enabled=false"
            ) from None


def _open_sqlite(database: Path) -> MlflowClient:
    """Open a sqlite store, created where it is missing or half made, under the caller's lock."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = f"sqlite:///{database.as_posix()}"
    check_readable(database)
    follow_move(database)
    if database.exists() and database.stat().st_size > 0:
        try:
            return MlflowClient(uri)
        except (MlflowException, SQLAlchemyError):
            if holds_runs(database):
                raise
            say(f"the tracking store {database} was left half made and holds no run")
    say(f"creating the tracking store {database} (about ten seconds, once)")
    make_database(database)
    return MlflowClient(uri)


def is_unreachable(error: BaseException) -> bool:
    """Return whether a call failed because the server is gone, hangs or is another service.

    Args:
        error: Exception raised by a call of mlflow.
    """
    from requests.exceptions import RequestException

    # An invalid address raises a RequestException too.
    return any(
        isinstance(cause, RequestException) and not isinstance(cause, ValueError)
        for cause in causes(error)
    )


def reason(error: BaseException) -> str:
    """Return a short reason why a call of mlflow failed.

    Args:
        error: Exception that it raised.
    """
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    found = re.search(r"\[Errno -?\d+\] ([\w ]+)", text)
    if is_unreachable(error) and found:
        return found[1].lower()
    return "no answer in time" if "timed out" in text else text[:200]


def with_fallback(
    store: TrackingStore, consequence: str, call: Callable[[TrackingStore], _Result]
) -> _Result:
    """Call a function with a store, or with the local store where the server does not answer.

    Args:
        store: The store.
        consequence: What is kept in the local store, for the message: `the run is kept`.
        call: The function.
    """
    try:
        return call(store)
    except UnreachableError as error:
        say(f"{error}; {consequence} in {store.local_database} for `slams sync`")
        return call(store.local)
