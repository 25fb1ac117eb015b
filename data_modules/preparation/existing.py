"""An existing store at the path of a preparation: whether to keep, extend or replace it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any

from data_modules.preparation.extension import extends
from data_modules.preparation.job import Job
from data_modules.store.checks import open_group
from data_modules.store.identity import store_difference
from data_modules.store.reserved import add_reserved
from data_modules.store.training_store import TrainingStore
from data_modules.store.writing import canonical_json
from slams.errors import UserError

__all__ = ["attributes_of", "check_replaceable", "keep", "old_path", "take_place"]


def keep(job: Job) -> bool:
    """Return whether an existing store is kept as it is.

    Raises:
        UserError: The store may be neither kept, extended nor replaced.
    """
    path = job.path
    if not path.exists() or job.resume == "overwrite":
        return False
    if job.resume == "never":
        raise UserError(f"data.store: {path} exists and resume=never; remove it or change the key")
    store = TrainingStore.open(path)
    found = json.loads(store.attributes["recipe"])
    changed = store_difference(
        found,
        json.loads(canonical_json(job.recipe)),
    )
    if changed:
        raise UserError(
            f"data.store: {path} was prepared from another recipe ({changed}); choose another "
            f"data.store, or set resume=overwrite to write it again"
        )
    if job.data.statistics_from:
        other = TrainingStore.open(job.data.statistics_from)
        if store.attributes.get("statistics_fingerprint") != other.fingerprint:
            raise UserError(
                f"data.statistics_from: {other.path} has changed since its statistics were copied "
                f"to {path}; set resume=overwrite to prepare {path} again"
            )
    if extends(job.data.period, store):
        return False
    add_reserved(store, job.data.splits)
    return True


def check_replaceable(job: Job, reads: Mapping[str, str]) -> None:
    """Refuse to replace anything but an earlier store.

    Args:
        job: The preparation.
        reads: Further paths that the recipe reads from, by key.

    Raises:
        UserError: The path is not a training store, or the recipe reads from it.
    """
    path, data = job.path, job.data
    if not path.exists():
        return
    read = {
        **{f"{key}.path": source.path for key, source in data.inputs},
        **{f"{key}.grid": source.grid for key, source in data.inputs},
        **{
            f"{key}.files.{number}": file
            for key, source in data.inputs
            for number, file in enumerate(source.files)
        },
        "data.statistics_from": data.statistics_from,
        **reads,
        "observations.stations.source.path": job.observations.stations.source.path,
    }
    # A pattern may match the store itself.
    named = [(key, one) for key, name in read.items() if name for one in (name, *glob(name))]
    for key, name in named:
        if path.resolve() in (Path(name).resolve(), *Path(name).resolve().parents):
            raise UserError(
                f"data.store: {path} would be overwritten, but {key} reads from it; choose "
                f"another data.store"
            )
    if path.is_dir() and not any(path.iterdir()):
        return
    if "slams_store" not in attributes_of(path):
        raise UserError(
            f"data.store: {path} is not a training store and is not overwritten; move it away or "
            f"choose another data.store"
        )


def attributes_of(path: Path) -> dict[str, Any]:
    """Return the attributes of a store, which may be unfinished; empty if there is none."""
    try:
        return dict(open_group(path).attrs)
    except UserError:
        return {}


def old_path(path: Path) -> Path:
    """Return the path to which a store is moved while another replaces it."""
    return path.with_name(path.name + ".old")


def take_place(partial: Path, path: Path) -> None:
    """Move the finished store to its path; an old one there is removed last."""
    old = old_path(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    partial.rename(path)
    shutil.rmtree(old, ignore_errors=True)
