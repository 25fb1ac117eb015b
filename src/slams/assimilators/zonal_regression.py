r"""A linear forecast of one day, the same at all longitudes of a row.

Regressing the state on that of the whole globe takes more days than there are. Weather obeys the
same laws at all longitudes, so that the regression of a row may be pooled over them: it is then a
convolution, and each zonal wavenumber m has a regression of its own. With X(t) the Fourier
coefficients of the normalised state, the predictors s of row j are those of all channels, of the
rows within `rows` of j and of the last L days (L C R complex numbers), and

    A_jm = [sum s s^H + alpha n W I]^-1 sum s x^H,      x_f = A_jm^H s,

over n days of W longitudes. Wavenumbers from `waves` on are not forecast: their forecast is zero,
and so is that of the meridional modes (EOFs over the rows, of all channels together) with the last
0.1 % of a wavenumber's variance. Surface and land enter through the climatology only.

*The penalty* is that of white noise of variance alpha in the predictors. Each row is fitted by
itself: forecasts of forecasts may grow without bound, in patterns of which the training days have
next to nothing and members have some. Alpha is therefore the smallest of some with which they do
not.

*Cross-validation.* The training days are divided into contiguous blocks; each is forecast by a fit
to the others, and days within `gap` of the end of a block are left out, since both sides share
their weather. The errors of these forecasts are those of the forecast (`MemberForecast.errors`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.member_forecast import MemberForecast, last_days
from slams.errors import UserError
from slams.runtime.seeds import generator

__all__ = ["ZonalRegression"]

# Share of the variance in meridional modes that a wavenumber's forecast leaves out.
_UNRESOLVED = 1e-3
# States, and days that they are forecast, to see whether forecasts of forecasts grow.
_STATES, _ITERATIONS = 2, 80
# Days whose Fourier coefficients are computed at a time; limits the temporaries.
_DAYS = 32


class ZonalRegression(MemberForecast):
    """Forecast by a regression for each row and zonal wavenumber.

    Args:
        days: Single days of the training period, `(N, 1, C, H, W)` normalised, in order of time.
        past: Days `L` that a forecast is made from.
        rows: Rows to either side whose states are predictors.
        waves: Number of zonal wavenumbers that are forecast, from 0 on.
        ridges: Penalties alpha to choose from, normalised variances, in ascending order.
        folds: Blocks of the cross-validation.
        gap: Days at the ends of a block that are left out.
        archive: Largest number of days whose errors are kept, evenly spaced.
        note: Called with a description of each step.

    Attributes:
        ridge: The chosen penalty.
        variance: `(C, H, W)` mean square of the errors, normalised.

    Raises:
        UserError: The training period has too few consecutive days, or forecasts of forecasts grow
            with every penalty.
    """

    def __init__(
        self,
        days: Archive,
        past: int = 2,
        rows: int = 2,
        waves: int = 32,
        ridges: Sequence[float] = (0.1, 0.2, 0.4, 0.8),
        folds: int = 5,
        gap: int = 10,
        archive: int = 1500,
        note: Callable[[str], None] = lambda doing: None,
    ) -> None:
        self.days, self.past = days, past
        self._height, self._width = days.fields.shape[3:]
        self._rows = min(2 * rows + 1, self._height)
        self._waves = min(waves, self._width // 2 + 1)
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
        self.ridge = self._stable(tuple(ridges), spectra, used, note)
        for row in range(self._height):
            note(f"errors of the forecast of members: row {row + 1} of {self._height}")
            self._take_forecasts(row, spectra, blocks, kept, errors)
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

    def _stable(
        self, ridges: Sequence[float], spectra: Tensor, days: Tensor, note: Callable[[str], None]
    ) -> float:
        """Fit all rows, and keep the fit with the smallest penalty whose forecasts do not grow."""
        fits: list[list[Tensor]] = [[] for _ in ridges]
        for row in range(self._height):
            note(f"forecast of members: row {row + 1} of {self._height}")
            s, x = self._pairs(spectra[:, :, self._near(row)], spectra, row, days)
            gram, cross = s.mH @ s, s.mH @ x
            for fit, ridge in zip(fits, ridges, strict=True):
                fit.append(_solve(gram, cross, ridge * self._width * len(days)))
        for fit, ridge in zip(fits, ridges, strict=True):
            self._coefficients = torch.stack(fit)  # (H, m, p, C)
            if self._growth() < 1:
                return ridge
        raise UserError(
            f"assimilation.member_forecast.ridges: forecasts of forecasts grow with each of "
            f"{', '.join(f'{ridge:g}' for ridge in ridges)}; expected larger ones"
        )

    def _growth(self) -> float:
        """Return the factor per day by which forecasts of forecasts grow in the end."""
        draw = generator(0, "zonal_regression/growth")
        shape = (_STATES, self.past, self.days.fields.shape[2], self._height, self._width)
        states, sizes = torch.randn(shape, generator=draw), []
        for _ in range(_ITERATIONS):
            states = torch.cat([states[:, 1:], self.forecast(states)[:, None]], dim=1)
            sizes.append(float(states.norm()))
            states = states / max(sizes[-1], 1e-30)
        last = sizes[-_ITERATIONS // 2 :]
        return math.exp(sum(math.log(max(size, 1e-30)) for size in last) / len(last))

    def _take_forecasts(
        self, row: int, spectra: Tensor, blocks: Sequence[Tensor], kept: Tensor, errors: Tensor
    ) -> None:
        """Turn one row of the kept fields into errors, by fits to the other blocks.

        Args:
            row: The row.
            spectra: `(N, C, H, m)`.
            blocks: Verifying days of each block.
            kept: `(E,)` verifying days whose errors are kept, in order.
            errors: `(E, C, H, W)` their fields, changed in place.
        """
        near = spectra[:, :, self._near(row)]
        pairs = [self._pairs(near, spectra, row, block) for block in blocks]
        sums = [(s.mH @ s, s.mH @ x) for s, x in pairs]
        gram, cross = (sum(part) for part in zip(*sums, strict=True))
        count, first = sum(map(len, blocks)), 0
        for block, (s, _), (own_gram, own_cross) in zip(blocks, pairs, sums, strict=True):
            penalty = self.ridge * self._width * (count - len(block))
            fit = _solve(gram - own_gram, cross - own_cross, penalty)
            here = torch.isin(block, kept)
            last = first + int(here.sum())
            errors[first:last, :, row] -= self._to_longitudes(s[:, here] @ fit)
            first = last

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
