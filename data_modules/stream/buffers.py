"""Arrays for batches, reused once no batch refers to them.

Allocating an array costs as much as filling it, since the system zeroes its pages one by one.
Arrays that may be reused are found by counting references: views and tensors made by
`torch.from_numpy` refer to the underlying array.
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
    """Pool of arrays to fill, which reuses free ones.

    Args:
        kept: Largest number of arrays in the pool; further requests allocate.
    """

    def __init__(self, kept: int = 8) -> None:
        self._kept = kept
        self._arrays: list[np.ndarray] = []
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a float32 array of a shape, with arbitrary content."""
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


# References to an array that only a list refers to; the count depends on the Python version.
_UNUSED = _references([np.empty(0)])[0]
