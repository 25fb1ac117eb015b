"""A sqlite store that was moved or copied with its directory: its artifacts are found again.

mlflow stores the address of the artifacts of each experiment and each run, absolute; it resolves
relative ones against the working directory, not against the store. Ours lie below
`mlflow-artifacts` beside the file (`slams.tracking.database.artifacts_beside`). An address that
names another directory than that of the file is rewritten, provided that the artifacts are here or
are no longer there: a copy of the file alone continues to refer to the original's artifacts.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from slams.runtime.ranks import say
from slams.tracking.database import artifacts_beside, connect

__all__ = ["follow_move"]

_ARTIFACTS = "/mlflow-artifacts/"
_SELECT = (
    "select {key}, {column} from {table} where {column} like 'file:%' "
    "and substr({column}, 1, length(:here)) <> :here"
)
_UPDATE = "update {table} set {column} = ? where {key} = ?"
_EXPERIMENTS = {"table": "experiments", "key": "experiment_id", "column": "artifact_location"}
_RUNS = {"table": "runs", "key": "run_uuid", "column": "artifact_uri"}
# The tag with the run directory, by which `slams sync` finds whether a run was killed.
_DIRECTORY = (
    "update tags set value = :new || substr(value, length(:old) + 1) where run_uuid = :run "
    "and key = 'directory' and substr(value, 1, length(:old) + 1) = :old || '/'"
)


@dataclass(frozen=True)
class _Move:
    """An address of artifacts that is to be rewritten: of which row, from where, to where."""

    row: str
    old_place: Path
    address: str


def follow_move(database: Path) -> None:
    """Rewrite the addresses of artifacts that a store took from its former directory.

    One transaction; nothing is written where nothing has moved. A file that cannot be read or
    written is left as it is: mlflow reports what is wrong with it.

    Args:
        database: The sqlite file, which need not exist.
    """
    if not database.is_file():
        return
    here = artifacts_beside(database) + "/"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(connect(database)) as db,
    ):
        with db:
            experiments = _moves(db, _EXPERIMENTS, here)
            runs = _moves(db, _RUNS, here)
            for columns, moves in ((_EXPERIMENTS, experiments), (_RUNS, runs)):
                rows = [(move.address, move.row) for move in moves]
                db.executemany(_UPDATE.format(**columns), rows)
            new = str(database.resolve().parent)
            directories = [{"run": m.row, "old": str(m.old_place), "new": new} for m in runs]
            db.executemany(_DIRECTORY, directories)
        if runs:  # written; an experiment without runs is not worth a line
            places = ", ".join(sorted({str(move.old_place) for move in runs}))
            say(
                f"the tracking store {database} was in {places}: the artifacts of {len(runs)} "
                f"runs are now looked for beside it"
            )


def _moves(db: sqlite3.Connection, columns: dict[str, str], here: str) -> list[_Move]:
    """List the rows of a table to rewrite; `here` is the address that they should begin with."""
    moves = []
    for row, old in db.execute(_SELECT.format(**columns), {"here": here}).fetchall():
        place, found, rest = old.rpartition(_ARTIFACTS)
        new = here + rest
        if found and (_path(new).exists() or not _path(old).exists()):
            moves.append(_Move(row, _path(place), new))
    return moves


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))
