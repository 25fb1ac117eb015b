"""Caches: the last result of networks on the archive, and results for observing networks.

The result of networks on the archive does not depend on the observations. The settings of a sweep
run in one process and differ in little else, so that keeping the last result is worth the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from slams.assimilators.windows import LazyWindows

__all__ = ["LastResult", "RecentResults", "digest"]


class LastResult:
    """Cache of one list of tensors, identified by the digest of everything that they depend on."""

    def __init__(self) -> None:
        self._key = b""
        self._tensors: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._tensors)

    def get(self, key: bytes, make: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return the stored tensors if the key is equal; otherwise compute and store new ones.

        Args:
            key: See `digest`.
            make: Function that computes the tensors.

        Returns:
            Tensors that must not be modified.
        """
        if key != self._key:
            self.clear()
            self._tensors = make()
            self._key = key
        return self._tensors

    def clear(self) -> None:
        """Discard the stored tensors."""
        self._key, self._tensors = b"", []


def digest(words: str, tensors: Iterable[Tensor | LazyWindows]) -> bytes:
    """Return the SHA-256 of a text and of all values of some tensors."""
    total = hashlib.sha256(words.encode())
    for tensor in tensors:
        total.update(f"{tuple(tensor.shape)}/{tensor.dtype}".encode())
        for part in tensor if isinstance(tensor, LazyWindows) else [tensor]:
            total.update(part.detach().cpu().contiguous().numpy().tobytes())
    return total.digest()


class RecentResults:
    """Cache of results that are determined by a few tensors.

    Args:
        count: Number of results to keep, the most recently computed ones.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._kept: list[tuple[tuple[Tensor, ...], Any]] = []

    def get(self, key: tuple[Tensor, ...], make: Callable[[], Any]) -> Any:
        """Return the stored result for equal tensors on the same device, or compute it."""
        for known, result in self._kept:
            pairs = zip(known, key, strict=True)
            if all(a.device == b.device and torch.equal(a, b) for a, b in pairs):
                return result
        result = make()
        self._kept = [(key, result), *self._kept[: self._count - 1]]
        return result
