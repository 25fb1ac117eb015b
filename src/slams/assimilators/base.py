"""The protocol of assimilation methods: from a batch to an ensemble in physical units.

Every method, classical or generative, is given the same background, the same `H` and `R` and the
same observed values, and must not read `batch.fields` (the verifying truth).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from slams.fields import Batch, Ensemble

if TYPE_CHECKING:
    from slams.assimilators.windows import LazyWindows

__all__ = ["Archive", "Assimilator"]


@dataclass(frozen=True)
class Archive:
    """Windows of the training period, from which methods estimate their covariances.

    An archive that is read from a store is held packed: ask it for the windows that are needed,
    `archive.fields[days]`. Whatever uses it as a whole makes a tensor of all windows first.

    Attributes:
        fields: `(N, T, C, H, W)` normalised, 0 where missing.
        background: `(N, T, C, H, W)` normalised, the backgrounds of these windows.
        time: `(N, T)` float64, days since 1970-01-01 00 UTC.
        known: `(N, T, C, H, W)` bool, False where a field is missing; `None` if none is.
        background_known: The same for the background, see `Background.known`.
    """

    fields: Tensor | LazyWindows
    background: Tensor | LazyWindows
    time: Tensor
    known: Tensor | LazyWindows | None = None
    background_known: Tensor | LazyWindows | None = None

    def rolled(self, cells: int) -> Archive:
        """Shift fields and backgrounds eastwards by cells of longitude."""
        parts = (self.fields, self.background, self.known, self.background_known)
        fields, background, known, background_known = (
            None if part is None else part.roll(cells, -1) for part in parts
        )
        return Archive(fields, background, self.time, known, background_known)


class Assimilator(Protocol):
    """An assimilation method."""

    name: str

    def fit(self, archive: Archive) -> None:
        """Estimate what the method needs from the training period; called once before use."""
        ...

    def analyse(self, batch: Batch, members: int) -> Ensemble:
        """Return the analysis ensemble.

        Args:
            batch: Background and observations; the method must not read the truth in it.
            members: Number of ensemble members `M`.

        Returns:
            Members `(B, M, T, C, H, W)` in physical units. Member `m` of a case depends only on
            the experiment's seed, the case and `m`, not on the other cases of the batch.
        """
        ...
