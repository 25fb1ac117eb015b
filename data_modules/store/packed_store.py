"""Packed copies of training stores: the statistics, and some of the days in few bytes.

A packed copy has the layout of a training store (`training_store`), but its fields are packed
(`packing`), it has no observations, and its days may have gaps. It is opened like any other; its
fields are rounded to 1/32 standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from data_modules.store.checks import PACKED_VERSION, put_attributes
from data_modules.store.manifest import write_manifest
from data_modules.store.packing import STEP, pack
from data_modules.store.periods import find_days
from data_modules.store.training_store import TrainingStore, shard_steps
from data_modules.store.writing import write_coordinates, write_elevation, write_statistics
from slams.calendar.steps import STEP_ATTRIBUTE
from slams.normalisation import Normaliser

__all__ = ["write_packed", "write_states"]

# Days that are packed at a time; limits the memory, not the result.
_BLOCK = 16
# Attributes of the original that the copy keeps.
_KEPT = (
    "absent",
    "gaps",
    "fingerprint",
    "recipe",
    "sources",
    "source",
    "time",
    "repairs",
    "statistics_days",
    "made_by",
    STEP_ATTRIBUTE,
)


def write_packed(
    path: Path,
    store: TrainingStore,
    days: np.ndarray,
    statistics_days: Sequence[str],
    sources: Sequence[TrainingStore] = (),
    origin: TrainingStore | None = None,
) -> None:
    """Write a packed copy of some days of a store.

    Args:
        path: Directory of the copy, which does not exist.
        store: The store; its channels, grid, terrain and statistics are those of the copy.
        days: `(n,)` days since 1970-01-01 00 UTC, increasing; may be empty.
        statistics_days: Days of the statistics, ISO dates in pairs.
        sources: Stores that the days are read from, the first that has a day; by default the
            store itself.
        origin: Store whose identity the copy keeps; by default the store itself.
    """
    normaliser = store.normaliser()

    def packed(chunk: slice) -> np.ndarray:
        some = days[chunk]
        parts = [
            _packed(normaliser, sources or (store,), some[i : i + _BLOCK])
            for i in range(0, len(some), _BLOCK)
        ]
        return np.concatenate(parts)

    attributes = {**(origin or store).attributes, "statistics_days": list(statistics_days)}
    _write(path, store, days, packed, attributes)


def write_states(
    path: Path,
    store: TrainingStore,
    days: np.ndarray,
    states: np.ndarray,
    fingerprint: str,
    made_by: Mapping[str, Any],
) -> None:
    """Write states of other origin than a store's (forecasts) in the layout of a packed copy.

    Args:
        path: Directory of the copy, which does not exist.
        store: The store; its channels, grid, terrain and statistics are those of the copy.
        days: `(n,)` days since 1970-01-01 00 UTC, increasing.
        states: `(n, C, H, W)` int16, packed anomalies (`data_modules.store.packing.pack`).
        fingerprint: Identity of the states.
        made_by: What made them, the store's attribute `made_by`.
    """
    attributes = {**store.attributes, "fingerprint": fingerprint, "made_by": dict(made_by)}
    _write(path, store, days, lambda chunk: states[chunk], attributes)


def _write(
    path: Path,
    store: TrainingStore,
    days: np.ndarray,
    packed: Callable[[slice], np.ndarray],
    attributes: Mapping[str, Any],
) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    write_coordinates(group, days, store.grid)
    if store.elevation is not None:
        write_elevation(group, store.elevation)
    write_statistics(group, store.statistics)
    shape = (len(days), len(store.channels), *store.grid.shape)
    steps = shard_steps(math.prod(shape[1:]))
    fields = group.create_array(
        "fields",
        shape=shape,
        dtype="int16",
        # Many days per chunk, which is read as a whole: it compresses a third better.
        chunks=(steps, *shape[1:]),
        compressors=[
            BloscCodec(typesize=2, cname="zstd", clevel=7, shuffle="bitshuffle"),
            Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=("time", "channel", "latitude", "longitude"),
        attributes={"units": f"{STEP} standard deviations of the anomaly"},
        config={"write_empty_chunks": True},
    )
    for start in range(0, len(days), steps):
        chunk = slice(start, min(start + steps, len(days)))
        fields[chunk] = packed(chunk)
    write_manifest(path, group, {})
    put_attributes(
        group,
        {
            **{name: attributes[name] for name in _KEPT if name in attributes},
            "slams_store": PACKED_VERSION,
            "status": "complete",
            "channels": [c.name for c in store.channels],
            "packing": {"step": STEP},
        },
    )


def _packed(
    normaliser: Normaliser, sources: Sequence[TrainingStore], days: np.ndarray
) -> np.ndarray:
    """Return the packed anomalies of some days, `(n, C, H, W)` int16."""
    fields: list[np.ndarray] = []
    for day in days:
        for source in sources:
            position = int(find_days(source.time, np.array([day]))[0])
            if position >= 0:
                fields.append(source.read([position])[0])
                break
    state = torch.from_numpy(np.stack(fields)).unsqueeze(1)
    time = torch.from_numpy(np.asarray(days, dtype=np.float64)[:, None])
    return pack(normaliser.normalise(state, normaliser.climatology(time))[:, 0].numpy())
