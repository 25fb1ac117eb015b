"""Measurements of the machine, taken by mlflow's monitors and sent with all other metrics."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

__all__ = ["SystemMonitor"]


class SystemMonitor(SystemMetricsMonitor):
    """Monitor of processor, memory, disk, network and GPU until the stage ends.

    Between two measurements, mlflow's own monitor queries the server for the run, and waits for
    the answer.

    Args:
        run_id: MLflow's id of the run; a resumed run continues its count.
        uri: The tracking store.
        seconds: Seconds between two measurements.
        write: Function that logs numbers by name at a step, without waiting for the store.
    """

    def __init__(
        self,
        run_id: str,
        uri: str,
        seconds: float,
        write: Callable[[Mapping[str, float], int], None],
    ) -> None:
        for name in ("system_metrics_monitor", "metrics.gpu_monitor"):
            logging.getLogger(f"mlflow.system_metrics.{name}").setLevel(logging.ERROR)
        super().__init__(run_id, sampling_interval=seconds, tracking_uri=uri)
        self._write = write

    def monitor(self) -> None:
        """Measure until the end."""
        with contextlib.suppress(Exception):  # the server may be gone
            self._logging_step = self._get_next_logging_step(self._run_id)
        while True:
            self.collect_metrics()
            if self._shutdown_event.wait(self.sampling_interval):
                return
            self.publish_metrics(self.aggregate_metrics())

    def publish_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log one measurement."""
        named = {f"{self._metrics_prefix}{name}": value for name, value in metrics.items()}
        self._write(named, self._logging_step)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()

    def finish(self) -> None:
        """Stop measuring, without waiting for a request in progress to the server."""
        self._shutdown_event.set()
