"""Windows of an archive that are computed when they are asked for.

An archive of decades does not fit into memory in full precision. Its fields and backgrounds may
therefore be objects that return some windows as a tensor, `archive.fields[days]`, and otherwise
look like a tensor on the CPU: arithmetic, functions of torch and unknown attributes make all
windows first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

__all__ = ["LazyWindows", "windows_not_finite"]

# Windows made at a time: few enough for the processor's cache.
_CHUNK = 8


class LazyWindows(ABC):
    """Base class of windows that are computed when they are asked for.

    Args:
        shape: `(N, T, C, H, W)`.
        dtype: Type of the values.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        self.shape = torch.Size(shape)
        self.dtype = dtype
        self.device = torch.device("cpu")

    @abstractmethod
    def read(self, positions: Tensor) -> Tensor:
        """Compute windows.

        Args:
            positions: `(n,)` int64 in [0, N), a few at a time.

        Returns:
            `(n, T, C, H, W)` on the CPU.
        """

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        for at in torch.arange(len(self)).split(_CHUNK):
            yield from self.read(at)

    def __getitem__(self, index: Any) -> Tensor:
        """Return windows by position, slice, or a tensor of positions or of truth values."""
        several = isinstance(index, slice | Tensor) and getattr(index, "ndim", 1) == 1
        if not several and not isinstance(index, int):
            return self.dense()[index]
        if isinstance(index, Tensor):
            index = index.cpu()
        positions = torch.arange(len(self))[index]
        out = torch.empty((positions.numel(), *self.shape[1:]), dtype=self.dtype)
        for part, at in zip(out.split(_CHUNK), positions.reshape(-1).split(_CHUNK), strict=True):
            part.copy_(self.read(at))
        return out if several else out[0]

    def dense(self) -> Tensor:
        """Return all windows, `(N, T, C, H, W)`."""
        return self[:]

    @cached_property
    def not_finite(self) -> int:
        """Return the number of windows with values that are not finite."""
        return _count(self)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        args, kwargs = tree_map(_dense, (args, kwargs or {}))
        return function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.dense(), name)

    def __add__(self, other: Any) -> Tensor:
        return self.dense() + other

    def __sub__(self, other: Any) -> Tensor:
        return self.dense() - other

    def __mul__(self, other: Any) -> Tensor:
        return self.dense() * other

    def __radd__(self, other: Any) -> Tensor:
        return other + self.dense()

    def __rsub__(self, other: Any) -> Tensor:
        return other - self.dense()

    def __rmul__(self, other: Any) -> Tensor:
        return other * self.dense()


def windows_not_finite(windows: Tensor | LazyWindows) -> int:
    """Count the windows with values that are not finite."""
    return windows.not_finite if isinstance(windows, LazyWindows) else _count(windows)


def _count(windows: Tensor | LazyWindows) -> int:
    return sum(int(not bool(torch.isfinite(window).all())) for window in windows)


def _dense(value: Any) -> Any:
    return value.dense() if isinstance(value, LazyWindows) else value
