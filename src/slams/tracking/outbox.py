"""Queue of calls to the tracking store of a run, sent by a separate thread.

A stage never waits for a store while it works: calls are queued in order, and queued numbers are
sent together. A server that does not answer is tried again for half a minute; it is then abandoned
with one line of output, and everything that has not arrived goes to the stand-in store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from slams.runtime.ranks import say
from slams.tracking.store import is_unreachable, reason

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

__all__ = ["Call", "Outbox"]

# Seconds between attempts to reach a store, each of which lasts as long as mlflow's own timeout.
_PAUSES = (1.0, 4.0, 10.0, 15.0)
# Seconds between two lines while the end waits for a slow store.
_EVERY_SECONDS = 10.0

Call = Callable[["MlflowClient", str], None]


class Outbox:
    """Sender of calls to one MLflow run, and to its stand-in once the run's store is lost.

    Args:
        client: Client of the store.
        run_id: MLflow's id of the run.
        where: Address of the store, for messages.
        stand_in: Function that opens the store that takes over, and returns its client, the id of
            the run there and its name for messages; `None` where there is no other store.
    """

    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        where: str,
        stand_in: Callable[[], tuple[MlflowClient, str, str]] | None = None,
    ) -> None:
        self._client: MlflowClient | None = client
        self._run_id = run_id
        self._where = where
        self._stand_in = stand_in
        self._waiting: SimpleQueue[Call | list[Metric] | None] = SimpleQueue()
        self._closing = threading.Event()
        self._refused = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def put(self, item: Call | list[Metric]) -> None:
        """Queue a call, which receives the client and the id of the run; or numbers."""
        self._waiting.put(item)

    def close(self) -> None:
        """Wait until everything is sent or abandoned; print a line while that takes long."""
        self._closing.set()
        self._waiting.put(None)
        while self._thread.is_alive():
            self._thread.join(_EVERY_SECONDS)
            if self._thread.is_alive():
                say(
                    f"waiting for tracking store {self._where}: {self._waiting.qsize()} calls left"
                )

    def _run(self) -> None:
        """Send what is queued, in order; consecutive numbers are merged into one call."""
        numbers: list[Metric] = []
        while True:
            item = self._waiting.get()
            if isinstance(item, list):
                numbers += item
                if not self._waiting.empty():
                    continue
            if numbers:
                self._send(lambda client, run_id, some=numbers: client.log_batch(run_id, some))
                numbers = []
            if item is None:  # the end
                return
            if not isinstance(item, list):
                self._send(item)

    def _send(self, call: Call) -> None:
        for pause in (*_PAUSES, None):
            if self._client is None:
                return
            try:
                call(self._client, self._run_id)
                return
            except Exception as error:  # of mlflow, the network, the database or the disk
                if not _may_pass(error):
                    self._report_refusal(error)
                    return
                # Not at the end: a server that has just answered is gone.
                if pause is None or self._closing.wait(pause):
                    self._lose(error)
                    self._send(call)
                    return

    def _lose(self, error: Exception) -> None:
        """Continue with the stand-in, or without any store."""
        lost = f"the tracking store {self._where} is lost ({reason(error)})"
        stand_in, self._client, self._stand_in = self._stand_in, None, None
        if stand_in is None:
            say(f"{lost}; the run continues, and is no longer tracked")
            return
        try:
            self._client, self._run_id, self._where = stand_in()
        except Exception as second:  # for example a full disk: the run matters more
            say(f"{lost}, and the local store failed too ({reason(second)}); the run continues")
            return
        say(f"{lost}; the run continues, the rest is kept in {self._where} for `slams sync`")

    def _report_refusal(self, error: Exception) -> None:
        """Report the first call that was refused by a store that answers."""
        if not self._refused:
            say(f"the tracking store {self._where} refused a call ({reason(error)})")
        self._refused = True


def _may_pass(error: Exception) -> bool:
    """Return whether the same call may succeed later: the server is gone, the database locked."""
    from sqlalchemy.exc import SQLAlchemyError

    module = type(error.__cause__ or error.__context__ or error).__module__
    return (
        is_unreachable(error)
        or isinstance(error, SQLAlchemyError)
        or module.startswith(("sqlalchemy", "sqlite3"))
    )
