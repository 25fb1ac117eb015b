"""The one protocol of assimilation: same batch in, ensemble in physical units out.

Whoever implements it, classical or generative, sees the same background, the same `H` and `R`
and the same observed values, and has no access to `batch.fields` (the verifying truth).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from slams.fields import Batch, Ensemble

__all__ = ["Archive", "Assimilator"]


@dataclass(frozen=True)
class Archive:
    """Holds days of the training period, from which methods estimate their covariances.

    Attributes:
        fields: `(N, T, C, H, W)` normalised, 0 where missing.
        background: `(N, T, C, H, W)` normalised, the background of each of these windows.
        time: `(N, T)` float64, days since 1970-01-01 00 UTC.
        known: `(N, T, C, H, W)` bool, False where a field is missing; `None` if none is.
        background_known: The same of the background, see `Background.known`.
    """

    fields: Tensor
    background: Tensor
    time: Tensor
    known: Tensor | None = None
    background_known: Tensor | None = None

    def turned(self, cells: int) -> Archive:
        """Turn fields and backgrounds to the east by cells of longitude."""
        parts = (self.fields, self.background, self.known, self.background_known)
        fields, background, known, background_known = (
            None if part is None else part.roll(cells, -1) for part in parts
        )
        return Archive(fields, background, self.time, known, background_known)


class Assimilator(Protocol):
    """Analyses batches with one method."""

    name: str

    def fit(self, archive: Archive) -> None:
        """Estimate what the method needs from the training period; called once before use."""
        ...

    def analyse(self, batch: Batch, members: int) -> Ensemble:
        """Return the analysis ensemble.

        Args:
            batch: Background and observations; the truth in it must not be read.
            members: Number of ensemble members `M`.

        Returns:
            Members `(B, M, T, C, H, W)` in physical units. Member `m` of a case depends on the
            experiment's seed, the case and `m` only, never on the batch it came with.
        """
        ...
