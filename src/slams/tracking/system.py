"""Measurements of the machine, taken by mlflow's monitors and sent with everything else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

__all__ = ["SystemMonitor"]


class SystemMonitor(SystemMetricsMonitor):
    """Measures processor, memory, disk, network and GPU until the stage ends.

    mlflow's own monitor asks the server between two measurements whether the run is still there,
    and waits for it.

    Args:
        run_id: MLflow's id of the run; a resumed run goes on counting where it was.
        uri: The tracking store.
        seconds: Seconds between two measurements.
        write: Logs numbers by name at a step, without waiting for the store.
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
        with contextlib.suppress(Exception):  # the server may just have gone
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
        """Stop measuring; does not wait for a server that the thread may be asking."""
        self._shutdown_event.set()
