"""What a stage requests of its run directory, and whether an existing directory matches it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slams.errors import UserError
from slams.runs import provenance
from slams.runs.record import ESTIMATOR, RunRecord, now, read_recipe
from slams.runtime import directories, slurm_job

__all__ = ["RunRequest", "begun_by_this_job", "is_unbegun"]


@dataclass(frozen=True)
class RunRequest:
    """Request of a stage: where it works, with which recipe, and built on which runs.

    Attributes:
        path: The run directory.
        recipe: The resolved recipe as a plain tree; it is saved whole in `config.yaml`.
        run: Record of the run with its stage, experiment, lineage and data, but without an
            identity; its fingerprint is empty where it is not known.
        resume: `auto` continues or keeps an existing run, `overwrite` replaces it, `never`
            refuses.
        store: The training store, as named in messages.
    """

    path: Path
    recipe: Mapping[str, Any]
    run: RunRecord
    resume: str = "auto"
    store: str = ""

    def new_record(self) -> RunRecord:
        """Return the record of a run that starts now."""
        return replace(self.run, run_id=uuid.uuid4().hex, created=now(), estimator=ESTIMATOR)

    def find(self) -> RunRecord | None:
        """Return the record of the run to keep or continue, `None` where a new run starts.

        Raises:
            UserError: The path is not a run directory; or it belongs to another recipe, other
                inputs or other data; or it exists and `resume` is `never`.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file, expected a run directory; move it away")
        if not path.exists():
            return None
        if not (path / "run.json").exists():
            # A process killed while it creates the directory leaves at most debris.
            if strangers := [p.name for p in path.iterdir() if not _is_debris(p)]:
                raise UserError(
                    f"{path} is not a run directory: it has no run.json but holds {strangers[0]}; "
                    f"move it away or choose another experiment"
                )
            return None
        # Read only for a job that runs again: otherwise a damaged record may be replaced.
        own = slurm_job.restarted() and begun_by_this_job(RunRecord.read(path))
        if self.resume == "never" and not own:
            raise UserError(
                f"{path} exists and resume=never; choose another experiment"
                f"{directories.describe_backup(path)}"
            )
        if self.resume == "overwrite" and not own:
            return None
        old = RunRecord.read(path)
        self._refuse_other(old)
        return old

    def _refuse_other(self, old: RunRecord) -> None:
        """Refuse a directory that belongs to another recipe, other inputs or other data."""
        choice = "choose another experiment or start over with resume=overwrite"
        choice += directories.describe_backup(self.path)
        other = provenance.run_difference(old.stage, read_recipe(self.path), self.recipe)
        if other is not None:
            raise UserError(f"{self.path} belongs to another recipe: {other}; {choice}")
        for stage, run_id in self.run.inputs.items():
            if stage == "background" and stage not in old.inputs:
                continue  # of a version that did not record it
            if old.inputs.get(stage) != run_id:
                raise UserError(
                    f"{self.path} was built on another {stage} run: found "
                    f"{old.inputs.get(stage)}, expected {run_id}; {choice}"
                )
        found, expected = old.fingerprint[:12], self.run.fingerprint[:12]
        if found and expected and found != expected:
            raise UserError(
                f"{self.path} was made from other data: found fingerprint {found}, expected "
                f"{expected} of {self.store}; {choice}"
            )


def begun_by_this_job(record: RunRecord) -> bool:
    """Return whether an earlier attempt of this requeued SLURM job has begun a run."""
    return slurm_job.restarted() and record.process.get("job") == slurm_job.job_id()


def is_unbegun(path: Path) -> bool:
    """Return whether the run of a directory was never begun, for example because it was killed.

    Args:
        path: The run directory.
    """
    if not path.exists():
        return True
    return not (path / "run.json").exists() and all(map(_is_debris, path.iterdir()))


def _is_debris(path: Path) -> bool:
    return path.name == "config.yaml" or path.name.startswith(".")
