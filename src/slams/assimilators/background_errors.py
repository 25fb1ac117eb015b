"""Background errors of past days, rescaled to the error variance of the day's background.

The archive provides the correlations of the errors e = x - x_b and the change of their size with
the season; the background has its own error variance v, of all seasons (larger than that of the
archive where, for example, the state that should persist was missing). Both are used:

    e' = e * sqrt(v / v_archive),    v_archive the variance of e over the whole archive.

Covariances from few days are noisy. The correlations change little over neighbouring cells of the
same latitude: copies of the errors, shifted by some cells in longitude and scaled to the variance
at their new place, multiply the number of samples (like spatial neighbours: Huang and Wang 2018,
doi:10.1175/MWR-D-17-0252.1). They smooth the covariance along latitude circles and do not change
the variance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import CaseByCase

__all__ = ["BackgroundErrors", "FromBackgroundErrors"]

# Windows of the archive processed at a time; limits the temporaries, not the result.
_WINDOWS = 32

# Normalised variance below which the errors of an archive cannot be rescaled.
_SMALLEST_VARIANCE = 1e-8

# Largest factor on an error. Where the archive hardly varies (precipitation over deserts) a rare
# event would otherwise be enlarged to an impossible value.
_LARGEST_SCALE = 3.0


class BackgroundErrors:
    """Errors of an archive's backgrounds.

    Args:
        archive: Windows of the training period with their backgrounds, normalised.

    Attributes:
        variance: `(T, C, H, W)` normalised variance over the whole archive.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        count = archive.fields.shape[0]
        total = torch.zeros(archive.fields.shape[1:], dtype=torch.float64)
        square = torch.zeros_like(total)
        for start in range(0, count, _WINDOWS):
            errors = self._errors(slice(start, start + _WINDOWS)).to("cpu", torch.float64)
            total += errors.sum(dim=0)
            square += errors.square().sum(dim=0)
        variance = (square - total.square() / count) / (count - 1)
        self.variance = variance.clamp(min=_SMALLEST_VARIANCE).to(torch.float32)

    def of(self, windows: Tensor, variance: Tensor, shifts: int = 0) -> Tensor:
        """Return the errors of some windows, centred over them and rescaled.

        Args:
            windows: `(n,)` int64 indices into the archive.
            variance: `(T, C, H, W)` error variance of the background, normalised.
            shifts: Copies shifted by 1 to this many cells of longitude, in both directions, are
                added.

        Returns:
            `((2 shifts + 1) n, T, C, H, W)` normalised, on the device of `variance`; the first
            `n` are the errors without a shift.
        """
        own, count = self.variance.to(variance.device), len(windows)
        size = ((2 * shifts + 1) * count, *own.shape)
        errors = torch.empty(size, dtype=own.dtype, device=variance.device)
        # In place and window by window, because the errors of a season are large.
        first = errors[:count]
        for at in torch.arange(count).split(_WINDOWS):
            first[at] = self._errors(windows[at]).to(variance.device)
        first -= first.mean(dim=0, keepdim=True)
        cells = sorted(range(-shifts, shifts + 1), key=abs)
        for copy, shift in reversed(list(zip(errors.split(count), cells, strict=True))):
            scale = (variance / own.roll(shift, -1)).sqrt().clamp(max=_LARGEST_SCALE)
            for window, unshifted in zip(copy, first, strict=True):
                torch.mul(unshifted.roll(shift, -1), scale, out=window)
        return errors

    def _errors(self, windows: Tensor | slice) -> Tensor:
        return self._archive.fields[windows] - self._archive.background[windows]


class FromBackgroundErrors(CaseByCase):
    """Base class of methods whose covariances are those of past background errors."""

    def fit(self, archive: Archive) -> None:
        """Store the archive and its errors; see `CaseByCase.fit`."""
        super().fit(archive)
        self._errors = BackgroundErrors(archive)
