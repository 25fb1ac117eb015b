"""The Lightning logger of a tracked stage; the caller opens and closes the MLflow run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["RunLogger"]


class RunLogger(MLFlowLogger):
    """Logger that sends the metrics of modules to the MLflow run of a stage.

    Store and run are given explicitly, since Lightning's defaults fail with mlflow 3.13 and later.

    Args:
        uri: The tracking server.
        run_id: MLflow's id of the run.
        write: Function that logs numbers by name at a step, without waiting for the store.
    """

    def __init__(
        self, uri: str, run_id: str, write: Callable[[Mapping[str, float], int], None]
    ) -> None:
        super().__init__(tracking_uri=uri, run_id=run_id, log_model=False)
        self._write = write

    @property
    @rank_zero_experiment
    def experiment(self) -> MlflowClient:
        """Return the client; Lightning's own property queries the server, which may be gone."""
        return self._mlflow_client

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at a step."""
        self._write(metrics, step or 0)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Ignore parameters: the whole recipe was logged when the run was started."""

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Leave the run open: a stage continues after its fit, and its tracker closes the run."""
