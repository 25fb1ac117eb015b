r"""What decoding loses of the background, given back to the members of a latent method.

A background that is an accurate forecast holds more than the decoder can represent. What is lost
by encoding it is known in each case, `r_b = x_b - dec(enc(x_b))`, and the truth has part of it:

    x = dec(z) + beta r_b + r,

`beta` per channel, within [0, 1], by regression over the archive of `x - dec(enc(x))` on `r_b`,
both without their means at each point, and `r` what is left. The second term is an offset of the
decoder, the same for all members of a case: observations are compared with
`H (dec(z) + beta r_b)`, and decoding errors are those of `dec(enc(x)) + beta r_b`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.windows import LazyWindows
from slams.fields import Background
from slams.grid import LatLonGrid
from slams.nn.latent_space import LatentSpace

__all__ = ["BackgroundResidual", "decoding_loss"]

# Windows passed through the networks at a time; limits the memory, not the result.
_CHUNK = 32


def decoding_loss(space: LatentSpace, fields: Tensor, known: Tensor | None) -> Tensor:
    """Return `x - dec(enc(x))`, 0 where missing.

    Args:
        space: The latent space.
        fields: `(N, T, C, H, W)` normalised, on the device of `space`.
        known: False where missing; `None` if nothing is missing.
    """
    error = fields - space.decode(space.encode(fields, known))
    return error if known is None else torch.where(known, error, 0.0)


@dataclass(eq=False, repr=False)
class BackgroundResidual:
    """The offset `beta r_b` of decoded members.

    Args:
        space: The latent space.
        grid: The grid, for area weights.
        count: Largest number of training days of the regression, evenly spaced.

    Attributes:
        share: `(C,)` the share `beta`, after `fit`.
    """

    space: LatentSpace
    grid: LatLonGrid
    count: int
    share: Tensor | None = field(default=None, init=False)

    def fit(self, archive: Archive, device: torch.device) -> None:
        """Regress what is lost of the truth on what is lost of the backgrounds of an archive.

        Args:
            archive: Windows of the training period with their backgrounds.
            device: Device of the computation, that of `space`.
        """
        total = len(archive.fields)
        days = torch.linspace(0, total - 1, min(self.count, total)).round().long().unique()
        weights = self.grid.weights.to(device, torch.float32)[:, None]
        sums: list[Tensor | float] = [0.0] * 4
        for at in days.split(_CHUNK):
            fields = _windows(archive.fields, archive.known, at, device)
            backgrounds = _windows(archive.background, archive.background_known, at, device)
            error, lost = (decoding_loss(self.space, *part) for part in (fields, backgrounds))
            terms = (error.sum(dim=0), lost.sum(dim=0))
            terms += ((error * lost).sum(dim=0), lost.square().sum(dim=0))
            sums = [total + term for total, term in zip(sums, terms, strict=True)]
        errors, losses, products, squares = sums
        both, square = (
            (weights * (x - y * losses / len(days))).sum(dim=(0, 2, 3))
            for x, y in ((products, errors), (squares, losses))
        )
        self.share = torch.where(square > 1e-6 * squares.sum(), both / square, 0.0).clamp(0, 1)

    def of_case(self, background: Background) -> Tensor:
        """Return the offset of a single case, `(1, T, C, H, W)`."""
        return self._offset(background.mean, background.known)

    def of_days(self, archive: Archive, days: Tensor) -> Tensor:
        """Return the offsets of windows of an archive, `(n, T, C, H, W)`.

        Args:
            archive: The archive.
            days: `(n,)` int64, a few at a time.
        """
        given = (archive.background, archive.background_known, days, self.share.device)
        return self._offset(*_windows(*given))

    def _offset(self, fields: Tensor, known: Tensor | None) -> Tensor:
        share = self.share.to(fields)[:, None, None]
        return share * decoding_loss(self.space, fields, known)


def _windows(
    fields: Tensor | LazyWindows,
    known: Tensor | LazyWindows | None,
    at: Tensor,
    device: torch.device,
) -> tuple[Tensor, Tensor | None]:
    """Return some windows of an archive and their masks."""
    return fields[at].to(device), None if known is None else known[at].to(device)
