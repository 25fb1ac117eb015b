"""Run directories: `runs/<experiment>/<stage>/`, owned by one recipe and one process at a time.

A directory holds `config.yaml` (the resolved recipe), `run.json` (identity, lineage, versions,
data fingerprint, status), `metrics.csv`, `checkpoints/` and the stage's results. Every file that
describes the run is replaced atomically, so that a process killed at any moment leaves a directory
that the next process can read. A run that is refused, because of wrong data or a full disk, before
it has a checkpoint to continue from leaves nothing. The predecessor of a run (`resume=overwrite`)
is restored when the new run ends without anything to keep; where the process was killed, it is
kept next to the directory, hidden, however often the run is replaced and killed again.

    with RunDirectory.open(request) as run:  # a slams.runs.request.RunRequest
        if run.finished:
            say(run.summary())
        else:
            ...  # continue from run.last_checkpoint, which may be None

Under several processes only rank zero locks and writes; the others use the same directory.

A job that SLURM runs again repeats the same command: where its own earlier attempt has begun the
run, `resume=overwrite` and `resume=never` apply to that attempt, and the run is continued.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import filelock

from slams.config.loading import dump_yaml
from slams.errors import UserError
from slams.runs import provenance
from slams.runs.record import ESTIMATOR, RunRecord, is_finished, now
from slams.runs.request import RunRequest, begun_by_this_job, is_unbegun
from slams.runtime import atomic, directories, slurm_job
from slams.runtime.failures import explain_failure, lost_rank
from slams.runtime.ranks import is_rank_zero, say

__all__ = ["RunDirectory", "ending"]

# Seconds that a requeued job waits for its earlier attempt to end: a lost node may still be
# running behind a broken network, until SLURM or the file system drops it.
_WAIT_SECONDS = 300


class RunDirectory:
    """Run directory owned by a stage while it works there; a context manager.

    Leaving the block without an exception marks the run finished; with an exception, failed;
    with an interrupt or a signal, killed. A refusal before the first checkpoint removes the
    directory.

    Attributes:
        path: The directory.
        request: What the stage requests for this attempt.
        record: Content of `run.json`.
        finished: Whether the run had finished before; nothing is then locked or written.
    """

    def __init__(
        self,
        request: RunRequest,
        record: RunRecord,
        lock: filelock.FileLock | None,
        finished: bool,
    ) -> None:
        self.path = request.path
        self.request = request
        self.record = record
        self.finished = finished
        self._lock = lock
        self._made: list[Path] = []
        # Other ranks may read the directory before rank zero has moved it away.
        self._fresh = False

    @classmethod
    def open(cls, request: RunRequest) -> RunDirectory:
        """Create, continue or refuse the directory of a stage, according to `request.resume`.

        Raises:
            UserError: The directory belongs to another recipe, other inputs or other data; it is
                in use; it exists and `resume` is `never`; or it is not a run directory.
        """
        path, new = request.path, request.new_record()
        if not is_rank_zero():
            return cls._open_read_only(request, new)
        request.find()  # a refusal leaves no lock behind
        made = directories.make(path.parent)
        # Locked before it is read: the last holder of the lock may just have finished the run.
        patience = _WAIT_SECONDS if slurm_job.restarted() else 0
        lock = directories.lock(path, lambda: _owner(path), patience)
        run = cls(request, new, lock, finished=False)
        run._made = made
        fresh = False
        try:
            if directories.has_backup(path) and is_unbegun(path):
                # Killed between the backup of a run and the start of its successor.
                directories.restore(path)
            old = request.find()
            if old is None:
                if directories.has_backup(path) and not _has_finished(path):
                    # Replaced once more: the backup from the first time is the run to keep.
                    directories.restore(path)
                directories.backup(path)
                fresh = True
                path.mkdir()
                atomic.write_text(path / "config.yaml", dump_yaml(request.recipe))
            elif old.status == "finished":
                directories.drop_backup(path)  # the process was killed before it could
                directories.unlock(lock)
                return cls(request, old, None, finished=True)
            else:
                run.record = replace(old, attempts=old.attempts + 1, status="running")
                if directories.has_backup(path) and not run._begun:
                    say(f"{path} has no checkpoint yet{directories.describe_backup(path)}")
            run._save(
                versions=provenance.versions(),
                revision=provenance.revision(),
                # Earlier scores made with other estimators are computed again.
                estimator=ESTIMATOR,
                process={
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "job": slurm_job.job_id(),
                },
            )
        except BaseException:
            if fresh:
                run.discard()
            else:
                directories.unlock(lock)
            raise
        return run

    @staticmethod
    def check(request: RunRequest) -> None:
        """Refuse what `open` would refuse, without writing anything.

        Raises:
            UserError: As for `open`, except that a directory in use is only detected there.
        """
        if is_rank_zero():  # it makes the directory, which the others would find
            request.find()

    @classmethod
    def _open_read_only(cls, request: RunRequest, new: RunRecord) -> RunDirectory:
        """Return the directory as rank zero sees it or will see it, without writing to it."""
        there = (request.path / "run.json").exists()
        record, fresh = new, request.resume == "overwrite"
        if there and (not fresh or begun_by_this_job(RunRecord.read(request.path))):
            record, fresh = RunRecord.read(request.path), False
        run = cls(request, record, None, finished=record.status == "finished")
        run._fresh = fresh
        return run

    @property
    def checkpoints(self) -> Path:
        """Return the directory of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path | None:
        """Return the checkpoint to continue from, `checkpoints/last.ckpt`, if it exists."""
        path = self.checkpoints / "last.ckpt"
        return path if path.exists() and not self._fresh else None

    @property
    def progress(self) -> Path:
        """Return the directory of an evaluation's intermediate results."""
        return self.path / "progress"

    @property
    def _begun(self) -> bool:
        """Return whether there is anything to continue from."""
        return self.last_checkpoint is not None or self.progress.exists()

    @property
    def _was_removed(self) -> bool:
        """Return whether the directory was removed; libraries make parts of it again."""
        return self._lock is not None and not (self.path / "config.yaml").exists()

    def summary(self) -> str:
        """Return a line that states that the run had finished before and is kept."""
        when = self.record.updated
        return f"{self.path} finished already ({when}), kept; resume=overwrite starts over"

    def update(
        self,
        *,
        mlflow_run_id: str | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Update the record; a summary is merged with the existing one."""
        record = self.record
        self._save(
            mlflow_run_id=record.mlflow_run_id if mlflow_run_id is None else mlflow_run_id,
            summary={**record.summary, **(summary or {})},
        )

    def close(self, status: str) -> None:
        """Record how the run ended (`finished`, `failed` or `killed`) and release the lock."""
        if self._lock is None:
            return
        try:
            self._save(status=status)
            directories.drop_backup(self.path)
        finally:
            directories.unlock(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove the directory, restore its predecessor, and release the lock."""
        if self._lock is None:
            return
        directories.restore(self.path)
        directories.unlock(self._lock)
        self._lock = None
        directories.remove_created(self._made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._was_removed and (error is None or isinstance(error, Exception)):
            self.discard()
            raise UserError(
                f"{self.path} was removed while this command was working in it; give the command "
                f"again to start over"
            ) from error
        refused = error is not None and explain_failure(error) is not None and not lost_rank(error)
        replaces = error is not None and directories.has_backup(self.path)
        if (refused or replaces) and not self._begun:
            self.discard()
        else:
            self.close(ending(error))

    def _save(self, **changes: Any) -> None:
        if self._lock is not None:
            self.record = replace(self.record, updated=now(), **changes)
            self.record.write(self.path)


def ending(error: BaseException | None) -> str:
    """Return how a run ended: `finished`, `failed` for an error, `killed` for an interrupt."""
    if error is None:
        return "finished"
    # Lightning turns an interrupt into SystemExit, and so does the handler of SIGTERM.
    return "failed" if isinstance(error, Exception) and not lost_rank(error) else "killed"


def _has_finished(path: Path) -> bool:
    """Return whether a directory holds a finished run; false where its record is damaged."""
    try:
        return is_finished(path)
    except UserError:
        return False


def _owner(path: Path) -> str:
    """Return the process that is working there, according to the record."""
    if not (path / "run.json").exists():
        return "another process"
    process = RunRecord.read(path).process
    return f"process {process.get('pid')} on {process.get('host')}"
