"""Record of a run in its directory: `run.json` and the recipe it was made with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slams.config.renamed import rename_keys
from slams.config.yaml_text import parse_yaml, read_yaml_text
from slams.errors import UserError
from slams.runtime import atomic
from slams.runtime.files import parse_record, read_json

__all__ = [
    "ESTIMATOR",
    "LAYOUT",
    "RunRecord",
    "is_finished",
    "now",
    "read_recipe",
]

# Version of the layout of a run directory; any other version is refused.
LAYOUT = 1
_STATUSES = ("running", "finished", "failed", "killed")

# Version of the estimators of the scores. 1: centred ensembles were scored as free ones, CRPS 3 %
# too low and spread 3 % too large with 16 members (docs/diagnostics.md).
ESTIMATOR = 2


@dataclass(frozen=True)
class RunRecord:
    """Content of `run.json`.

    Attributes:
        run_id: Identity of the run; a new one whenever the run starts over.
        stage: `vae`, `score`, `score_pixel` or `assimilation`.
        experiment: Name of the experiment.
        status: `running`, `finished`, `failed` or `killed`. A run with status `running` whose lock
            no process holds was killed.
        created: Start of the first attempt (ISO, UTC).
        updated: Last change of the record (ISO, UTC).
        attempts: Number of starts, including resumptions.
        inputs: Lineage: stage -> run id of each run that this one is built on.
        fingerprint: Fingerprint of the training store; empty where there is none.
        reserved_days: Days that the recipe and the store reserve, ISO dates in pairs (first,
            last).
        test_days: Use of the test split: `reserved, final`, `reserved, not read` (in training),
            `not reserved`, or empty where it has no days or the run is older than this entry.
        versions: Versions of Python and of the packages.
        revision: Commit of the source tree; empty for an installed copy.
        process: Host and process id of the last attempt.
        mlflow_run_id: Run on the tracking server; empty without tracking.
        summary: Measurements of the stage: parameters, throughput, peak memory.
        estimator: Version of the estimators of its scores; a record older than this entry has
            version 1. Scores of different versions cannot be compared.
    """

    run_id: str
    stage: str
    experiment: str
    status: str = "running"
    created: str = ""
    updated: str = ""
    attempts: int = 1
    inputs: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    reserved_days: list[str] = field(default_factory=list)
    test_days: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    revision: str = ""
    process: dict[str, Any] = field(default_factory=dict)
    mlflow_run_id: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    estimator: int = 1

    @classmethod
    def read(cls, directory: str | Path) -> RunRecord:
        """Read a run directory's record.

        Raises:
            UserError: It is not a run directory, or the record is damaged or of another layout.
        """
        path = Path(directory) / "run.json"
        then = f"remove {directory} or start over with resume=overwrite"
        try:
            values = read_json(path, then)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{directory} is not a run directory: it has no run.json") from None
        layout = values.pop("layout", None)
        if layout != LAYOUT:
            raise UserError(
                f"{path}: found layout {layout}, expected {LAYOUT}; this run was made by another "
                f"version of slams, start over with resume=overwrite"
            )
        record = parse_record(cls, path, values, then)
        if record.status not in _STATUSES:
            raise UserError(
                f"{path} is damaged: found status {record.status!r}, expected one of "
                f"{', '.join(_STATUSES)}; {then}"
            )
        return record

    def write(self, directory: Path) -> None:
        """Write the record into a run directory, completely or not at all."""
        text = json.dumps({"layout": LAYOUT, **asdict(self)}, indent=2) + "\n"
        atomic.write_text(directory / "run.json", text)


def read_recipe(directory: Path) -> dict[str, Any]:
    """Read the recipe that a run directory was made with, as a plain tree.

    Raises:
        UserError: It is missing or damaged.
    """
    path = directory / "config.yaml"
    try:
        # Within the bounds of any recipe: a run directory may be another user's.
        recipe = parse_yaml(read_yaml_text(path), f"recipe {path}")
        rename_keys(recipe, f"in {path}")
        return recipe
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{path} is missing; start over with resume=overwrite") from None
    except UserError as error:
        raise UserError(f"{error}; start over with resume=overwrite") from None


def is_finished(directory: Path) -> bool:
    """Return whether a directory holds a finished run."""
    there = (directory / "run.json").exists()
    return there and RunRecord.read(directory).status == "finished"


def now() -> str:
    """Return the current time (ISO, UTC, seconds)."""
    return datetime.now(UTC).isoformat(timespec="seconds")
