"""Where the tasks of a preparation run: threads, processes of dask.distributed, or SLURM jobs.

All three are asked the same: `submit(function, *arguments)` gives a future. Results come back in
the order of the tasks, with no more than a few of them under way.
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
from slams.errors import UserError

__all__ = ["Submits", "in_order", "scheduler", "slurm_cluster"]

_Result = TypeVar("_Result")
# A SLURM worker that ends this long before its job's limit hands over what it was doing (s).
_HANDOVER = 300


class Submits(Protocol):
    """Takes a call and gives its future."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Start a call when there is room for it."""
        ...


@contextmanager
def scheduler(keys: PrepareConfig, workers: int, place: Path) -> Iterator[Submits]:
    """Start workers, and stop them in the end.

    Args:
        keys: The recipe's section `data.prepare`.
        workers: Tasks at a time.
        place: Directory for the logs of jobs.

    Raises:
        UserError: The extra `cluster` is not installed, or the jobs cannot be submitted.
    """
    if keys.scheduler == "threads":
        pool = ThreadPoolExecutor(workers, thread_name_prefix="prepare")
        try:
            yield pool
        finally:
            # Whoever is interrupted leaves at once: what is half written has no record.
            pool.shutdown(wait=False, cancel_futures=True)
        return
    client, cluster = _cluster(keys, workers, place)
    try:
        yield _Client(client)
    finally:
        client.close()
        cluster.close()


def in_order(
    pool: Submits,
    function: Callable[..., _Result],
    arguments: Iterable[tuple[Any, ...]],
    under_way: int,
) -> Iterator[_Result]:
    """Call a function on each of some arguments; yield the results in their order.

    Args:
        pool: Runs the calls.
        function: What is called.
        arguments: Of each call.
        under_way: Calls that have begun and whose result has not been taken, at most.
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
    """Describe the jobs of a SLURM cluster; none is submitted yet.

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
    """Submits to dask.distributed; no call is taken for another with the same arguments.

    A function is sent to each worker once: what it opens there serves all calls of the worker.
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
    # Tasks stay within their memory by themselves; who exceeds it all the same is stopped.
    settings = {
        f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")
    }
    with dask.config.set(settings):
        if keys.scheduler == "slurm":
            cluster = slurm_cluster(keys, place)
            # A job that has come to its time limit is replaced, which `scale` would not do.
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
            f"data.prepare.scheduler: `{name}` is not installed; install the extra, pip install "
            f"'slams[cluster]', or write data.prepare.scheduler=threads"
        ) from error


def _seconds(walltime: str) -> int:
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
