"""Checks of a training store when it is opened: is it one, complete, of this version, whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from data_modules.store.files import HttpFiles, files_of, is_url
from data_modules.store.http import HttpStore
from slams.calendar.days import time_stamps
from slams.errors import UserError

__all__ = ["MANIFEST", "STORE_VERSION", "check_arrays", "check_attributes", "put_attributes"]
__all__ += [
    "check_files",
    "checksums",
    "has_array",
    "iso_date",
    "open_group",
    "read_checksums",
    "read_small",
]
__all__ += ["shard_file"]

STORE_VERSION = 1
# File of a store with the checksums of its values.
MANIFEST = "fields/manifest.json"

# Bytes of the header of a Blosc chunk, of which the last four hold its length.
_BLOSC_HEADER = 16

_AGAIN = "run `slams prepare` with the recipe and resume=overwrite"


def iso_date(day: float) -> str:
    """Write days since 1970-01-01 as an ISO date (with the time where it is not midnight)."""
    return str(time_stamps(day)).removesuffix("T00:00:00")


def open_group(path: Path | str) -> zarr.Group:
    """Open a Zarr group for reading, in a directory or at an address.

    Raises:
        UserError: There is none.
    """
    try:
        if is_url(path):
            store = HttpStore(HttpFiles(str(path)))
            return zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
        # Format 3 alone: arrays of format 2 may name codecs that start code.
        return zarr.open_group(str(path), mode="r", zarr_format=3, use_consolidated=False)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} is not a training store (no Zarr group could be opened there); run `slams "
            f"prepare` with the recipe"
        ) from error


def read_checksums(path: Path | str) -> dict[str, list[str]] | None:
    """Return the checksums of the arrays beside the fields, by name.

    Returns:
        What the store's manifest says; `None` for a store from before manifests.

    Raises:
        UserError: The manifest is damaged.
    """
    try:
        content = json.loads(files_of(path).read(MANIFEST))
        return {str(name): list(sums) for name, sums in content["beside"].items()}
    except FileNotFoundError:
        return None
    except UserError:
        raise
    except Exception as error:  # a directory in its place, no JSON, no keys
        raise UserError(
            f"training store {path}: {MANIFEST} is damaged ({type(error).__name__}); {_AGAIN}"
        ) from error


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
        attributes: All of them; a digest among them is made anew.
    """
    group.attrs.put({**attributes, "digest": _attributes_digest(attributes)})


def _attributes_digest(attributes: Mapping[str, Any]) -> str:
    """Return the sha256 of a store's attributes, without that digest itself."""
    rest = {name: value for name, value in attributes.items() if name != "digest"}
    plain = json.loads(json.dumps(rest))  # as a file gives them back: keys are texts
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
        dtype: What its values are returned as.
        known: Checksums, see `read_checksums`. An array without one is of a version before
            checksums, and is not compared.

    Raises:
        UserError: It is truncated or corrupt, or has changed since it was prepared.
    """
    try:
        array = group[name]
        # Zarr would read a file that is missing as zeros; `HttpStore` raises.
        chunk = "/".join([name, "c", *["0"] * array.ndim])
        if isinstance(path, Path):
            _check_length(path / chunk, array)
        values = np.ascontiguousarray(array[...])
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"training store {path}: {name} cannot be read, its file is missing, truncated or "
            f"corrupt; {_AGAIN}"
        ) from error
    found = [hashlib.sha256(values.data).hexdigest()] if len(values) else []
    if known is not None and known.get(name, found) != found:
        raise UserError(
            f"training store {path}: {name} has changed since it was prepared, its checksum does "
            f"not match; {_AGAIN}"
        )
    return np.asarray(values, dtype=dtype)


def _check_length(file: Path, array: zarr.Array) -> None:
    """Refuse a chunk that is shorter or longer than its own header says.

    Blosc is not told where a chunk ends: cut short, it is read on into whatever memory follows,
    and in one case of some hundreds that gives numbers in the place of an error.

    Raises:
        OSError: The file is not there.
        ValueError: It has another length.
    """
    found = file.stat().st_size
    if not any(isinstance(codec, BloscCodec) for codec in array.compressors):
        return
    with file.open("rb") as stream:
        header = stream.read(_BLOSC_HEADER)
    expected = int.from_bytes(header[12:16], "little")
    if len(header) < _BLOSC_HEADER or found != expected:
        raise ValueError(f"{file}: found {found} bytes, expected {expected}")


def shard_file(array: zarr.Array, step: int) -> str:
    """Return the file that holds a step of an array over time, relative to the store."""
    steps = (array.shards or array.chunks)[0]
    return "/".join([array.basename, "c", str(step // steps), *["0"] * (array.ndim - 1)])


def check_attributes(path: Path | str, attributes: dict[str, Any]) -> None:
    """Refuse what is no training store, one of another version, and an unfinished one.

    Raises:
        UserError: One sentence that says which of them.
    """
    version = attributes.get("slams_store")
    if version is None:
        raise UserError(
            f"{path} is a Zarr group but not a training store (attribute slams_store is "
            f"missing); run `slams prepare` with the recipe"
        )
    if version != STORE_VERSION:
        raise UserError(
            f"training store {path}: found version {version}, expected {STORE_VERSION}; {_AGAIN}"
        )
    if attributes.get("status") != "complete":
        raise UserError(
            f"training store {path}: its preparation was not finished (status "
            f"{attributes.get('status')!r}); {_AGAIN}"
        )
    for name in ("channels", "fingerprint", "recipe", "statistics_days"):
        if name not in attributes:
            raise UserError(
                f"training store {path}: attribute {name!r} is missing, its zarr.json is "
                f"damaged; {_AGAIN}"
            )
    # A store from before digests has none.
    if attributes.get("digest", expected := _attributes_digest(attributes)) != expected:
        raise UserError(
            f"training store {path}: its attributes (zarr.json) have changed since it was "
            f"prepared, their checksum does not match; {_AGAIN}"
        )


def has_array(path: Path | str, group: zarr.Group, name: str) -> bool:
    """Return whether an array or group is in a store.

    Raises:
        UserError: Its metadata are damaged.
    """
    try:
        return name in group
    except UserError:
        raise
    except Exception as error:  # metadata that are no JSON, or say what cannot be
        raise UserError(
            f"training store {path}: {name}/zarr.json is truncated or corrupt; {_AGAIN}"
        ) from error


def check_arrays(path: Path | str, group: zarr.Group, channels: int) -> None:
    """Refuse a store that lacks an array, or whose arrays disagree.

    Raises:
        UserError: Names the array.
    """
    for name in ("fields", "time", "latitude", "longitude", "statistics"):
        if not has_array(path, group, name):
            raise UserError(f"training store {path}: {name!r} is missing from it; {_AGAIN}")
    sizes = [group[name].shape[0] for name in ("time", "latitude", "longitude")]
    expected = (sizes[0], channels, *sizes[1:])
    if group["fields"].shape != expected:
        raise UserError(
            f"training store {path}: fields have shape {group['fields'].shape}, expected "
            f"{expected}; {_AGAIN}"
        )


def check_files(path: Path, group: zarr.Group, time: np.ndarray) -> None:
    """Refuse a store with a file missing, which Zarr would read as missing values.

    Args:
        path: Directory of the store.
        group: The open store.
        time: `(N,)` days since 1970-01-01.

    Raises:
        UserError: Names the file and its first date.
    """
    for name in ("fields", "stations", "satellite"):
        if not has_array(path, group, name):
            continue
        array = group[name]
        for step in range(0, array.shape[0], (array.shards or array.chunks)[0]):
            file = shard_file(array, step)
            there = (path / file).is_file()
            if not there or (path / file).stat().st_size == 0:
                raise UserError(
                    f"training store {path}: file {file} ({name} from {iso_date(time[step])}) is "
                    f"{'empty' if there else 'missing'}; {_AGAIN}"
                )
