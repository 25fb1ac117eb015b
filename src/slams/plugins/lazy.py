"""Functions of modules that are imported when they are first called."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

__all__ = ["Lazy"]


@dataclass(frozen=True)
class Lazy:
    """Calls a function of a module that is heavy to import.

    Specifications are read by whoever checks a recipe; what they build is imported once it is
    built.

    Attributes:
        where: `module:function`.
    """

    where: str

    def __call__(self, *arguments: Any) -> Any:
        """Import the function and call it."""
        module, _, function = self.where.partition(":")
        return getattr(importlib.import_module(module), function)(*arguments)
