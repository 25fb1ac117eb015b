"""Tasks kept by a worker of dask.distributed (extra `cluster`; imported only where it is used).

A task that is submitted as a function is sent with each call, and would open source and store
again each time. A plugin is sent once to each worker, including those that join later, and exists
as long as the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import WorkerPlugin, get_worker

__all__ = ["TaskPlugin", "call_task"]


class TaskPlugin(WorkerPlugin):
    """Plugin that keeps a task on each worker.

    Args:
        task: Function to call; picklable.
    """

    def __init__(self, task: Callable[..., Any]) -> None:
        self.task = task


def call_task(name: str, *arguments: Any) -> Any:
    """Call the task kept by this worker.

    Args:
        name: Name under which the plugin was registered.
        arguments: Arguments of the call.
    """
    return get_worker().plugins[name].task(*arguments)
