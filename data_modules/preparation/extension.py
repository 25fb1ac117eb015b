"""Extending a complete store by later days, without rewriting its full files.

The longer store is prepared next to the old one and replaces it when it is complete, like any
other; but full files of fields are hard links to the old ones, and their records are copied from
the old manifest. Only the last file, where it is not full, is written again. Statistics are those
of the training period, to which the new days may not belong, so the result is the store that the
longer recipe would have produced at once: same values, same fingerprint.
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

_CHOICE = "choose another data.store, or set resume=overwrite to write it again"


def extends(period: Sequence[str], store: TrainingStore) -> bool:
    """Return whether a period continues after the days of a complete store.

    Args:
        period: First and last day (ISO dates) as in `data.period`; empty for all days.
        store: The complete store.

    Raises:
        UserError: The store has days outside the period.
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
    """Refuse a plan that is not the old store plus later days.

    Raises:
        UserError: The first days differ, or later days belong to the training period.
    """
    count = len(old.time)
    if len(work.time) < count or not np.array_equal(work.time[:count], old.time):
        raise UserError(
            f"data.period: {old.path} holds {iso_date(old.time[0])} to {iso_date(old.time[-1])}, "
            f"but the source now begins on {iso_date(work.time[0])} or lacks days in between; "
            f"only later days can be added, {_CHOICE}"
        )
    if work.grid.fingerprint != old.grid.fingerprint:
        raise UserError(f"{work.parts[0].key}.grid: {old.path} has a different grid; {_CHOICE}")
    if work.train is not None and work.train.contains(work.time[count:]).any():
        raise UserError(
            f"data.period: days after {iso_date(old.time[-1])} belong to data.splits.train "
            f"({work.train}) and would change the statistics of {old.path}; {_CHOICE}"
        )


def take_over(old: TrainingStore, partial: Path) -> None:
    """Link the full files of fields of a shorter store into an unfinished one.

    Args:
        old: The complete store.
        partial: Directory of the unfinished store, with its arrays created.

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
