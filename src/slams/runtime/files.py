"""Read small files that another user may have written, damaged or replaced.

A run directory, a store or an archive may come from a stranger. Nothing that is read here can
start code: JSON holds plain values, and tensors are read with `weights_only=True`, which builds
tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from slams.errors import UserError
from slams.runtime.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_tensors", "parse_record", "read_json", "read_table", "write_table"]

_Record = TypeVar("_Record")


def read_json(path: Path, then: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: The file.
        then: What to do about a damaged file, for the message.

    Raises:
        UserError: It is a directory, or does not hold a JSON object.
        FileNotFoundError: It does not exist.
        NotADirectoryError: A file stands in the place of one of its directories.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, expected a file; {then}") from None
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested too deep
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged, it holds no JSON object; {then}")
    return values


def parse_record(kind: type[_Record], path: Path, values: Mapping[str, Any], then: str) -> _Record:
    """Return the data class that a JSON file was written from.

    Keys that the class does not have are ignored; keys that are missing have their defaults.

    Args:
        kind: The data class. Its values are text, whole numbers, or lists and dictionaries, whose
            own values are checked where they must be dictionaries.
        path: The file, for messages.
        values: Object in the file.
        then: What to do about a damaged file, for messages.

    Raises:
        UserError: A value without a default is missing, or a value has another type than those
            that the file is written with; the message names the key.
    """
    hints = get_type_hints(kind)
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    if absent := [name for name in needed if name not in values]:
        raise UserError(f"{path} is damaged: it has no {', '.join(absent)}; {then}")
    known = {key: value for key, value in values.items() if key in hints}
    for key, value in known.items():
        _check_type(path, key, value, hints[key], then)
    return kind(**known)


def _check_type(path: Path, key: str, value: Any, hint: Any, then: str) -> None:
    kind, inner = get_origin(hint) or hint, get_args(hint)[1:]
    if type(value) is not kind:
        raise UserError(
            f"{path} is damaged: found {type(value).__name__} under {key!r}, expected "
            f"{kind.__name__}; {then}"
        )
    for name, entry in value.items() if inner and get_origin(inner[0]) else ():
        _check_type(path, name, entry, inner[0], then)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as a Parquet file, completely or not at all, with a checksum of each page."""
    with replacing(path) as part:
        table.to_parquet(part, index=False, write_page_checksum=True)


def read_table(path: Path) -> pd.DataFrame:
    """Return the table in a Parquet file, and compare its checksums where it has any.

    Raises:
        OSError, ValueError: It is missing, a directory, truncated, corrupt or not a Parquet file.
    """
    import pandas as pd

    if path.is_dir():  # which would be read as a table in several files
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return pd.read_parquet(path, engine="pyarrow", page_checksum_verification=True)


def load_tensors(path: Path) -> Any:
    """Return what `torch.save` has written: tensors, on the CPU, and plain containers.

    The checksum (CRC-32) of every record is compared first, because torch itself does not: a
    flipped bit in a weight would go unnoticed.

    Args:
        path: The file.

    Raises:
        Exception: The file is damaged, or holds other objects; torch and `zipfile` raise a
            different type for each kind of fault.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} does not match")
    return torch.load(path, map_location="cpu", weights_only=True)
