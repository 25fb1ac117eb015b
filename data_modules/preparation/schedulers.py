"""Schedulers of a preparation: threads, processes of dask.distributed, or SLURM jobs.

All three have the same interface: `submit(function, *arguments)` returns a future. Results are
returned in the order of the tasks, with a limited number of tasks in progress.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from slams.config.memory import parse_memory
from slams.config.schema import PrepareConfig
from slams.errors import UserError, install_extra

__all__ = ["Executor", "in_order", "scheduler", "slurm_cluster"]

_Result = TypeVar("_Result")
# Time before the limit of its job at which a SLURM worker ends and hands over its task (s).
_HANDOVER = 300


class Executor(Protocol):
    """Runs calls and returns their futures."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Submit a call; return its future."""
        ...


@contextmanager
def scheduler(keys: PrepareConfig, workers: int, place: Path) -> Iterator[Executor]:
    """Start workers, and stop them on exit.

    Args:
        keys: The recipe's section `data.prepare`.
        workers: Number of concurrent tasks.
        place: Directory for the logs of jobs.

    Raises:
        UserError: The extra `cluster` is not installed, or the jobs cannot be submitted.
    """
    if keys.scheduler == "threads":
        pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        try:
            yield pool
        finally:
            # Do not wait after an interruption: half-written files have no record.
            pool.shutdown(wait=False, cancel_futures=True)
        return
    client, cluster = _cluster(keys, workers, place)
    try:
        yield _Client(client)
    finally:
        client.close()
        cluster.close()


def in_order(
    pool: Executor,
    function: Callable[..., _Result],
    arguments: Iterable[tuple[Any, ...]],
    under_way: int,
) -> Iterator[_Result]:
    """Call a function with each tuple of arguments; yield the results in the same order.

    Args:
        pool: Executor of the calls.
        function: Function to call.
        arguments: Arguments of each call.
        under_way: Largest number of calls submitted whose result has not been yielded yet.
    """
    futures: deque[Any] = deque()
    try:
        for one in arguments:
            if len(futures) == under_way:
                yield futures.popleft().result()
            futures.append(pool.submit(function, *one))
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()


def slurm_cluster(keys: PrepareConfig, place: Path) -> Any:
    """Return a SLURM cluster with its job settings; no job is submitted yet.

    Raises:
        UserError: The extra `cluster` is not installed.
    """
    jobqueue = _import("dask_jobqueue")
    size = parse_memory("data.prepare.memory", keys.memory)
    seconds = _seconds(keys.walltime)
    lifetime = ["--lifetime", f"{seconds - _HANDOVER}s"] if seconds > 2 * _HANDOVER else []
    return jobqueue.SLURMCluster(
        queue=keys.partition or None,
        account=keys.account or None,
        cores=1,
        processes=1,
        memory=f"{size}B",
        walltime=keys.walltime,
        job_script_prologue=list(keys.prologue),
        log_directory=str(place),
        worker_extra_args=lifetime,
        job_name="slams-prepare",
    )


class _Client:
    """Executor on dask.distributed, which runs calls with equal arguments separately.

    A function is sent to each worker once: the files it opens there serve all calls of the worker.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._sent: list[Callable[..., Any]] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        from data_modules.preparation.worker_plugin import TaskPlugin, call_task

        if not any(function is sent for sent in self._sent):
            self._client.register_plugin(TaskPlugin(function), name=f"slams-{len(self._sent)}")
            self._sent.append(function)
        number = next(n for n, sent in enumerate(self._sent) if sent is function)
        return self._client.submit(call_task, f"slams-{number}", *arguments, pure=False)


def _cluster(keys: PrepareConfig, workers: int, place: Path) -> tuple[Any, Any]:
    distributed = _import("distributed")
    dask = _import("dask")
    # Tasks are planned to fit into their memory; a worker that exceeds it is killed.
    settings = {
        f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")
    }
    with dask.config.set(settings):
        if keys.scheduler == "slurm":
            cluster = slurm_cluster(keys, place)
            # Unlike `scale`, this replaces a job that has reached its time limit.
            cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)
        else:
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=parse_memory("data.prepare.memory", keys.memory),
                dashboard_address=None,
                local_directory=str(place),
            )
        return distributed.Client(cluster), cluster


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"data.prepare.scheduler: `{name}` is not installed; {install_extra('cluster')}, or "
            f"set data.prepare.scheduler=threads"
        ) from error


def _seconds(walltime: str) -> int:
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
