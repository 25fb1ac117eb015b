"""What a finished command has left, condensed so that two of them can be compared."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

__all__ = ["digest", "leftovers", "synced", "tracked", "tracked_runs"]

# What a finished command leaves behind of its work is a fault, hidden or not.
_SCAFFOLDING = (".lock", ".part", ".partial", ".old", ".journal", ".claims")
# Columns and rows of the results that time the machine.
_TIMED = ("seconds", "seconds_per_member")


def digest(directory: Path, results: Sequence[str]) -> dict[str, str]:
    """Condense results, file by file.

    Args:
        directory: The working directory of the command.
        results: Patterns of files and directories below it.
    """
    found = {}
    for pattern in results:
        for path in sorted(directory.glob(pattern)):
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in files:
                if file.is_file():
                    found[str(file.relative_to(directory))] = _condensed(file)
    return found


def _condensed(path: Path) -> str:
    sha = hashlib.sha256()
    if path.suffix == ".parquet":
        import pandas as pd

        table = pd.read_parquet(path)
        table = table.drop(columns=[c for c in table.columns if c in _TIMED])
        if "metric" in table:
            table = table[~table["metric"].isin(_TIMED)]
        sha.update(table.to_csv(index=False).encode())
    elif path.suffix == ".ckpt":
        import torch

        checkpoint = torch.load(path, weights_only=False, map_location="cpu")
        sha.update(str(checkpoint["global_step"]).encode())
        for part in ("state_dict", "training_state_dict"):
            for name, tensor in sorted(checkpoint.get(part, {}).items()):
                sha.update(name.encode())
                sha.update(tensor.contiguous().numpy().tobytes())
    else:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def leftovers(directory: Path) -> list[str]:
    """List what a finished command should have removed."""
    return [
        str(path.relative_to(directory))
        for path in sorted(directory.rglob("*"))
        if path.name.endswith(_SCAFFOLDING) or ".tmp" in path.name
    ]


def tracked(directory: Path, stages: Sequence[str]) -> list[str]:
    """Say what is wrong with the MLflow runs of stages: lost, doubled, or not finished.

    Args:
        directory: The working directory of the command.
        stages: Run directories below `runs`.
    """
    wrong = []
    runs = tracked_runs(directory / "runs" / "mlflow.db") if stages else []
    for stage in stages:
        record = json.loads((directory / "runs" / stage / "run.json").read_text())
        mine = [r for r in runs if r["tags"].get("run_id") == record["run_id"]]
        if [r["id"] for r in mine] != [record["mlflow_run_id"]]:
            wrong.append(f"{stage}: {len(mine)} MLflow runs, {record['mlflow_run_id']} expected")
        elif mine[0]["status"] != "FINISHED":
            wrong.append(f"{stage}: its MLflow run says {mine[0]['status']}")
        elif not mine[0]["params"] or not mine[0]["metrics"]:
            wrong.append(f"{stage}: its MLflow run is empty")
    return wrong


def tracked_runs(database: Path) -> list[dict]:
    """Read the runs of a sqlite store: id, status, tags, parameters, points of metrics."""
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        runs = []
        for run_id, status in db.execute("select run_uuid, status from runs").fetchall():
            tags, params, metrics = (
                db.execute(f"select {columns} from {table} where run_uuid = ?", (run_id,))
                for columns, table in (
                    ("key, value", "tags"),
                    ("key, value", "params"),
                    ("key, step, value, is_nan", "metrics"),
                )
            )
            runs.append(
                {
                    "id": run_id,
                    "status": status,
                    "tags": dict(tags.fetchall()),
                    "params": dict(params.fetchall()),
                    "metrics": sorted(map(list, metrics.fetchall())),
                }
            )
    return runs


def synced(directory: Path) -> list[str]:
    """Say what is wrong with copies on a server: each run once, whole."""
    wrong = []
    there = tracked_runs(directory / "server" / "mlflow.db")
    for run in tracked_runs(directory / "runs" / "mlflow.db"):
        if run["tags"].get("experiment") != "tiny":  # not that of the recipe
            continue
        copies = [c for c in there if c["tags"].get("slams.synced_from") == run["id"]]
        name = run["tags"].get("mlflow.runName", run["id"])
        if len(copies) != 1:
            wrong.append(f"{name}: {len(copies)} copies")
            continue
        for part in ("status", "params", "metrics"):
            if copies[0][part] != run[part]:
                wrong.append(f"{name}: its copy has other {part}")
    return wrong
