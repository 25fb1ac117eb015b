"""Tasks that a worker of dask.distributed keeps (extra `cluster`; imported only where it is used).

A task that is submitted as a function is sent with each call, and would open source and store
anew each time. A plugin is sent to each worker once, to those that join later too, and lives as
long as the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import WorkerPlugin, get_worker

__all__ = ["TaskPlugin", "call_task"]


class TaskPlugin(WorkerPlugin):
    """Keeps a task on each worker.

    Args:
        task: What is called; picklable.
    """

    def __init__(self, task: Callable[..., Any]) -> None:
        self.task = task


def call_task(name: str, *arguments: Any) -> Any:
    """Call the task that this worker keeps.

    Args:
        name: Name under which its plugin was registered.
        arguments: Of the call.
    """
    return get_worker().plugins[name].task(*arguments)
