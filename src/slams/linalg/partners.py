"""Processes that solve the domains of one case together."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

__all__ = ["ALONE", "Partners"]


class Partners(Protocol):
    """Processes that each solve some domains of the same case; they call in step.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
    """

    rank: int
    world: int

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes, the same on each."""
        ...

    def rows(self, values: Tensor) -> tuple[Tensor, slice]:
        """Return the rows of all processes, one after another, and which are those given."""
        ...


class _Alone:
    """One process that solves all domains."""

    rank, world = 0, 1

    def total(self, values: Tensor) -> Tensor:
        return values

    def rows(self, values: Tensor) -> tuple[Tensor, slice]:
        return values, slice(None)


ALONE: Partners = _Alone()
