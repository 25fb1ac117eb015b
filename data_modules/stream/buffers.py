"""Arrays for batches that are used again once nobody looks at them any more.

A fresh array costs as much as filling it: the system gives zeroed pages one by one. What may be
written again is told by counting references: tensors made by `torch.from_numpy` and views refer
to the array below them.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Buffers"]


class Buffers:
    """Gives arrays to fill, those that are free again first.

    Args:
        kept: Arrays that are kept at most; what is asked for beyond that is fresh.
    """

    def __init__(self, kept: int = 8) -> None:
        self._kept = kept
        self._arrays: list[np.ndarray] = []
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a float32 array of a shape, with any content."""
        size = math.prod(shape)
        with self._lock:
            counts = _references(self._arrays)
            for place, count in enumerate(counts):
                if count == _UNUSED and self._arrays[place].size == size:
                    return self._arrays[place].reshape(shape)
            self._arrays = self._arrays[-self._kept + 1 :]
            self._arrays.append(np.empty(size, np.float32))
            return self._arrays[-1].reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self._kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["kept"])  # type: ignore[misc]


def _references(arrays: Sequence[np.ndarray]) -> list[int]:
    """Count the references to each array of a list."""
    return [sys.getrefcount(array) for array in arrays]


# Of an array that only a list holds; versions of Python count the names on the way otherwise.
_UNUSED = _references([np.empty(0)])[0]
