"""A run of ours in a tracking store: found again by a later attempt, or created.

A process that was killed while it created a run has not recorded MLflow's id, and a run may be in
another store than the one that the recorded id refers to: the tag `run_id` finds both.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slams.tracking.store import SYNCED_FROM, TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["TrackedRun", "resume_run"]


@dataclass(frozen=True)
class TrackedRun:
    """Run of a stage or a sweep, as its directory records it.

    Attributes:
        run_id: Our identity of the run, which is its tag `run_id`.
        mlflow_run_id: MLflow's id as it was recorded; empty where there was no attempt.
        name: Its name in MLflow.
        tags: Function that returns the tags of a new run.
        is_new: Whether there cannot be an earlier attempt to search for.
    """

    run_id: str
    mlflow_run_id: str
    name: str
    tags: Callable[[], Mapping[str, str]]
    is_new: bool = False

    def find(self, client: MlflowClient, experiment_id: str) -> str:
        """Return MLflow's id of the run of an earlier attempt; empty where there is none.

        Args:
            client: Client of the store.
            experiment_id: MLflow's id of the experiment.
        """
        from mlflow.exceptions import MlflowException

        if self.mlflow_run_id:
            try:
                return client.get_run(self.mlflow_run_id).info.run_id
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if self.is_new:
            return ""
        words = f"tags.run_id = '{self.run_id}'"
        found = client.search_runs([experiment_id], words, max_results=1)
        return found[0].info.run_id if found else ""

    def find_or_create(
        self, store: TrackingStore, client: MlflowClient, experiment_id: str
    ) -> tuple[str, bool]:
        """Return MLflow's id of the run in a store, and whether it was created for that.

        Args:
            store: The store.
            client: Its client.
            experiment_id: MLflow's id of the experiment.
        """
        if run_id := self.find(client, experiment_id):
            return run_id, False
        tags = {"mlflow.user": getpass.getuser(), "run_id": self.run_id, **self.tags()}
        if self.mlflow_run_id and not store.is_local:  # the run was kept locally until now
            tags[SYNCED_FROM] = self.mlflow_run_id
        run = client.create_run(experiment_id, tags=tags, run_name=self.name)
        return run.info.run_id, True


def resume_run(client: MlflowClient, run_id: str) -> None:
    """Set the run of an earlier attempt back to running, and restore it if it was deleted.

    Args:
        client: Client of the store.
        run_id: MLflow's id of the run.
    """
    if client.get_run(run_id).info.lifecycle_stage == "deleted":
        client.restore_run(run_id)
    client.update_run(run_id, status="RUNNING")
