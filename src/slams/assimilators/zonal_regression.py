r"""A linear forecast of one day, the same at all longitudes of a row.

Regressing the state on that of the whole globe takes more days than there are. Weather obeys the
same laws at all longitudes, so that the regression of a row may be pooled over them: it is then a
convolution, and each zonal wavenumber m has a regression of its own. With X(t) the Fourier
coefficients of the normalised state, the predictors s of row j are those of all channels, of the
rows within `rows` of j and of the last L days (L C R complex numbers), and

    A_jm = [sum s s^H + alpha n W I]^-1 sum s x^H,      x_f = A_jm^H s,

over n days of W longitudes. The penalty is that of white noise of variance alpha in the
predictors. Wavenumbers from `waves` on are not forecast: their forecast is zero, and so is that of
the meridional modes (EOFs over the rows, of all channels together) with the last 0.1 % of a
wavenumber's variance: rows are closer to one another than a spectral model resolves, and what it
does not resolve would be amplified from day to day. Surface and land enter through the climatology
only.

*Cross-validation.* The training days are divided into contiguous blocks; each is forecast by a fit
to the others, and days within `gap` of the end of a block are left out, since both sides share
their weather. The errors of these forecasts choose the penalty alpha of each row and channel, and
are the errors of the forecast (`MemberForecast.errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.member_forecast import MemberForecast, last_days
from slams.errors import UserError

__all__ = ["ZonalRegression"]

# Share of the variance in meridional modes that a wavenumber's forecast leaves out.
_UNRESOLVED = 1e-3
# Days whose Fourier coefficients are computed at a time; limits the temporaries.
_DAYS = 32


class ZonalRegression(MemberForecast):
    """Forecast by a regression for each row and zonal wavenumber.

    Args:
        days: Single days of the training period, `(N, 1, C, H, W)` normalised, in order of time.
        past: Days `L` that a forecast is made from.
        rows: Rows to either side whose states are predictors.
        waves: Number of zonal wavenumbers that are forecast, from 0 on.
        ridges: Penalties alpha to choose from, normalised variances.
        folds: Blocks of the cross-validation.
        gap: Days at the ends of a block that are left out.
        archive: Largest number of days whose errors are kept, evenly spaced.
        note: Called with a description of each step.

    Attributes:
        ridge: `(H, C)` the chosen penalties.
        variance: `(C, H, W)` mean square of the errors, normalised.

    Raises:
        UserError: The training period has too few consecutive days.
    """

    def __init__(
        self,
        days: Archive,
        past: int = 2,
        rows: int = 2,
        waves: int = 32,
        ridges: Sequence[float] = (0.001, 0.003, 0.01, 0.03),
        folds: int = 5,
        gap: int = 10,
        archive: int = 1500,
        note: Callable[[str], None] = lambda doing: None,
    ) -> None:
        self.days, self.past = days, past
        _, _, channels, self._height, self._width = days.fields.shape
        self._rows = min(2 * rows + 1, self._height)
        self._waves = min(waves, self._width // 2 + 1)
        self._ridges = tuple(ridges)
        time = days.time[:, 0]
        targets = last_days(time, past + 1)
        blocks = [_without_ends(b, time, gap) for b in targets.tensor_split(folds)]
        if min(map(len, blocks)) < 2:
            raise UserError(
                f"assimilation.member_forecast: one of {folds} blocks of the {len(time)} training "
                f"days has fewer than 2 days that follow {past} others and are {gap} days from "
                f"its ends; lengthen data.splits.train or shorten "
                f"assimilation.member_forecast.gap"
            )
        note("forecast of members: Fourier coefficients")
        spectra = self._spectra(days)
        self._modes = _meridional_modes(spectra)
        spectra = self._resolved(spectra)
        used = torch.cat(blocks)
        step = max(len(used) / archive, 1.0)
        kept = used[(torch.arange(min(len(used), archive)) * step).long()]
        errors = torch.cat([days.fields[at][:, 0] for at in kept.split(_DAYS)])
        self.ridge = torch.empty(self._height, channels)
        coefficients = []
        for row in range(self._height):
            note(f"forecast of members: row {row + 1} of {self._height}")
            coefficients.append(self._fit_row(row, spectra, blocks, kept, errors))
        self._coefficients = torch.stack(coefficients)  # (H, m, p, C)
        self.variance = errors.square().mean(dim=0)
        errors = errors[:, None]
        zeros = torch.zeros(()).expand(errors.shape)
        self.errors = Archive(errors, zeros, days.time[kept])

    def forecast(self, trajectories: Tensor) -> Tensor:
        """Forecast the next day; see `MemberForecast.forecast`."""
        spectra = self._resolved(torch.fft.rfft(trajectories)[..., : self._waves])
        found = torch.zeros_like(trajectories[:, -1])
        for row in range(self._height):
            predictors = self._predictors(spectra[..., self._near(row), :])
            predicted = predictors @ self._coefficients[row].to(predictors.device)
            found[:, :, row] = self._to_longitudes(predicted)
        return found

    def _spectra(self, days: Archive) -> Tensor:
        """Return the Fourier coefficients of all days, `(N, C, H, m)`."""
        shape = (len(days.fields), *days.fields.shape[2:4], self._waves)
        found = torch.empty(shape, dtype=torch.complex64)
        for at in torch.arange(len(days.fields)).split(_DAYS):
            found[at] = torch.fft.rfft(days.fields[at][:, 0])[..., : self._waves]
        return found

    def _resolved(self, spectra: Tensor) -> Tensor:
        """Project `(..., H, m)` on the meridional modes."""
        found = torch.empty_like(spectra)
        # Wave by wave, because the coefficients of all days are large.
        for wave, mode in enumerate(self._modes.to(spectra.device)):
            found[..., wave] = spectra[..., wave] @ mode
        return found

    def _near(self, row: int) -> slice:
        """Return the rows whose states are predictors; as many at the poles as elsewhere."""
        first = min(max(row - self._rows // 2, 0), self._height - self._rows)
        return slice(first, first + self._rows)

    def _predictors(self, spectra: Tensor) -> Tensor:
        """Arrange `(n, L, C, R, m)` by wavenumber: `(m, n, p)`."""
        return spectra.flatten(1, 3).permute(2, 0, 1).contiguous()

    def _to_longitudes(self, predicted: Tensor) -> Tensor:
        """Convert `(m, n, C)` to values on a row, `(n, C, W)`."""
        return torch.fft.irfft(predicted.permute(1, 2, 0), n=self._width)

    def _fit_row(
        self, row: int, spectra: Tensor, blocks: Sequence[Tensor], kept: Tensor, errors: Tensor
    ) -> Tensor:
        """Fit one row, and turn its part of the kept fields into errors, in place.

        Args:
            row: The row.
            spectra: `(N, C, H, m)`.
            blocks: Verifying days of each block.
            kept: `(E,)` verifying days whose errors are kept, in order.
            errors: `(E, C, H, W)` their fields.

        Returns:
            Coefficients `(m, p, C)`.
        """
        near = spectra[:, :, self._near(row)]
        pairs = [self._pairs(near, spectra, row, block) for block in blocks]
        sums = [(s.mH @ s, s.mH @ x) for s, x in pairs]
        gram, cross = (sum(part) for part in zip(*sums, strict=True))
        count = sum(map(len, blocks))
        square = torch.zeros(len(self._ridges), spectra.shape[1], dtype=torch.float64)
        parts = []
        for block, (s, x), (own_gram, own_cross) in zip(blocks, pairs, sums, strict=True):
            others = self._width * (count - len(block))
            fits = [_solve(gram - own_gram, cross - own_cross, r * others) for r in self._ridges]
            weight = torch.full((self._waves, 1, 1), 2.0)
            weight[0] = 1.0  # the others stand for their conjugates too
            for number, fit in enumerate(fits):
                missed = torch.view_as_real(x - s @ fit).square().sum(dim=-1) * weight
                square[number] += missed.sum(dim=(0, 1))
            here = torch.isin(block, kept)
            parts.append(torch.stack([self._to_longitudes(s[:, here] @ fit) for fit in fits]))
        best = square.argmin(dim=0)
        self.ridge[row] = torch.tensor(self._ridges)[best]
        forecasts = torch.cat(parts, dim=1)  # (ridges, E, C, W)
        penalties = [r * self._width * count for r in self._ridges]
        whole = torch.stack([_solve(gram, cross, penalty) for penalty in penalties])
        for channel, number in enumerate(best.tolist()):
            errors[:, channel, row] -= forecasts[number, :, channel]
        return torch.stack(
            [whole[number, ..., channel] for channel, number in enumerate(best.tolist())], dim=-1
        )

    def _pairs(
        self, near: Tensor, spectra: Tensor, row: int, days: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return predictors `(m, n, p)` and Fourier coefficients `(m, n, C)` of some days."""
        before = torch.stack([near[days - back] for back in range(self.past, 0, -1)], dim=1)
        return self._predictors(before), spectra[days, :, row].permute(2, 0, 1).contiguous()


def _meridional_modes(spectra: Tensor) -> Tensor:
    """Return the projections on the leading meridional EOFs of each wavenumber.

    Args:
        spectra: `(N, C, H, m)`.

    Returns:
        `(m, H, H)`, to be applied from the right.
    """
    found = []
    for wave in spectra.movedim(-1, 0):
        rows = wave.flatten(0, 1)
        variance, modes = torch.linalg.eigh((rows.mH @ rows).to(torch.complex128))
        share = variance.clamp(min=0).cumsum(0) / variance.sum().clamp(min=1e-30)
        modes = modes[:, share > _UNRESOLVED]
        found.append((modes @ modes.mH).to(spectra.dtype))
    return torch.stack(found)


def _solve(gram: Tensor, cross: Tensor, penalty: float) -> Tensor:
    """Solve penalised normal equations, `(m, p, p)` and `(m, p, C)`."""
    factor = torch.linalg.cholesky(gram + penalty * torch.eye(gram.shape[-1]))
    return torch.cholesky_solve(cross, factor)


def _without_ends(days: Tensor, time: Tensor, gap: int) -> Tensor:
    """Leave out the days of a block that are near its ends."""
    when = time[days]
    if len(days) == 0:
        return days
    return days[(when >= when[0] + gap) & (when <= when[-1] - gap)]
