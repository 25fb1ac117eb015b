"""Run directories: `runs/<experiment>/<stage>/`, owned by one recipe and one process at a time.

A directory holds `config.yaml` (the resolved recipe), `run.json` (identity, lineage, versions,
data fingerprint, status), `metrics.csv`, `checkpoints/` and the stage's results. Every file that
says something about the run is replaced in one step, so that a process killed at any moment
leaves a directory that the next one can read. A run that is refused, by a mistake in the data or a
full disk, before it has a checkpoint to continue from leaves nothing. What a run was to replace
(`resume=overwrite`) is there again when the new one ends without anything to keep.

    with RunDirectory.open(config, "score", inputs={"vae": vae.run_id}) as run:
        if run.finished:
            say(run.summary())
        else:
            ...  # continue from run.last_checkpoint, which may be None

Under several processes only rank zero locks and writes; the others see the same directory.

A job that SLURM runs again types the same command again: where its own earlier attempt has begun
the run, `resume=overwrite` and `resume=never` mean what they meant then, and it is continued.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock

from slams.config.loading import to_yaml
from slams.config.schema import Config
from slams.errors import UserError
from slams.runs import provenance
from slams.runs.record import RunRecord, now, read_recipe, stage_directory
from slams.runtime import atomic, directories, slurm_job
from slams.runtime.failures import explain_failure, lost_rank
from slams.runtime.ranks import is_rank_zero

__all__ = ["RunDirectory", "ending"]

# Seconds that a job which SLURM runs again waits for its earlier attempt to be gone: a node that
# was lost may be alive behind a broken network, until SLURM or the file system gives it up.
_WAIT_SECONDS = 300


class RunDirectory:
    """Owns one run directory while a stage works in it; a context manager.

    Leaving the block without an exception marks the run finished, with one failed, with an
    interrupt or a signal killed. A refusal before the first checkpoint removes the directory.

    Attributes:
        path: The directory.
        record: What `run.json` says.
        finished: The run had finished before; nothing was locked and nothing is written.
        resumed: An earlier attempt of this run is continued.
    """

    def __init__(
        self, path: Path, record: RunRecord, lock: filelock.FileLock | None, finished: bool
    ) -> None:
        self.path = path
        self.record = record
        self.finished = finished
        self.resumed = not finished and record.attempts > 1
        self._lock = lock
        self._made: list[Path] = []
        # Other ranks may look before rank zero has cleared the directory away.
        self._fresh = False

    @classmethod
    def open(
        cls,
        config: Config,
        stage: str,
        inputs: Mapping[str, str] | None = None,
        fingerprint: str = "",
    ) -> RunDirectory:
        """Creates, continues or refuses the directory of a stage, as `config.resume` says.

        Args:
            config: The recipe.
            stage: `vae`, `score` or `assimilation`.
            inputs: Lineage, stage -> run id of each run this one is built on.
            fingerprint: Fingerprint of the training store.

        Raises:
            UserError: The directory belongs to another recipe, other inputs or other data; it is
                in use; it exists and `resume` is `never`; or it is no run directory.
        """
        path = stage_directory(config, stage)
        new = RunRecord(
            run_id=uuid.uuid4().hex,
            stage=stage,
            experiment=config.experiment,
            created=now(),
            inputs=dict(inputs or {}),
            fingerprint=fingerprint,
        )
        if not is_rank_zero():
            return cls._beside_rank_zero(path, new, config)
        _readable(path, config, new)  # a refusal leaves no lock behind
        made = directories.make(path.parent)
        # Locked before it is read: whoever held the lock may just have finished the run.
        patience = _WAIT_SECONDS if slurm_job.restarted() else 0
        lock = directories.lock(path, lambda: _owner(path), patience)
        run = cls(path, new, lock, finished=False)
        run._made = made
        fresh = False
        try:
            old = _readable(path, config, new)
            if old is None:
                directories.set_aside(path)
                fresh = True
                path.mkdir()
                atomic.write_text(path / "config.yaml", to_yaml(config))
            elif old.status == "finished":
                lock.release()
                return cls(path, old, None, finished=True)
            else:
                run.record = replace(old, attempts=old.attempts + 1, status="running")
                run.resumed = True
            run._save(
                versions=provenance.versions(),
                revision=provenance.revision(),
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
                lock.release()
            raise
        return run

    @staticmethod
    def check(
        config: Config,
        stage: str,
        inputs: Mapping[str, str] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Refuses what `open` would refuse, and writes nothing; arguments as there.

        Raises:
            UserError: As for `open`, except that a directory in use is found out only there.
        """
        if is_rank_zero():  # which makes the directory that the others would find
            asked = RunRecord("", stage, "", inputs=dict(inputs or {}), fingerprint=fingerprint)
            _readable(stage_directory(config, stage), config, asked)

    @classmethod
    def _beside_rank_zero(cls, path: Path, new: RunRecord, config: Config) -> RunDirectory:
        """Sees the directory as rank zero does or will, without writing to it."""
        there = (path / "run.json").exists()
        record, fresh = new, config.resume == "overwrite"
        if there and (not fresh or _own(RunRecord.read(path))):
            record, fresh = RunRecord.read(path), False
        run = cls(path, record, None, finished=record.status == "finished")
        run._fresh = fresh
        return run

    @property
    def run_id(self) -> str:
        """Gives the identity of the run, for the lineage of what is built on it."""
        return self.record.run_id

    @property
    def checkpoints(self) -> Path:
        """Gives the directory of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path | None:
        """Gives the checkpoint to continue from, `checkpoints/last.ckpt`, when there is one."""
        path = self.checkpoints / "last.ckpt"
        return path if path.exists() and not self._fresh else None

    @property
    def progress(self) -> Path:
        """Gives the directory of what an evaluation has got so far."""
        return self.path / "progress"

    def summary(self) -> str:
        """Says in one line that the run had finished before and is kept."""
        when = self.record.updated
        return f"{self.path} finished already ({when}), kept; resume=overwrite starts over"

    def update(
        self,
        *,
        mlflow_run_id: str | None = None,
        fingerprint: str | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds to the record; a summary is merged with what there is."""
        changes: dict[str, Any] = {}
        if mlflow_run_id is not None:
            changes["mlflow_run_id"] = mlflow_run_id
        if fingerprint is not None:
            changes["fingerprint"] = fingerprint
        if summary is not None:
            changes["summary"] = {**self.record.summary, **summary}
        self._save(**changes)

    def close(self, status: str) -> None:
        """Records how the run ended (`finished`, `failed` or `killed`) and gives up the lock."""
        if self.finished or self._lock is None:
            return
        try:
            self._save(status=status)
            directories.forget(self.path)
        finally:
            self._lock.release()
            self._lock = None

    def discard(self) -> None:
        """Removes the directory, brings back the run it was to replace, and gives up the lock."""
        if self.finished or self._lock is None:
            return
        directories.bring_back(self.path)
        directories.unlock(self._lock)
        self._lock = None
        directories.unmake(self._made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        refused = error is not None and explain_failure(error) is not None and not lost_rank(error)
        replaces = error is not None and directories.waits(self.path)
        begun = self.last_checkpoint is not None or self.progress.exists()
        if (refused or replaces) and not begun:
            self.discard()
        else:
            self.close(ending(error))

    def _save(self, **changes: Any) -> None:
        if self._lock is not None:
            self.record = replace(self.record, updated=now(), **changes)
            self.record.write(self.path)


def ending(error: BaseException | None) -> str:
    """Names how a run ended: `finished`, `failed` for an error, `killed` for an interrupt."""
    if error is None:
        return "finished"
    # Lightning turns an interrupt into SystemExit, and so does the handler of SIGTERM.
    return "failed" if isinstance(error, Exception) and not lost_rank(error) else "killed"


def _readable(path: Path, config: Config, new: RunRecord) -> RunRecord | None:
    """Reads the record of a directory that is to be kept; `None` where one starts afresh.

    Raises:
        UserError: The directory is none, or belongs to another recipe, other inputs or data.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, expected a run directory; move it away")
    if not path.exists():
        return None
    if not (path / "run.json").exists():
        # A process killed while it created the directory leaves no more than these.
        strangers = [p.name for p in path.iterdir() if not _is_debris(p)]
        if strangers:
            raise UserError(
                f"{path} is not a run directory: it has no run.json but holds {strangers[0]}; "
                f"move it away or choose another experiment"
            )
        return None
    # Read for a job that runs again alone: a damaged record may be replaced otherwise.
    own = slurm_job.restarted() and _own(RunRecord.read(path))
    if config.resume == "never" and not own:
        raise UserError(f"{path} exists and resume=never; choose another experiment")
    if config.resume == "overwrite" and not own:
        return None
    old = RunRecord.read(path)
    _refuse_other(path, old, config, new)
    return old


def _own(record: RunRecord) -> bool:
    """Tells whether an earlier attempt of the SLURM job that runs again has begun a run."""
    return slurm_job.restarted() and record.process.get("job") == slurm_job.job_id()


def _owner(path: Path) -> str:
    """Names the process that a record says is at work."""
    if not (path / "run.json").exists():
        return "another process"
    process = RunRecord.read(path).process
    return f"process {process.get('pid')} on {process.get('host')}"


def _is_debris(path: Path) -> bool:
    return path.name == "config.yaml" or path.name.startswith(".")


def _refuse_other(path: Path, old: RunRecord, config: Config, new: RunRecord) -> None:
    """Refuses a directory that belongs to another recipe, other inputs or other data."""
    choice = "choose another experiment or start over with resume=overwrite"
    other = provenance.difference(old.stage, read_recipe(path), config)
    if other is not None:
        raise UserError(f"{path} belongs to another recipe: {other}; {choice}")
    for stage, run_id in new.inputs.items():
        if old.inputs.get(stage) != run_id:
            raise UserError(
                f"{path} was built on another {stage} run: found {old.inputs.get(stage)}, "
                f"expected {run_id}; {choice}"
            )
    if new.fingerprint and old.fingerprint and new.fingerprint != old.fingerprint:
        raise UserError(
            f"{path} was made from other data: found fingerprint {old.fingerprint[:12]}, expected "
            f"{new.fingerprint[:12]} of {config.data.store}; {choice}"
        )
