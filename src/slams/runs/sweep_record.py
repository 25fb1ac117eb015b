"""Files of a sweep in its directory, in addition to the runs of its settings.

`sweep.json` records what was varied, and the sweep's MLflow run; every stage that runs below
that directory becomes a child of it. `failures/<setting>.txt` records why a setting failed the
last time, the reason in one line and then the traceback; it is removed when the setting succeeds.
There is one file per setting, so that processes that run settings of one sweep at the same time
never write the same file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock

from slams.runtime import atomic
from slams.runtime.directories import exclusive
from slams.runtime.files import parse_record, read_json

__all__ = ["SweepRecord", "claim", "failure", "forget_failure", "keep_failure", "parent_tags"]

_FILE = "sweep.json"
_AGAIN = "remove it, `slams ablate` writes it"


@dataclass(frozen=True)
class SweepRecord:
    """Content of `sweep.json`.

    Attributes:
        name: Name of the sweep.
        recipe: File of its recipe.
        settings: Setting -> the swept keys and their values.
        mlflow_run_id: Its run on the tracking server; empty without tracking.
        sweep_id: Identity of the sweep, made once; empty in records of earlier versions.
    """

    name: str
    recipe: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    mlflow_run_id: str = ""
    sweep_id: str = ""

    @classmethod
    def read(cls, directory: str | Path) -> SweepRecord | None:
        """Read the record of a sweep's directory; `None` where there is none.

        Raises:
            UserError: The record is damaged.
        """
        path = Path(directory) / _FILE
        try:
            return parse_record(cls, path, read_json(path, _AGAIN), _AGAIN)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, directory: Path) -> None:
        """Write the record, completely or not at all."""
        atomic.write_text(directory / _FILE, json.dumps(asdict(self), indent=2) + "\n")


def parent_tags(directory: Path) -> dict[str, str]:
    """Return the MLflow tags that make a run below a sweep's directory a child of the sweep."""
    for above in directory.parents[:3]:
        record = SweepRecord.read(above)
        if record is not None:
            tags = {"sweep": record.name}
            if record.mlflow_run_id:
                tags["mlflow.parentRunId"] = record.mlflow_run_id
            return tags
    return {}


@contextmanager
def claim(directory: Path, name: str, wait: bool = False) -> Iterator[bool]:
    """Claim a piece of a sweep for this process while the block lasts.

    The system releases the claim when the process dies.

    Args:
        directory: The sweep's directory, which exists.
        name: What is claimed: a setting, or a training that settings share.
        wait: Whether to wait for another process to release it.

    Yields:
        Whether the claim was obtained; always true when waiting.
    """
    locks = directory / ".claims"
    path = locks / f"{name.replace('/', '+')}.lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(path, -1 if wait else 0))
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            stack.close()
            with contextlib.suppress(OSError):  # another process has a claim
                locks.rmdir()


def failure(directory: Path, setting: str) -> str:
    """Return the reason why a setting failed the last time; empty where it did not fail."""
    try:
        text = (directory / "failures" / f"{setting}.txt").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.partition("\n")[0]


def keep_failure(directory: Path, setting: str, reason: str, details: str) -> Path:
    """Record why a setting failed; return the file."""
    path = directory / "failures" / f"{setting}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, f"{reason}\n\n{details}".rstrip() + "\n")
    return path


def forget_failure(directory: Path, setting: str) -> None:
    """Remove the record of a setting's failure, since the setting has now succeeded."""
    (directory / "failures" / f"{setting}.txt").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (directory / "failures").rmdir()
