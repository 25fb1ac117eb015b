"""Preparation: source -> training store with the statistics of the training period.

Blocks of time are read, checked, regridded and written by dask's threads; sums are added in the
order of time. Everything goes into `<store>.partial`, which takes the store's name once it is
complete: a preparation that was cut short never passes for a finished one.
"""

from __future__ import annotations

import errno
import json
import logging
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numpy as np
import zarr

from data_modules.blocks import channel_units
from data_modules.drawing import draw_observations
from data_modules.plan import Plan, plan
from data_modules.recipe import difference, store_recipe
from data_modules.statistics import AnomalySums, HarmonicSums, StatisticsArrays, finish
from data_modules.store_checks import open_group
from data_modules.stores import SHARD_STEPS, STORE_VERSION, TrainingStore
from data_modules.writing import (
    canonical_json,
    content_digest,
    create_steps,
    digest,
    fingerprint,
    write_coordinates,
    write_elevation,
    write_statistics,
)
from slams import directories
from slams.errors import UserError
from slams.schema import Config

__all__ = ["Plan", "plan", "prepare", "verify"]

_LOG = logging.getLogger(__name__)
# Working memory of one block (bytes as float64) and blocks in flight at a time.
_BLOCK_BYTES = 64e6
_IN_FLIGHT = 16


def prepare(config: Config) -> Path:
    """Writes the training store of a recipe.

    Returns:
        Path of the complete store. A complete store of the same recipe is kept as it is.

    Raises:
        UserError: The recipe cannot be prepared, another store is in the way, the source holds
            values that are not allowed, or the disk is full.
    """
    path = Path(config.data.store)
    partial = path.with_name(path.name + ".partial")
    if _keep(config, path):
        _LOG.info("training store %s is complete and of this recipe: kept", path)
        return path
    _check_replaceable(config, path)
    work = plan(config)
    made = directories.make(path.parent)
    lock = directories.lock(path, lambda: "another preparation")
    try:
        if _keep(config, path):  # whoever held the lock has just finished
            return path
        if partial.exists():
            _LOG.info("an unfinished preparation of %s is removed and started over", path)
            shutil.rmtree(partial)
        _write(config, work, partial)
        _take_place(partial, path)
    except UserError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    except Exception as error:
        if not _disk_full(error):
            raise
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            f"data.store: no space left on the device while writing {path}; what was written is "
            f"removed, free about {_bytes(work) / 1e6:.0f} MB or choose another place"
        ) from error
    finally:
        directories.unlock(lock)
        directories.unmake(made)
    return path


def verify(path: str | Path) -> None:
    """Reads a whole store again and compares its content with its fingerprint.

    Raises:
        UserError: The store cannot be read, or its content has changed.
    """
    store = TrainingStore.open(path)
    digests = []
    for start in range(0, len(store.time), SHARD_STEPS):
        digests.append(digest(store.read(slice(start, start + SHARD_STEPS))))
    attributes = store.attributes
    found = fingerprint(
        digests, attributes["content"], attributes["recipe"], attributes["channels"]
    )
    if found != store.fingerprint:
        raise UserError(
            f"training store {path}: its fields have changed since it was prepared (fingerprint "
            f"{found[:12]}, expected {store.fingerprint[:12]}); run `slams prepare` with "
            f"resume=overwrite"
        )


def _keep(config: Config, path: Path) -> bool:
    """Decides whether a store that is there stays.

    Raises:
        UserError: It is in the way.
    """
    if not path.exists() or config.resume == "overwrite":
        return False
    if config.resume == "never":
        raise UserError(f"data.store: {path} exists and resume=never; remove it or change the key")
    store = TrainingStore.open(path)
    found = json.loads(store.attributes["recipe"])
    changed = difference(found, json.loads(canonical_json(store_recipe(config))))
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
    return True


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
        "data.statistics_from": data.statistics_from,
        "background.path": config.background.path,
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


def _write(config: Config, work: Plan, partial: Path) -> None:
    recipe = store_recipe(config)
    group = zarr.create_group(str(partial))
    group.attrs.update({"slams_store": STORE_VERSION, "status": "preparing"})
    write_coordinates(group, work.time, work.grid)
    if (terrain := work.terrain) is not None:
        write_elevation(group, terrain)
    harmonics = config.data.harmonics
    digests, sums = _write_fields(config, work, group, harmonics)
    if work.statistics_from is None:
        statistics = _statistics(config, work, group, sums)
        days = work.train.dates if work.train else []
    else:
        statistics = _copied(work.statistics_from)
        days = list(work.statistics_from.attributes["statistics_days"])
    write_statistics(group, statistics, work.grid)
    if config.observations.source == "store":
        draw_observations(config, work.channels, work.grid, work.time, group)
    attributes = {
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
        "recipe": canonical_json(recipe),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "xarray", "zarr", "dask")},
        },
        "content": content_digest(group),
    }
    attributes["fingerprint"] = fingerprint(
        digests, attributes["content"], attributes["recipe"], attributes["channels"]
    )
    group.attrs.update(attributes)
    group.attrs["status"] = "complete"


def _write_fields(
    config: Config, work: Plan, group: zarr.Group, harmonics: int
) -> tuple[list[str], HarmonicSums | None]:
    """Reads, checks, regrids and writes the fields; gives digests and the climatology's sums."""
    shape = (len(work.time), len(work.channels), *work.grid.shape)
    fields = create_steps(group, "fields", shape, ("time", "channel", "latitude", "longitude"))

    def one(start: int, stop: int) -> tuple[list[str], HarmonicSums | None]:
        time = work.time[start:stop]
        train = np.zeros(len(time), bool) if work.train is None else work.train.contains(time)
        values = work.read(start, stop).astype(np.float32)
        fields[start:stop] = values
        digests = [digest(values[i : i + SHARD_STEPS]) for i in range(0, len(time), SHARD_STEPS)]
        if not train.any():
            return digests, None
        flat = channel_units(values[train], work.channels)
        return digests, HarmonicSums.of_block(flat, time[train], harmonics)

    digests: list[str] = []
    total: HarmonicSums | None = None
    for block_digests, sums in _in_order(one, _blocks(work)):
        digests += block_digests
        if sums is not None:
            total = sums if total is None else total + sums
    return digests, total


def _statistics(
    config: Config, work: Plan, group: zarr.Group, sums: HarmonicSums | None
) -> StatisticsArrays:
    assert sums is not None
    assert work.train is not None
    coefficients = sums.solve()
    lags = tuple(config.data.lags)
    fields = group["fields"]
    inside = np.flatnonzero(work.train.contains(work.time))
    first, last = int(inside[0]), int(inside[-1]) + 1

    def one(start: int, stop: int) -> AnomalySums | None:
        start, stop = max(start, first), min(stop, last)
        if start >= stop:
            return None
        early = int(np.searchsorted(work.time, work.time[start] - max(lags, default=0) - 1e-3))
        early = max(early, first)
        values = channel_units(np.asarray(fields[early:stop]), work.channels)
        return AnomalySums.of_block(
            values, work.time[early:stop], start - early, coefficients, lags
        )

    total: AnomalySums | None = None
    for part in _in_order(one, _blocks(work)):
        if part is not None:
            total = part if total is None else total + part
    assert total is not None
    weights = work.grid.weights.numpy().repeat(work.grid.shape[1])
    names = [c.name for c in work.channels]
    return finish(coefficients, total, lags, config.data.sd_floor, weights, names)


def _copied(store: TrainingStore) -> StatisticsArrays:
    found = store.statistics
    return StatisticsArrays(
        found.harmonics.numpy(),
        found.sd.numpy(),
        np.asarray(found.lags, dtype=np.int64),
        found.persistence.numpy(),
        found.persistence_variance.numpy(),
    )


def _blocks(work: Plan) -> list[tuple[int, int]]:
    """Cuts the time axis into blocks of whole shards."""
    shard = SHARD_STEPS * work.values_a_step * 8
    steps = SHARD_STEPS * max(1, int(_BLOCK_BYTES // shard))
    return [(i, min(i + steps, len(work.time))) for i in range(0, len(work.time), steps)]


def _in_order(function: Callable[[int, int], Any], blocks: Sequence[tuple[int, int]]) -> Iterator:
    """Runs a function on blocks with dask's threads; yields results in the order of time."""
    for group in range(0, len(blocks), _IN_FLIGHT):
        tasks = [dask.delayed(function)(*b) for b in blocks[group : group + _IN_FLIGHT]]
        yield from dask.compute(*tasks, scheduler="threads")


def _disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _bytes(work: Plan) -> int:
    return len(work.time) * len(work.channels) * work.grid.shape[0] * work.grid.shape[1] * 4
