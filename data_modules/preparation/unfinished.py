"""An unfinished store: beginning, resuming after an interruption, and removing leftovers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import zarr

from data_modules.preparation.existing import attributes_of
from data_modules.preparation.extension import take_over
from data_modules.preparation.job import Job
from data_modules.preparation.plan import Plan
from data_modules.store.manifest import clear_records, read_records
from data_modules.store.training_store import STORE_VERSION, TrainingStore
from data_modules.store.writing import (
    canonical_json,
    create_steps,
    digest_days,
    write_coordinates,
    write_elevation,
)
from slams.errors import UserError
from slams.runtime.ranks import say

__all__ = ["begin", "check_ours", "is_finished", "tidy"]

# Entries that an unfinished store keeps on resuming; the others are quickly made again.
_KEPT = (
    "zarr.json",
    "fields",
    "time",
    "latitude",
    "longitude",
    "surface_elevation",
)


def begin(job: Job, work: Plan, old: TrainingStore | None) -> zarr.Group:
    """Open the unfinished store of this preparation, or create it."""
    partial, intention = job.partial, _intention(job, work, old)
    if partial.exists():
        if attributes_of(partial).get("preparing") == intention and job.resume != "overwrite":
            done = len(read_records(partial))
            say(f"resuming an unfinished preparation with {done} finished files of fields")
            for entry in partial.iterdir():
                if entry.name not in _KEPT:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            for entry in partial.rglob("*.partial"):  # what Zarr was writing when it was killed
                entry.unlink()
            return zarr.open_group(str(partial), mode="r+", zarr_format=3, use_consolidated=False)
        say("an unfinished preparation of a different store is removed, starting over")
        shutil.rmtree(partial)
    # The mark is written first, so that the directory is recognised after a kill at any time.
    mark = {"slams_store": STORE_VERSION, "status": "begun"}
    group = zarr.create_group(str(partial), attributes=mark)
    write_coordinates(group, work.time, work.grid)
    if (terrain := work.terrain) is not None:
        write_elevation(group, terrain)
    shape = (len(work.time), len(work.channels), *work.grid.shape)
    create_steps(group, "fields", shape, ("time", "channel", "latitude", "longitude"))
    if old is not None:
        take_over(old, partial)
    # Written last: a store whose process was killed before this is not resumed.
    group.attrs.put({"slams_store": STORE_VERSION, "status": "preparing", "preparing": intention})
    return group


def check_ours(directory: Path, key: str = "data.store") -> None:
    """Refuse to remove or resume a directory that no preparation has made.

    Args:
        directory: Path of an unfinished or replaced store, which need not exist.
        key: Key of the recipe from which the path is derived, for the message.

    Raises:
        UserError: The path exists and no preparation has made it.
    """
    if not directory.exists():
        return
    if directory.is_dir():
        # A preparation that was killed at its first file leaves Zarr's temporary file, or nothing.
        begun = all(p.name.startswith("zarr.json.") for p in directory.iterdir())
        if begun or "slams_store" in attributes_of(directory):
            return
    raise UserError(
        f"{key}: {directory} exists, was not made by a preparation and is left unchanged; move it "
        f"away or choose another {key}"
    )


def is_finished(job: Job, work: Plan) -> bool:
    """Return whether the partial store is complete: its process was killed before the renaming."""
    partial = job.partial
    if not partial.exists() or job.resume == "overwrite":
        return False
    attributes = attributes_of(partial)
    if attributes.get("status") != "complete":
        return False
    tidy(partial)
    store = TrainingStore.open(partial)
    same = attributes["recipe"] == canonical_json(job.recipe)
    return same and np.array_equal(store.time, work.time)


def tidy(partial: Path) -> None:
    """Remove the files that only a preparation needs."""
    clear_records(partial)
    shutil.rmtree(partial / "logs", ignore_errors=True)


def _intention(job: Job, work: Plan, old: TrainingStore | None) -> str:
    """Return a text that identifies the result: equal preparations may resume one another."""
    return canonical_json(
        {
            "recipe": job.recipe,
            "time": digest_days(work.time),
            "grid": work.grid.fingerprint,
            "statistics": work.statistics_from.fingerprint if work.statistics_from else "",
            "extends": old.fingerprint if old else "",
        }
    )
