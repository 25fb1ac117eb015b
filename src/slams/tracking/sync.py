"""Copy tracked runs from the local store to a tracking server, each exactly once.

Nodes of a cluster often cannot reach a server: with `tracking.offline=true` a run is logged to
sqlite in the directory of all runs, and `slams sync` copies it later, from a machine that reaches
the server. Every copied run carries the id of its original as a tag, by which it is found again,
so that the same command updates it: data that are already there are not written again, and the
next command completes an interrupted copy. A run with status running whose directory no process
has locked was killed; it is recorded as killed.

A run whose server was lost during the run has its first part there and the rest in the local
store: both carry our own `run_id` as a tag, by which the rest is added to the first part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from slams.errors import UserError
from slams.runtime.directories import exclusive, lock_file
from slams.runtime.ranks import say
from slams.tracking.headline import VIEW_TAG, offer_view
from slams.tracking.store import SYNCED_FROM, TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo, Metric, Run

__all__ = ["SYNCED_FROM", "Synced", "sync"]

_PARENT = "mlflow.parentRunId"
_RUNS_PER_PAGE = 500


@dataclass(frozen=True)
class Synced:
    """Result of a synchronisation: numbers of new, extended and unchanged runs."""

    new: int
    extended: int
    unchanged: int

    def __str__(self) -> str:
        total = self.new + self.extended + self.unchanged
        return f"{total} runs: {self.new} new, {self.extended} updated, {self.unchanged} unchanged"


def sync(store: TrackingStore, dry_run: bool = False) -> Synced:
    """Copy the runs of an MLflow experiment from the local store to its server.

    Args:
        store: Where the runs are to be tracked; its `uri` is the server.
        dry_run: Whether only to count.

    Returns:
        Numbers of runs that were, or would be, copied.

    Raises:
        UserError: No server is given, there is no local store, or the server cannot be used.
    """
    section = store.section
    local = replace(store, section=replace(section, uri="", offline=False))
    server = replace(store, section=replace(section, offline=False))
    if not section.uri or local.uri == server.uri:
        raise UserError(
            "key 'tracking.uri': found no server, expected the tracking server to copy runs to, "
            "for example tracking.uri=http://HOST:5000"
        )
    database = store.local_database
    if not database.exists() or database.stat().st_size == 0:
        raise UserError(
            f"{database} does not exist or is empty: nothing was tracked under key 'runs', "
            f"{store.runs}; expected the runs of an experiment with tracking.offline=true"
        )
    # One copy at a time: two could each find a run missing, and both create it.
    with (
        exclusive(store.runs / ".sync.lock"),
        local.connected() as (source, origin),
        server.connected() as (target, experiment),
    ):
        found = _sync_all(source, origin, target, experiment, dry_run)
        if not dry_run and VIEW_TAG in source.get_experiment(origin).tags:
            offer_view(target, experiment)
    say(f"{'would copy' if dry_run else 'copied'} to {server.uri}: {found}")
    return found


def _sync_all(
    source: MlflowClient, origin: str, target: MlflowClient, experiment: str, dry_run: bool
) -> Synced:
    there = list(_runs(target, experiment))
    copies = {run.data.tags[SYNCED_FROM]: run for run in there if SYNCED_FROM in run.data.tags}
    parts = {run.data.tags["run_id"]: run for run in there if "run_id" in run.data.tags}
    count = {"new": 0, "extended": 0, "unchanged": 0}
    ids: dict[str, str] = {}
    # Parents first: a nested run refers to the copy of its parent.
    for run in sorted(_runs(source, origin), key=lambda r: _PARENT in r.data.tags):
        copy = copies.get(run.info.run_id) or parts.get(run.data.tags.get("run_id", ""))
        if not dry_run:
            run = _settled(source, run)
        new = copy is None
        if copy is None and not dry_run:
            copy = _create(target, experiment, run, ids)
        if copy is not None:
            ids[run.info.run_id] = copy.info.run_id
        changed = copy is not None and _fill(source, run, target, copy, dry_run)
        count["new" if new else "extended" if changed else "unchanged"] += 1
    return Synced(**count)


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=_RUNS_PER_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _settled(client: MlflowClient, run: Run) -> Run:
    """Record as killed a run whose process died without recording it."""
    directory = Path(run.data.tags.get("directory", ""))
    if run.info.status != "RUNNING" or not (directory / "run.json").exists():
        return run
    try:
        with exclusive(lock_file(directory), 0):
            client.set_terminated(run.info.run_id, "KILLED")
    except filelock.Timeout:  # a process is working on it
        return run
    return client.get_run(run.info.run_id)


def _create(target: MlflowClient, experiment: str, run: Run, ids: dict[str, str]) -> Run:
    tags = {**run.data.tags, SYNCED_FROM: run.info.run_id}
    if _PARENT in tags:
        tags[_PARENT] = ids.get(tags[_PARENT], tags[_PARENT])
    return target.create_run(
        experiment, start_time=run.info.start_time, tags=tags, run_name=run.info.run_name
    )


def _fill(source: MlflowClient, run: Run, target: MlflowClient, copy: Run, dry_run: bool) -> bool:
    """Add to a copy what it lacks of its original; return whether anything was missing."""
    there = copy.info.run_id
    parameters = {k: v for k, v in run.data.params.items() if k not in copy.data.params}
    metrics = list(_missing_metrics(source, run, target, copy))
    sizes = {f.path: f.file_size for f in _files(target, there)}
    # Files that the copy lacks, or has with another size.
    files = [
        f.path for f in _files(source, run.info.run_id) if sizes.get(f.path, -1) != f.file_size
    ]
    tags = {
        k: v
        for k, v in run.data.tags.items()
        if k not in (_PARENT, SYNCED_FROM) and copy.data.tags.get(k) != v
    }
    # A run that continued on the server after a part of it was kept locally ended there.
    ended_there = (copy.info.end_time or 0) > (run.info.end_time or 0)
    changed = bool(parameters or metrics or files or tags)
    changed |= copy.info.status != run.info.status and not ended_there
    if dry_run or not changed:
        return changed
    from mlflow.entities import Param, RunTag

    target.log_batch(
        there,
        metrics,
        [Param(key, value) for key, value in parameters.items()],
        [RunTag(key, value) for key, value in tags.items()],
    )
    for path in files:
        with tempfile.TemporaryDirectory() as directory:
            local = source.download_artifacts(run.info.run_id, path, directory)
            target.log_artifact(there, local, path.rpartition("/")[0] or None)
    if ended_there:
        return True
    if run.info.status == "RUNNING":
        target.update_run(there, status="RUNNING")
    else:
        # Last: a copy with the status of its original is complete.
        target.set_terminated(there, run.info.status, run.info.end_time)
    return True


def _missing_metrics(
    source: MlflowClient, run: Run, target: MlflowClient, copy: Run
) -> Iterator[Metric]:
    for key in run.data.metrics:
        history = source.get_metric_history(run.info.run_id, key)
        known: set[Any] = set()
        if key in copy.data.metrics:
            known = {_point(m) for m in target.get_metric_history(copy.info.run_id, key)}
        yield from (m for m in history if _point(m) not in known)


def _point(metric: Metric) -> tuple[int, int, str]:
    # As text, since not-a-number is not equal to itself.
    return metric.step, metric.timestamp, repr(metric.value)


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[FileInfo]:
    entries: Sequence[FileInfo] = client.list_artifacts(run_id, folder)
    for entry in entries:
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        else:
            yield entry
