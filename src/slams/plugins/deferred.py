"""Functions whose modules are imported at the first call."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

__all__ = ["Deferred"]


@dataclass(frozen=True)
class Deferred:
    """Function that a specification refers to before its module is imported.

    Attributes:
        module: Dotted name of the module.
        function: Name of the function in it.
    """

    module: str
    function: str

    def __call__(self, *args: Any) -> Any:
        """Import the module and call the function."""
        return getattr(importlib.import_module(self.module), self.function)(*args)
