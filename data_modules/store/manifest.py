"""The manifest of a training store: checksums of every file of fields and of the other arrays.

While a store is prepared, each finished file of fields has a record, `fields/records/N.json`,
which is written atomically: a file with a record is finished, even if the process was killed, and
only the process that wrote it writes the record. At the end the records are merged into
`fields/manifest.json`, with the checksums of the other arrays; this is in the directory of an
array, because Zarr warns of unknown files in a group. Checksums are those of the values (float32,
little-endian), so they verify the values that a reader receives.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from data_modules.store.checks import MANIFEST, checksums, reading, shard_file, unusable
from data_modules.store.training_store import TrainingStore, iso_date
from data_modules.store.writing import beside_fields, digest, fingerprint
from slams.errors import UserError
from slams.runtime.atomic import write_text
from slams.runtime.files import read_json

__all__ = [
    "Manifest",
    "Record",
    "clear_records",
    "read_manifest",
    "read_record",
    "read_records",
    "verify",
    "write_manifest",
    "write_record",
]


@dataclass(frozen=True)
class Record:
    """Record of a finished file of fields.

    Attributes:
        shard: Number of the file along time.
        sha256: Checksum of its values.
        size: Size of the file (bytes).
        cleared: Number of negative values, noise of the source, that were set to zero.
    """

    shard: int
    sha256: str
    size: int
    cleared: int = 0

    @classmethod
    def of_file(cls, store: Path, array: zarr.Array, shard: int, values: np.ndarray) -> Record:
        """Flush a file that was just written to the disk, and return its record."""
        file = store / shard_file(array, shard * array.shards[0])
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        return cls(shard, digest(values), file.stat().st_size)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as written; without `cleared` if it is 0."""
        return {k: v for k, v in asdict(self).items() if k != "cleared" or v}


@dataclass(frozen=True)
class Manifest:
    """Checksums of a complete store.

    Attributes:
        records: Records of the files of fields, in the order of time.
        beside: Checksums of every other array by name, one per file for arrays over time.
    """

    records: tuple[Record, ...]
    beside: dict[str, list[str]]


def write_record(store: Path, record: Record) -> None:
    """Record that a file of fields is finished."""
    folder = store / "fields" / "records"
    folder.mkdir(exist_ok=True)
    write_text(folder / f"{record.shard}.json", json.dumps(record.as_dict()))


def read_record(store: Path, shard: int) -> Record | None:
    """Return the record of a file of fields; `None` while it is unfinished."""
    try:
        return _read_record(store / "fields" / "records" / f"{shard}.json")
    except FileNotFoundError:
        return None


def read_records(store: Path) -> dict[int, Record]:
    """Return the records of all finished files of fields, by number."""
    found = {}
    for file in (store / "fields" / "records").glob("[0-9]*.json"):
        record = _read_record(file)
        found[record.shard] = record
    return found


def _read_record(file: Path) -> Record:
    then = f"remove it, and `slams prepare` writes the fields of file {file.stem} again"
    try:
        return Record(**read_json(file, then))
    except TypeError:
        raise UserError(f"{file} is damaged, it lacks a key; {then}") from None


def clear_records(store: Path) -> None:
    """Remove the records of a store whose manifest is written."""
    shutil.rmtree(store / "fields" / "records", ignore_errors=True)


def write_manifest(store: Path, group: zarr.Group, records: dict[int, Record]) -> None:
    """Write the manifest of a store whose arrays are complete."""
    content = {
        "checksums": "sha256 of the values, little-endian",
        "fields": [records[i].as_dict() for i in sorted(records)],
        "beside": {name: checksums(array) for name, array in _all_beside(group)},
    }
    write_text(store / MANIFEST, json.dumps(content, indent=1))


def read_manifest(store: Path) -> Manifest:
    """Read the manifest of a complete store.

    Raises:
        UserError: The manifest is missing or damaged.
    """
    try:
        with reading(store, f"{MANIFEST} is damaged"):
            content = json.loads((store / MANIFEST).read_text(encoding="utf-8"))
            records = tuple(Record(**record) for record in content["fields"])
            return Manifest(records, dict(content["beside"]))
    except FileNotFoundError:
        raise unusable(
            store,
            f"it has no manifest of checksums ({MANIFEST}), because it is of an older version or "
            f"damaged",
        ) from None


def verify(path: str | Path) -> str:
    """Read a whole store and compare it with its manifest and fingerprint.

    Returns:
        Description of what was verified.

    Raises:
        UserError: The store cannot be read, or its content has changed; the message names the
            first such file.
    """
    store = TrainingStore.open(path)
    path, manifest = Path(path), read_manifest(Path(path))
    group = zarr.open_group(str(path), mode="r", zarr_format=3, use_consolidated=False)
    fields = group["fields"]
    steps = fields.shards[0]
    digests = []
    for shard, start in enumerate(range(0, len(store.time), steps)):
        stop = min(start + steps, len(store.time))
        digests.append(digest(store.read(slice(start, stop))))
        known = manifest.records[shard].sha256 if shard < len(manifest.records) else "none"
        if digests[-1] != known:
            raise unusable(
                path,
                f"file {shard_file(fields, start)} (fields of {iso_date(store.time[start])} to "
                f"{iso_date(store.time[stop - 1])}) has changed since it was prepared, found "
                f"sha256 {digests[-1][:12]}, expected {known[:12]}",
            )
    with reading(path, "the zarr.json of an array cannot be read, it is truncated or corrupt"):
        belongs, arrays = dict(beside_fields(group)), dict(_all_beside(group))
    for name, array in arrays.items():
        if name not in belongs and name not in manifest.beside:
            continue  # a store from before all arrays had checksums
        with reading(path, f"{name} cannot be read, one of its files is truncated or corrupt"):
            sums = checksums(array)
        known = manifest.beside.get(name, [])
        for number, found in enumerate(sums):
            if number >= len(known) or found != known[number]:
                file = shard_file(array, number * array.shards[0]) if array.shards else name
                raise unusable(path, f"{file} has changed since it was prepared")
    attributes = store.attributes
    found = fingerprint(
        digests, attributes["content"], attributes["recipe"], attributes["channels"]
    )
    if found != store.fingerprint:
        raise unusable(
            path,
            f"its attributes have changed since it was prepared (fingerprint {found[:12]}, "
            f"expected {store.fingerprint[:12]})",
        )
    beside = ", ".join(name for name in arrays if name in manifest.beside)
    return f"{len(digests)} files of fields, {beside}"


def _all_beside(group: zarr.Group) -> Iterator[tuple[str, zarr.Array]]:
    """Yield every array but the fields by name; those of `beside_fields` first."""
    listed = dict(beside_fields(group))
    yield from listed.items()
    with warnings.catch_warnings():
        # An unfinished store also contains files that are not arrays.
        warnings.simplefilter("ignore", UserWarning)
        names = sorted(group.array_keys())
    for name in names:
        if name not in listed and name != "fields":
            yield name, group[name]
