"""Read small files that somebody else may have written, damaged or replaced.

A run directory, a store or an archive may come from a stranger. Nothing that is read here can
start code: JSON holds plain values, and tensors are read with `weights_only=True`, which builds
tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slams.errors import UserError

if TYPE_CHECKING:
    import torch

__all__ = ["load_tensors", "read_json"]


def read_json(path: Path, then: str) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Args:
        path: The file.
        then: What to do about a damaged one, for the message.

    Raises:
        UserError: It is a directory, or holds no JSON object.
        FileNotFoundError: It does not exist.
        NotADirectoryError: A file stands in the place of one of its directories.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise UserError(f"{path} is a directory, expected a file; {then}") from None
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested without end
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged, it holds no JSON object; {then}")
    return values


def load_tensors(path: Path, device: torch.device | str = "cpu") -> Any:
    """Return what `torch.save` has written: tensors and plain containers.

    The checksum (CRC-32) of every record is compared first, because torch itself does not: a
    flipped bit in a weight would go unnoticed.

    Args:
        path: The file.
        device: Where the tensors go.

    Raises:
        Exception: The file is damaged, or holds anything else; torch and `zipfile` raise a
            different type for each kind.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} does not match")
    return torch.load(path, map_location=device, weights_only=True)
