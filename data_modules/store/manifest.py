"""The manifest of a training store: a checksum of every file of fields and of all there is beside.

While a store is prepared, each file of fields that is written in full gets a record of its own,
`fields/records/N.json`, written in full or not at all: what has a record is finished, whatever
killed the process, and nobody but its writer touches it. In the end the records become
`fields/manifest.json`, with the other arrays' checksums; in the directory of an array, because
Zarr warns of strangers in a group. Checksums are those of the values (float32, little-endian), so
that they hold for what a reader is given.
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

from data_modules.store.checks import MANIFEST, checksums, shard_file
from data_modules.store.training_store import TrainingStore, iso_date
from data_modules.store.writing import beside_fields, digest, fingerprint
from slams.errors import UserError
from slams.runtime.atomic import write_text
from slams.runtime.files import read_json

__all__ = ["Manifest", "Record", "clear_records", "read_manifest", "read_record"]
__all__ += ["read_records", "verify", "write_manifest", "write_record"]

_AGAIN = "run `slams prepare` with resume=overwrite"


@dataclass(frozen=True)
class Record:
    """Holds what is known of a file of fields that is finished.

    Attributes:
        shard: Its number along time.
        sha256: Of its values.
        size: Of the file (bytes).
        cleared: Values below zero that were set to zero, numerical noise of the source.
    """

    shard: int
    sha256: str
    size: int
    cleared: int = 0

    @classmethod
    def of_file(cls, store: Path, array: zarr.Array, shard: int, values: np.ndarray) -> Record:
        """Make the record of a file that was just written, once it is on the disk."""
        file = store / shard_file(array, shard * array.shards[0])
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        return cls(shard, digest(values), file.stat().st_size)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as it is written; without `cleared` where there is nothing to say."""
        return {k: v for k, v in asdict(self).items() if k != "cleared" or v}


@dataclass(frozen=True)
class Manifest:
    """Holds the checksums of a complete store.

    Attributes:
        records: Of the files of fields, in the order of time.
        beside: Of every other array: its name to its checksums, one a file for those over time.
    """

    records: tuple[Record, ...]
    beside: dict[str, list[str]]


def write_record(store: Path, record: Record) -> None:
    """Note that a file of fields is finished."""
    folder = store / "fields" / "records"
    folder.mkdir(exist_ok=True)
    write_text(folder / f"{record.shard}.json", json.dumps(record.as_dict()))


def read_record(store: Path, shard: int) -> Record | None:
    """Read the record of a file of fields; `None` while it is not finished."""
    try:
        return _read_record(store / "fields" / "records" / f"{shard}.json")
    except FileNotFoundError:
        return None


def read_records(store: Path) -> dict[int, Record]:
    """Read which files of fields are finished, by number."""
    found = {}
    for file in (store / "fields" / "records").glob("[0-9]*.json"):
        record = _read_record(file)
        found[record.shard] = record
    return found


def _read_record(file: Path) -> Record:
    then = f"remove it, `slams prepare` writes the fields of file {file.stem} again"
    try:
        return Record(**read_json(file, then))
    except TypeError:
        raise UserError(f"{file} is damaged, it lacks a key; {then}") from None


def clear_records(store: Path) -> None:
    """Remove the records of a store whose manifest is written."""
    shutil.rmtree(store / "fields" / "records", ignore_errors=True)


def write_manifest(store: Path, group: zarr.Group, records: dict[int, Record]) -> Manifest:
    """Write the manifest of a store whose arrays are all there."""
    beside = {name: checksums(array) for name, array in _all_beside(group)}
    manifest = Manifest(tuple(records[i] for i in sorted(records)), beside)
    content: dict[str, Any] = {
        "checksums": "sha256 of the values, little-endian",
        "fields": [record.as_dict() for record in manifest.records],
        "beside": beside,
    }
    write_text(store / MANIFEST, json.dumps(content, indent=1))
    return manifest


def read_manifest(store: Path) -> Manifest:
    """Read the manifest of a complete store.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        content = read_json(store / MANIFEST, _AGAIN)
        records = tuple(Record(**record) for record in content["fields"])
        return Manifest(records, dict(content["beside"]))
    except FileNotFoundError:
        raise UserError(
            f"training store {store}: it has no manifest of checksums (fields/manifest.json), it "
            f"is older than that or damaged; {_AGAIN}"
        ) from None
    except UserError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"training store {store}: fields/manifest.json is damaged ({error}); {_AGAIN}"
        ) from error


def verify(path: str | Path) -> str:
    """Read a whole store again and compare all of it with its manifest and fingerprint.

    Returns:
        What was found whole, in words.

    Raises:
        UserError: The store cannot be read, or its content has changed; names the first file.
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
            raise UserError(
                f"training store {path}: file {shard_file(fields, start)} (fields of "
                f"{iso_date(store.time[start])} to {iso_date(store.time[stop - 1])}) has changed "
                f"since it was prepared, found sha256 {digests[-1][:12]}, expected {known[:12]}; "
                f"{_AGAIN}"
            )
    try:
        belongs, arrays = dict(beside_fields(group)), dict(_all_beside(group))
    except Exception as error:  # metadata that are no JSON, or say what cannot be
        raise UserError(
            f"training store {path}: the zarr.json of an array cannot be read, it is truncated or "
            f"corrupt ({error}); {_AGAIN}"
        ) from error
    for name, array in arrays.items():
        if name not in belongs and name not in manifest.beside:
            continue  # a store from before all arrays were summed up
        for number, found in enumerate(_read_checksums(path, name, array)):
            known = manifest.beside.get(name, [])
            if number >= len(known) or found != known[number]:
                file = shard_file(array, number * array.shards[0]) if array.shards else name
                raise UserError(
                    f"training store {path}: {file} has changed since it was prepared; {_AGAIN}"
                )
    attributes = store.attributes
    found = fingerprint(
        digests, attributes["content"], attributes["recipe"], attributes["channels"]
    )
    if found != store.fingerprint:
        raise UserError(
            f"training store {path}: its attributes have changed since it was prepared "
            f"(fingerprint {found[:12]}, expected {store.fingerprint[:12]}); {_AGAIN}"
        )
    beside = ", ".join(name for name in arrays if name in manifest.beside)
    return f"{len(digests)} files of fields, {beside}"


def _all_beside(group: zarr.Group) -> Iterator[tuple[str, zarr.Array]]:
    """List every array but the fields; those of `beside_fields` first."""
    listed = dict(beside_fields(group))
    yield from listed.items()
    with warnings.catch_warnings():
        # While a store is made, files that are no arrays lie beside them.
        warnings.simplefilter("ignore", UserWarning)
        names = sorted(group.array_keys())
    for name in names:
        if name not in listed and name != "fields":
            yield name, group[name]


def _read_checksums(store: Path, name: str, array: zarr.Array) -> list[str]:
    try:
        return checksums(array)
    except Exception as error:
        raise UserError(
            f"training store {store}: {name} cannot be read, a file of it is truncated or "
            f"corrupt; {_AGAIN}"
        ) from error
