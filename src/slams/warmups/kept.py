"""Results of a warm-up that take long to compute, stored and reused with the same settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from slams.errors import UserError
from slams.runtime.atomic import replacing
from slams.runtime.files import load_tensors
from slams.runtime.ranks import say

__all__ = ["reuse"]


def reuse(
    path: Path,
    what: str,
    settings: Any,
    make: Callable[[], Any],
    names: tuple[str, str] = ("made_with", "what"),
) -> Any:
    """Read the result of an earlier run with the same settings, or compute and write it.

    Args:
        path: The file.
        what: What the result is, in words.
        settings: Settings that it depends on, as plain values.
        make: Function that computes it: tensors and plain containers.
        names: Names of settings and result in the file.

    Raises:
        UserError: The file is damaged.
    """
    if path.exists():
        try:
            found = load_tensors(path)
        except Exception as error:  # a different type for each kind of damage
            raise UserError(
                f"{path} cannot be read ({type(error).__name__}); it is damaged: remove it"
            ) from error
        if found[names[0]] == settings:
            say(f"reusing {what} of the same settings in {path}")
            return found[names[1]]
    result = make()
    with replacing(path) as temporary:
        torch.save(dict(zip(names, (settings, result), strict=True)), temporary)
    return result
