"""Checks on opening a training store: whether it is complete, undamaged and of this version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from data_modules.store.files import HttpFiles, files_of, is_url
from data_modules.store.http import HttpStore
from slams.calendar.days import iso_date
from slams.errors import UserError

__all__ = [
    "MANIFEST",
    "PACKED_VERSION",
    "STEP_ARRAYS",
    "STORE_VERSION",
    "check_arrays",
    "check_attributes",
    "check_files",
    "checksums",
    "has_array",
    "iso_date",
    "open_group",
    "put_attributes",
    "read_checksums",
    "read_small",
    "reading",
    "shard_file",
    "unusable",
]

# Arrays over time other than the fields, in files of several steps each.
STEP_ARRAYS = (
    "stations",
    "station_errors",
    "station_hours",
    "satellite",
    "satellite_errors",
    "satellite_counts",
    "satellite_hours",
)

STORE_VERSION = 1
# Version of a store whose fields are packed; one of version 1 would be read as physical values.
PACKED_VERSION = 2
# File of a store with the checksums of its values.
MANIFEST = "fields/manifest.json"

# Size of the header of a Blosc chunk (bytes), the last four of which are its length.
_BLOSC_HEADER = 16

_AGAIN = "run `slams prepare` with the recipe and resume=overwrite"


def unusable(path: Path | str, found: str) -> UserError:
    """Return the error for a store that must be prepared again.

    Args:
        path: The store.
        found: What is wrong with it.
    """
    return UserError(f"training store {path}: {found}; {_AGAIN}")


@contextmanager
def reading(path: Path | str, found: str) -> Iterator[None]:
    """Replace any error but `UserError` and `FileNotFoundError` with that of an unusable store.

    Zarr, its codecs and JSON raise errors of many types for damaged files.

    Args:
        path: The store.
        found: What is wrong with it if reading fails.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:
        raise unusable(path, f"{found} ({type(error).__name__})") from error


def open_group(path: Path | str) -> zarr.Group:
    """Open a Zarr group for reading, in a directory or at an address.

    Raises:
        UserError: There is no Zarr group.
    """
    try:
        if is_url(path):
            store = HttpStore(HttpFiles(str(path)))
            return zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
        # Only format 3: arrays of format 2 may name codecs that execute code.
        return zarr.open_group(str(path), mode="r", zarr_format=3, use_consolidated=False)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} is not a training store (no Zarr group could be opened there); run `slams "
            f"prepare` with the recipe"
        ) from error


def read_checksums(path: Path | str) -> dict[str, list[str]] | None:
    """Return the checksums of the arrays other than the fields, by name.

    Returns:
        The checksums of the store's manifest; `None` for a store from before manifests.

    Raises:
        UserError: The manifest is damaged.
    """
    try:
        with reading(path, f"{MANIFEST} is damaged"):
            content = json.loads(files_of(path).read(MANIFEST))
            return {str(name): list(sums) for name, sums in content["beside"].items()}
    except FileNotFoundError:
        return None


def checksums(array: zarr.Array) -> list[str]:
    """Return the sha256 of an array's values, one per file for an array over time."""
    steps = array.shards[0] if array.shards else max(array.shape[0], 1)
    return [
        hashlib.sha256(np.ascontiguousarray(array[start : start + steps]).data).hexdigest()
        for start in range(0, array.shape[0], steps)
    ]


def put_attributes(group: zarr.Group, attributes: Mapping[str, Any]) -> None:
    """Write all attributes of a store at once, with their digest.

    Args:
        group: The store, open for writing.
        attributes: All attributes; a digest among them is replaced.
    """
    group.attrs.put({**attributes, "digest": _attributes_digest(attributes)})


def _attributes_digest(attributes: Mapping[str, Any]) -> str:
    """Return the sha256 of a store's attributes, without the digest itself."""
    rest = {name: value for name, value in attributes.items() if name != "digest"}
    plain = json.loads(json.dumps(rest))  # as read from a file: keys are strings
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_small(
    path: Path | str,
    group: zarr.Group,
    name: str,
    dtype: type,
    known: Mapping[str, list[str]] | None,
) -> np.ndarray:
    """Read a coordinate or a statistic as a whole, and compare it with its checksum.

    Args:
        path: The store.
        group: The open store.
        name: Name of the array.
        dtype: Type of the returned values.
        known: Checksums, see `read_checksums`. An array without one was written by a version
            before checksums, and is not compared.

    Raises:
        UserError: The array is truncated or corrupt, or has changed since it was prepared.
    """
    found = f"{name} cannot be read, its file is missing, truncated or corrupt"
    try:
        with reading(path, found):
            array = group[name]
            # Zarr would read a missing file as zeros; `HttpStore` raises.
            chunk = "/".join([name, "c", *["0"] * array.ndim])
            if isinstance(path, Path) and array.size:
                _check_length(path / chunk, array)
            values = np.ascontiguousarray(array[...])
    except FileNotFoundError as error:
        raise unusable(path, found) from error
    actual = [hashlib.sha256(values.data).hexdigest()] if len(values) else []
    if known is not None and known.get(name, actual) != actual:
        raise unusable(
            path, f"{name} has changed since it was prepared, its checksum does not match"
        )
    return np.asarray(values, dtype=dtype)


def _check_length(file: Path, array: zarr.Array) -> None:
    """Refuse a chunk whose length differs from that in its header.

    Blosc does not know where a chunk ends: it reads a truncated chunk beyond its end into the
    memory that follows, and in one case of some hundreds returns numbers instead of an error.

    Raises:
        OSError: The file is missing.
        ValueError: The file has another length.
    """
    actual = file.stat().st_size
    if not any(isinstance(codec, BloscCodec) for codec in array.compressors):
        return
    with file.open("rb") as stream:
        header = stream.read(_BLOSC_HEADER)
    expected = int.from_bytes(header[12:16], "little")
    if len(header) < _BLOSC_HEADER or actual != expected:
        raise ValueError(f"{file}: found {actual} bytes, expected {expected}")


def shard_file(array: zarr.Array, step: int) -> str:
    """Return the file that contains a step of an array over time, relative to the store."""
    steps = (array.shards or array.chunks)[0]
    return "/".join([array.basename, "c", str(step // steps), *["0"] * (array.ndim - 1)])


def check_attributes(path: Path | str, attributes: dict[str, Any]) -> None:
    """Refuse a group that is not a training store, or is one of another version or unfinished.

    Raises:
        UserError: The group is refused, its attributes are incomplete, or they have changed.
    """
    version = attributes.get("slams_store")
    if version is None:
        raise UserError(
            f"{path} is a Zarr group but not a training store (attribute slams_store is "
            f"missing); run `slams prepare` with the recipe"
        )
    known = PACKED_VERSION if "packing" in attributes else STORE_VERSION
    if version != known:
        raise unusable(path, f"found version {version}, expected {known}")
    if (status := attributes.get("status")) != "complete":
        raise unusable(path, f"its preparation was not finished (status {status!r})")
    for name in ("channels", "fingerprint", "recipe", "statistics_days"):
        if name not in attributes:
            raise unusable(path, f"attribute {name!r} is missing, its zarr.json is damaged")
    # A store from before digests has none.
    if attributes.get("digest", expected := _attributes_digest(attributes)) != expected:
        raise unusable(
            path,
            "its attributes (zarr.json) have changed since it was prepared, their checksum does "
            "not match",
        )


def has_array(path: Path | str, group: zarr.Group, name: str) -> bool:
    """Return whether a store contains an array or group.

    Raises:
        UserError: Its metadata are damaged.
    """
    with reading(path, f"{name}/zarr.json is truncated or corrupt"):
        return name in group


def check_arrays(path: Path | str, group: zarr.Group, channels: int) -> None:
    """Refuse a store that lacks an array, or whose fields have another shape than its axes.

    Raises:
        UserError: The store is refused; the message names the array.
    """
    for name in ("fields", "time", "latitude", "longitude", "statistics"):
        if not has_array(path, group, name):
            raise unusable(path, f"{name!r} is missing")
    sizes = [group[name].shape[0] for name in ("time", "latitude", "longitude")]
    shape, expected = group["fields"].shape, (sizes[0], channels, *sizes[1:])
    if shape != expected:
        raise unusable(path, f"fields have shape {shape}, expected {expected}")


def check_files(path: Path, group: zarr.Group, time: np.ndarray) -> None:
    """Refuse a store with a missing file, which Zarr would read as missing values.

    Args:
        path: Directory of the store.
        group: The open store.
        time: `(N,)` days since 1970-01-01.

    Raises:
        UserError: A file is missing or empty; the message names it and its first date.
    """
    for name in ("fields", *STEP_ARRAYS):
        if not has_array(path, group, name):
            continue
        array = group[name]
        for step in range(0, array.shape[0], (array.shards or array.chunks)[0]):
            file = shard_file(array, step)
            there = (path / file).is_file()
            if not there or (path / file).stat().st_size == 0:
                first, state = iso_date(time[step]), "empty" if there else "missing"
                raise unusable(path, f"file {file} ({name} from {first}) is {state}")
