"""What networks made of the archive, kept for the next setting of a sweep.

It does not depend on what is observed. The settings of a sweep run in one process and differ in
little else, so that the last result is worth its memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from torch import Tensor

__all__ = ["LastMade", "digest"]


class LastMade:
    """Keeps the last tensors that were made, by the digest of all that they depend on."""

    def __init__(self) -> None:
        self._key = b""
        self._made: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._made)

    def get(self, key: bytes, make: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return what was made for an equal key, or make it in the place of what there was.

        Args:
            key: See `digest`.
            make: Makes it.

        Returns:
            Tensors that are not to be written to.
        """
        if key != self._key:
            self.clear()
            self._made = make()
            self._key = key
        return self._made

    def clear(self) -> None:
        """Forget what there was."""
        self._key, self._made = b"", []


def digest(words: str, tensors: Iterable[Tensor]) -> bytes:
    """Return the sha256 of words and of all numbers of some tensors."""
    total = hashlib.sha256(words.encode())
    for tensor in tensors:
        total.update(f"{tuple(tensor.shape)}/{tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.digest()
