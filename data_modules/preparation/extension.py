"""Extending a complete store by later days, without rewriting what it holds.

The longer store is prepared beside the old one and takes its name when it is complete, as any
other; but the files of fields that are full are the old ones, linked and not copied, and their
records are those of the old manifest. Only the last file, where it is not full, is written again.
Statistics are those of the training period, which the new days must not enter, so that the result
is the store that the longer recipe would have given at once: same values, same fingerprint.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_modules.preparation.plan import Plan
from data_modules.store.checks import open_group, shard_file
from data_modules.store.manifest import read_manifest, write_record
from data_modules.store.training_store import TrainingStore, iso_date
from slams.calendar.days import day_number
from slams.config.splits import day_range
from slams.errors import UserError

__all__ = ["check_extension", "extends", "take_over"]

_CHOICE = "choose another data.store, or resume=overwrite to write it again"


def extends(period: Sequence[str], store: TrainingStore) -> bool:
    """Return whether a period goes on after the days of a complete store.

    Args:
        period: First and last day (ISO dates) as in `data.period`; empty for all there are.
        store: The complete store.

    Raises:
        UserError: The store holds days that the recipe leaves out.
    """
    found = day_range("data.period", period)
    if found is None:
        return False
    first, last = (day_number(day) for day in found)
    if store.time[0] < first or store.time[-1] >= last + 1:
        raise UserError(
            f"data.period: {store.path} holds {iso_date(store.time[0])} to "
            f"{iso_date(store.time[-1])}, more than {found[0]} to {found[1]}; {_CHOICE}"
        )
    return bool(last > np.floor(store.time[-1]))


def check_extension(work: Plan, old: TrainingStore) -> None:
    """Refuse a plan that is not the old store and days after it.

    Raises:
        UserError: The first days differ, or later days belong to the training period.
    """
    count = len(old.time)
    if len(work.time) < count or not np.array_equal(work.time[:count], old.time):
        raise UserError(
            f"data.period: {old.path} holds {iso_date(old.time[0])} to {iso_date(old.time[-1])}, "
            f"but the source now begins with {iso_date(work.time[0])} or lacks days in between; "
            f"only later days can be added, {_CHOICE}"
        )
    if work.grid.fingerprint != old.grid.fingerprint:
        raise UserError(f"{work.parts[0].key}.grid: the grid of {old.path} is another; {_CHOICE}")
    if work.train is not None and work.train.contains(work.time[count:]).any():
        raise UserError(
            f"data.period: days after {iso_date(old.time[-1])} belong to data.splits.train "
            f"({work.train}) and would change the statistics of {old.path}; {_CHOICE}"
        )


def take_over(old: TrainingStore, partial: Path) -> None:
    """Return an unfinished store the files of fields of a shorter one that are full.

    Args:
        old: The complete store.
        partial: The unfinished one, with its arrays created.

    Raises:
        UserError: The old store has no manifest.
    """
    fields = open_group(partial)["fields"]
    steps = fields.shards[0]
    for record in read_manifest(old.path).records[: len(old.time) // steps]:
        name = shard_file(fields, record.shard * steps)
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(old.path / name, target)
        except OSError:  # a file system without hard links
            shutil.copyfile(old.path / name, target)
        write_record(partial, record)
