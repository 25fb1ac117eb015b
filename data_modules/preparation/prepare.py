"""Preparation: source -> training store with the statistics of the training period.

Blocks of time are read, checked, regridded, written and added up by threads, processes or jobs
(`schedulers`) within a stated memory (`budget`). Everything goes into `<store>.partial`, which
takes the store's name once it is complete: a preparation that was cut short never passes for a
finished one, and the same command goes on from the files that are finished (`manifest`). A store
whose recipe asks for later days is extended (`extension`).
"""

from __future__ import annotations

import errno
import json
import platform
import shutil
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import zarr

from data_modules.preparation.block_task import FIRST_GUESS, BlockWork, first_guess
from data_modules.preparation.extension import check_extension, extends, take_over
from data_modules.preparation.memory_budget import Budget, blocks, budget, needs
from data_modules.preparation.moments import Moments
from data_modules.preparation.observations import draw_observations
from data_modules.preparation.plan import Plan, plan
from data_modules.preparation.schedulers import in_order, scheduler
from data_modules.preparation.statistics import StatisticsArrays, statistics
from data_modules.store.checks import open_group
from data_modules.store.identity import store_difference, store_recipe
from data_modules.store.manifest import clear_records, read_records, verify, write_manifest
from data_modules.store.training_store import STORE_VERSION, TrainingStore
from data_modules.store.writing import (
    canonical_json,
    content_digest,
    create_steps,
    digest_days,
    fingerprint,
    write_coordinates,
    write_elevation,
    write_statistics,
)
from slams.config.schema import Config
from slams.errors import UserError
from slams.runtime import directories
from slams.runtime.atomic import remove_store
from slams.runtime.ranks import say

__all__ = ["Plan", "UnfinishedError", "describe", "plan", "prepare", "verify"]

# How often a long preparation says how far it is (s).
_SAY_SECONDS = 60

# What an unfinished store keeps when its preparation goes on; the rest is quickly made again.
_KEPT = ("zarr.json", "fields", "time", "latitude", "longitude", "surface_elevation", FIRST_GUESS)


class UnfinishedError(UserError):
    """Says why a preparation ended early; what it has finished is kept."""


def describe(config: Config) -> str:
    """Says what a preparation would write, and in how much memory, without writing anything.

    Raises:
        UserError: The recipe cannot be prepared.
    """
    work = plan(config)
    return f"{work.describe()}\n{budget(config, needs(config, work)).text}"


def prepare(config: Config) -> Path:
    """Writes the training store of a recipe, or what of it is missing.

    Returns:
        Path of the complete store. A complete store of the same recipe is kept as it is.

    Raises:
        UserError: The recipe cannot be prepared, another store is in the way, the source holds
            values that are not allowed, the memory is too little, or the disk is full.
    """
    path = Path(config.data.store)
    partial = path.with_name(path.name + ".partial")
    if _keep(config, path):
        say(f"training store {path} is complete and of this recipe: kept")
        return path
    _check_replaceable(config, path)
    work = plan(config)
    # Refused before anything is touched: what an earlier attempt has finished stays.
    found = budget(config, needs(config, work))
    made = directories.make(path.parent)
    lock = directories.lock(path, lambda: "another preparation")
    try:
        if _keep(config, path):  # whoever held the lock has just finished
            return path
        old = None
        if path.exists() and config.resume != "overwrite":
            old = TrainingStore.open(path)
            check_extension(config, work, old)
            if len(old.time) == len(work.time):
                say(f"the source has no later days than training store {path}: kept")
                return path
        if not _finished(config, work, partial, old):
            _write(config, work, partial, old, found)
        _take_place(partial, path)
    except UnfinishedError:
        raise
    except UserError:
        remove_store(partial)
        raise
    except Exception as error:
        if not _disk_full(error):
            raise
        remove_store(partial)
        raise UserError(
            f"data.store: no space left on the device while writing {path}; what was written is "
            f"removed, free about {_bytes(work) / 1e6:.0f} MB or choose another place"
        ) from error
    finally:
        directories.unlock(lock)
        directories.unmake(made)
    return path


def _keep(config: Config, path: Path) -> bool:
    """Decides whether a store that is there stays as it is.

    Raises:
        UserError: It is in the way.
    """
    if not path.exists() or config.resume == "overwrite":
        return False
    if config.resume == "never":
        raise UserError(f"data.store: {path} exists and resume=never; remove it or change the key")
    store = TrainingStore.open(path)
    found = json.loads(store.attributes["recipe"])
    changed = store_difference(found, json.loads(canonical_json(store_recipe(config))))
    if changed:
        raise UserError(
            f"data.store: {path} was prepared from another recipe ({changed}); choose another "
            f"data.store, or resume=overwrite to write it again"
        )
    if config.data.statistics_from:
        other = TrainingStore.open(config.data.statistics_from)
        if store.attributes.get("statistics_fingerprint") != other.fingerprint:
            raise UserError(
                f"data.statistics_from: {other.path} has changed since {path} took its "
                f"statistics; resume=overwrite to prepare {path} again"
            )
    return not extends(config, store)


def _check_replaceable(config: Config, path: Path) -> None:
    """Refuses to put the store in the place of anything but an earlier store.

    Raises:
        UserError: What is there is no training store, or the recipe reads from it.
    """
    if not path.exists():
        return
    data = config.data
    read = {
        **{f"{key}.path": source.path for key, source in data.inputs},
        **{f"{key}.grid": source.grid for key, source in data.inputs},
        **{
            f"{key}.files.{number}": file
            for key, source in data.inputs
            for number, file in enumerate(source.files)
        },
        "data.statistics_from": data.statistics_from,
        "background.path": config.background.path,
        "observations.stations.source.path": config.observations.stations.source.path,
    }
    for key, name in read.items():
        if name and path.resolve() in (Path(name).resolve(), *Path(name).resolve().parents):
            raise UserError(
                f"data.store: {path} would be overwritten, but {key} reads from it; choose "
                f"another data.store"
            )
    if path.is_dir() and not any(path.iterdir()):
        return
    try:
        foreign = "slams_store" not in open_group(path).attrs
    except UserError:
        foreign = True
    if foreign:
        raise UserError(
            f"data.store: {path} is not a training store and is not overwritten; move it away or "
            f"choose another data.store"
        )


def _take_place(partial: Path, path: Path) -> None:
    """Renames the finished store; an old one in its place goes last."""
    old = path.with_name(path.name + ".old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    partial.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _write(
    config: Config, work: Plan, partial: Path, old: TrainingStore | None, found: Budget
) -> None:
    """Writes the store, going on from what there is of it."""
    say(found.text)
    group = _begin(config, work, partial, old)
    try:
        total = _work_through(config, work, partial, found)
    except UserError as error:
        done = len(read_records(partial))
        if not done:
            raise
        raise UnfinishedError(
            f"{error}; {done} finished files of fields are kept in {partial}, the same command "
            f"goes on from them"
        ) from error
    if work.statistics_from is None:
        assert total is not None
        weights = work.grid.weights.numpy().repeat(work.grid.shape[1])
        arrays = statistics(total, config.data.sd_floor, weights)
        days = work.train.dates if work.train else []
    else:
        arrays = _copied(work.statistics_from)
        days = list(work.statistics_from.attributes["statistics_days"])
    del total
    write_statistics(group, arrays, work.grid)
    if config.observations.source == "store":
        draw_observations(config, work.channels, work.grid, work.time, group)
    records = read_records(partial)
    write_manifest(partial, group, records)
    attributes = {
        "slams_store": STORE_VERSION,
        "channels": [c.name for c in work.channels],
        "units": [c.units for c in work.channels],
        "absent": work.absent,
        "gaps": work.gaps,
        "repairs": work.repairs,
        "source": work.parts[0].record,
        "sources": [part.record for part in work.parts],
        "regridding": work.regridding,
        "statistics_from": config.data.statistics_from,
        "statistics_fingerprint": work.statistics_from.fingerprint if work.statistics_from else "",
        "statistics_days": days,
        "recipe": canonical_json(store_recipe(config)),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "xarray", "zarr", "dask")},
        },
        "content": content_digest(group),
    }
    attributes["fingerprint"] = fingerprint(
        [records[i].sha256 for i in sorted(records)],
        attributes["content"],
        attributes["recipe"],
        attributes["channels"],
    )
    if old is not None:
        attributes["extended"] = [
            *old.attributes.get("extended", []),
            {"steps": len(old.time), "fingerprint": old.fingerprint},
        ]
    # In one piece: the store is complete with all that says what it is, or not at all.
    group.attrs.put({**attributes, "status": "complete"})
    _tidy(partial)


def _work_through(config: Config, work: Plan, partial: Path, found: Budget) -> Moments | None:
    """Has every block worked on; gives the sums over the training days."""
    task = BlockWork(config, partial, found.read_steps)
    task.open(work)
    keys, total = config.data.prepare, None
    waiting = found.workers if keys.scheduler == "threads" else 2 * found.workers
    parts = blocks(len(work.time))
    started = said = time.monotonic()
    with scheduler(keys, found.workers, partial / "logs") as pool:
        for (_, stop), part in zip(parts, in_order(pool, task, parts, waiting), strict=True):
            if part is not None and total is None:
                total = part
            elif part is not None:
                total.merge(part)
            now = time.monotonic()
            if now - said > _SAY_SECONDS:
                said, share = now, stop / len(work.time)
                left = (now - started) * (1 - share) / share
                say(f"{stop} of {len(work.time)} steps, about {left / 60:.0f} min left")
    return total


def _begin(config: Config, work: Plan, partial: Path, old: TrainingStore | None) -> zarr.Group:
    """Opens an unfinished store of this very preparation, or creates it."""
    intention = _intention(config, work, old)
    if partial.exists():
        if _attributes(partial).get("preparing") == intention and config.resume != "overwrite":
            done = len(read_records(partial))
            say(f"an unfinished preparation is continued, {done} files of fields are finished")
            for entry in partial.iterdir():
                if entry.name not in _KEPT:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            for entry in partial.rglob("*.partial"):  # what Zarr was writing when it was killed
                entry.unlink()
            return zarr.open_group(str(partial), mode="r+", use_consolidated=False)
        say("an unfinished preparation of another kind is removed, this one starts over")
        shutil.rmtree(partial)
    group = zarr.create_group(str(partial))
    write_coordinates(group, work.time, work.grid)
    if (terrain := work.terrain) is not None:
        write_elevation(group, terrain)
    shape = (len(work.time), len(work.channels), *work.grid.shape)
    create_steps(group, "fields", shape, ("time", "channel", "latitude", "longitude"))
    if work.train is not None:
        np.save(partial / FIRST_GUESS, first_guess(config, work))
    if old is not None:
        take_over(old, partial)
    # Last: a store that was killed before this is not continued.
    group.attrs.put({"slams_store": STORE_VERSION, "status": "preparing", "preparing": intention})
    return group


def _finished(config: Config, work: Plan, partial: Path, old: TrainingStore | None) -> bool:
    """Finds a store that was complete when its process was killed, before it took its name."""
    if not partial.exists() or config.resume == "overwrite":
        return False
    attributes = _attributes(partial)
    if attributes.get("status") != "complete":
        return False
    _tidy(partial)
    store = TrainingStore.open(partial)
    same = attributes["recipe"] == canonical_json(store_recipe(config))
    return same and np.array_equal(store.time, work.time)


def _tidy(partial: Path) -> None:
    """Removes what only a preparation needs."""
    clear_records(partial)
    (partial / FIRST_GUESS).unlink(missing_ok=True)
    shutil.rmtree(partial / "logs", ignore_errors=True)


def _intention(config: Config, work: Plan, old: TrainingStore | None) -> str:
    """Says what a preparation is going to write: two that agree may finish one another."""
    return canonical_json(
        {
            "recipe": store_recipe(config),
            "time": digest_days(work.time),
            "grid": work.grid.fingerprint,
            "statistics": work.statistics_from.fingerprint if work.statistics_from else "",
            "extends": old.fingerprint if old else "",
        }
    )


def _attributes(store: Path) -> dict:
    try:
        return dict(open_group(store).attrs)
    except UserError:
        return {}


def _copied(store: TrainingStore) -> StatisticsArrays:
    found = store.statistics
    return StatisticsArrays(
        found.harmonics.numpy(),
        found.sd.numpy(),
        np.asarray(found.lags, dtype=np.int64),
        found.persistence.numpy(),
        found.persistence_variance.numpy(),
    )


def _disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _bytes(work: Plan) -> int:
    return len(work.time) * len(work.channels) * work.grid.shape[0] * work.grid.shape[1] * 4
