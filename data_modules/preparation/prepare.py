"""Preparation: source -> training store with the statistics of the training period.

Blocks of time are read, checked, regridded and written, then summed for the statistics, by
threads, processes or jobs (`schedulers`) within a stated memory (`memory_budget`). Everything is
written to `<store>.partial`, which is renamed once it is complete: an interrupted preparation is
never mistaken for a finished one, and the same command resumes from the finished files
(`manifest`). A store is extended if its recipe requests later days (`extension`).
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

from data_modules.preparation.block_task import BlockWork
from data_modules.preparation.existing import check_replaceable, keep, old_path, take_place
from data_modules.preparation.extension import check_extension
from data_modules.preparation.gaps import missing_days
from data_modules.preparation.imagery import describe_imagery
from data_modules.preparation.in_situ.survey import describe_stations
from data_modules.preparation.job import Job
from data_modules.preparation.memory_budget import (
    Budget,
    blocks,
    budget,
    plan_memory,
    report_memory,
)
from data_modules.preparation.observations import draw_observations
from data_modules.preparation.plan import Plan, plan
from data_modules.preparation.schedulers import Executor, in_order, scheduler
from data_modules.preparation.statistics import TrainingDays, statistics
from data_modules.preparation.survey import survey
from data_modules.preparation.unfinished import begin, check_ours, is_finished, tidy
from data_modules.store.checks import put_attributes
from data_modules.store.manifest import read_records, write_manifest
from data_modules.store.reserved import add_reserved, reserved_days
from data_modules.store.training_store import STORE_VERSION, Statistics, TrainingStore
from data_modules.store.writing import (
    canonical_json,
    content_digest,
    fingerprint,
    write_statistics,
)
from slams.calendar.steps import STEP_ATTRIBUTE
from slams.config.schema import DataConfig, ObservationsConfig
from slams.errors import UserError
from slams.runtime import directories
from slams.runtime.atomic import remove_store
from slams.runtime.failures import FULL, refused_write
from slams.runtime.ranks import say

__all__ = ["UnfinishedError", "describe", "prepare"]

_Result = TypeVar("_Result")
# Interval at which a long preparation reports its progress (s).
_REPORT_SECONDS = 60


class UnfinishedError(UserError):
    """A preparation ended early; its finished files are kept."""


def describe(data: DataConfig, observations: ObservationsConfig) -> str:
    """Describe what a preparation would write, and its memory, without writing anything.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.

    Raises:
        UserError: The recipe cannot be prepared.
    """
    work = plan(data)
    lines = [work.describe(), *survey(work.parts, work.step)]
    lines += [_budget(data, work).text, report_memory(observations)]
    stations, satellite = observations.stations, observations.satellite
    if "stations" in observations.use and stations.source.kind:
        lines.append(describe_stations(stations, work.time))
    if "satellite" in observations.use and satellite.source.kind:
        lines.append(describe_imagery(satellite, work.grid, work.time, work.steps))
    return "\n".join(line for line in lines if line)


def prepare(
    data: DataConfig,
    observations: ObservationsConfig,
    seed: int,
    *,
    resume: str = "auto",
    reads: Mapping[str, str] | None = None,
) -> Path:
    """Write the training store of a recipe, or the part of it that is missing.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`; drawn into the store if `source` is
            `store`.
        seed: The experiment's seed, by which observations are drawn.
        resume: How to treat an existing store: `auto` keeps or extends it if it is of this
            recipe, `never` refuses it, `overwrite` replaces it.
        reads: Further paths that the recipe reads from, by key: none of them is overwritten.

    Returns:
        Path of the complete store. A complete store of the same recipe is kept as it is.

    Raises:
        UserError: The recipe cannot be prepared, a different store exists at the path, the source
            has values that are not allowed, the memory is too small, the disk is full, or a file
            would be larger than this process may write.
    """
    job = Job(data, observations, seed, resume)
    path, partial = job.path, job.partial
    if keep(job):
        say(f"training store {path} is complete and matches this recipe: kept")
        return path
    check_replaceable(job, reads or {})
    for beside in (partial, old_path(path)):
        check_ours(beside)
    work = plan(data)
    survey(work.parts, work.step)
    # Checked before anything is changed, so that finished files of an earlier attempt are kept.
    found = _budget(data, work)
    made = directories.make(path.parent)
    lock = directories.lock(path, lambda: "another preparation")
    try:
        if keep(job):  # the process that held the lock has just finished it
            return path
        old = None
        if path.exists() and resume != "overwrite":
            old = TrainingStore.open(path)
            check_extension(work, old)
            if len(old.time) == len(work.time):
                add_reserved(old, data.splits)
                say(f"the source has no later days than training store {path}: kept")
                return path
        if not is_finished(job, work):
            _write(job, work, old, found)
        take_place(partial, path)
    except UnfinishedError:
        raise
    except UserError:
        remove_store(partial)
        raise
    except Exception as error:
        refused = refused_write(error)
        if refused is None:
            raise
        remove_store(partial)
        free = f"free about {_bytes(work) / 1e6:.0f} MB"
        remedy = free if refused == FULL else "raise the limit (`ulimit -f`)"
        raise UserError(
            f"data.store: {refused} while writing {path}; the unfinished store is removed, "
            f"{remedy} or choose another path"
        ) from error
    finally:
        directories.unlock(lock)
        directories.remove_created(made)
    return path


def _budget(data: DataConfig, work: Plan) -> Budget:
    return budget(data.prepare, plan_memory(work, data.harmonics, data.lags))


def _write(job: Job, work: Plan, old: TrainingStore | None, found: Budget) -> None:
    """Write the store, resuming an unfinished one."""
    partial = job.partial
    lines = [*work.describe_periods(), found.text, report_memory(job.observations)]
    say("\n".join(line for line in lines if line))
    group = begin(job, work, old)
    with ExitStack() as stack:
        try:
            pool = stack.enter_context(
                scheduler(job.data.prepare, found.workers, partial / "logs")
            )
            _write_fields(job, work, found, pool)
        except UserError as error:
            done = len(read_records(partial))
            if not done:
                raise
            raise UnfinishedError(
                f"{error}; {done} finished files of fields are kept in {partial}, the same "
                f"command resumes from them"
            ) from error
        if work.statistics_from is None:
            write_statistics(group, _statistics(job, work, found, pool))
            days = work.train.dates if work.train else []
        else:
            write_statistics(group, work.statistics_from.statistics)
            days = list(work.statistics_from.attributes["statistics_days"])
    if job.observations.source == "store":
        draw_observations(job, work, group)
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
        "statistics_from": job.data.statistics_from,
        "statistics_fingerprint": work.statistics_from.fingerprint if work.statistics_from else "",
        "statistics_days": days,
        "recipe": canonical_json(job.recipe),
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
    reserved = reserved_days(job.data.splits, old)
    if reserved:
        attributes["reserved_days"] = reserved
    if work.step != 1:
        attributes[STEP_ATTRIBUTE] = round(24 * work.step)
    without = missing_days(work.time, work.step)
    if without:
        attributes["missing_days"] = without
    cleared = sum(record.cleared for record in records.values())
    if cleared:
        attributes["negative_values_set_to_zero"] = cleared
        say(f"{cleared} negative values of humidity, noise of the source, stored as zero")
    if old is not None:
        attributes["extended"] = [
            *old.attributes.get("extended", []),
            {"steps": len(old.time), "fingerprint": old.fingerprint},
        ]
    # Atomically: the store is complete with all its attributes, or not complete.
    attributes["status"] = "complete"
    put_attributes(group, attributes)
    tidy(partial)


def _write_fields(job: Job, work: Plan, found: Budget, pool: Executor) -> None:
    """Write every block of fields that is not finished, reporting the progress."""
    task = BlockWork(job.data, job.partial, found.read_steps)
    task.open(work)
    started = reported = time.monotonic()
    for stop, _ in _in_blocks(job, found, pool, task, len(work.time)):
        now = time.monotonic()
        if now - reported > _REPORT_SECONDS:
            reported, share = now, stop / len(work.time)
            left = (now - started) * (1 - share) / share
            say(f"{stop} of {len(work.time)} steps, about {left / 60:.0f} min left")


def _statistics(job: Job, work: Plan, found: Budget, pool: Executor) -> Statistics:
    """Compute the statistics from the fields that were written."""
    assert work.train is not None
    every = tuple(range(len(work.channels)))
    days = TrainingDays(
        TrainingStore(job.partial, work.channels, every, work.time, work.grid, {}),
        np.flatnonzero(work.train.contains(work.time)),
        job.data.harmonics,
        tuple(job.data.lags),
        tuple(i for i, channel in enumerate(work.channels) if channel.name in work.gaps),
        work.step,
    )
    weights = work.grid.weights.numpy().repeat(work.grid.shape[1])
    return statistics(
        days,
        lambda task: (sums for _, sums in _in_blocks(job, found, pool, task, len(days.steps))),
        job.data.sd_floor,
        weights,
    )


def _in_blocks(
    job: Job, found: Budget, pool: Executor, task: Callable[[int, int], _Result], steps: int
) -> Iterator[tuple[int, _Result]]:
    """Run a task on every block of steps; yield its end and the result in order of time."""
    waiting = found.workers * (1 if job.data.prepare.scheduler == "threads" else 2)
    parts = blocks(steps)
    for (_, stop), result in zip(parts, in_order(pool, task, parts, waiting), strict=True):
        yield stop, result


def _bytes(work: Plan) -> int:
    return len(work.time) * len(work.channels) * work.grid.shape[0] * work.grid.shape[1] * 4
