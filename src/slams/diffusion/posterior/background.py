r"""The background as an observation of the latent state, with the covariance of its error.

The errors of a background are correlated between all points and fields, so that a diagonal `R`
would count the same information many times. In latent space, with the encoded backgrounds `z_b` of
the archive,

    z_b = a z + b + eta,    eta uncorrelated with z        (a, b: one number per component)

(`a = 1` if the error of the background is independent of the truth; `a < 1` for damped
persistence). At each noise level the innovation of the background relative to the denoiser is

    d = z_b - a D(z_t) - b = a e_z + eta,    e_z = z - D(z_t),

and the denoiser conditioned on the background is

    E[z | z_t, z_b] = D + G_sigma d,    G_sigma = Cov(e_z, d) Cov(d)^-1,

with both covariances estimated from archive days. Observations then correct the errors of *this*
denoiser, `e_z - G_sigma d`, each day with its own background, so that background and observations
enter one after the other and no information counts twice (sequential processing of observations
with independent errors).

This is exact for a Gaussian prior and a Gaussian background whose regression on the truth is
diagonal. The only assumption about `D` is that its errors were measured: if it is already
conditioned on the background and uses it well, `e_z` is uncorrelated with `d` and `G_sigma` is
zero.

Localisation: the correction of a latent point is computed from the backgrounds of the few points
nearest to it (all their fields), by least squares. Because `p` numbers are estimated from `n`
days, the gain is noisy by `p / n` of the error's variance; errors are therefore measured on days
that were not used to fit the gain (`held_out`), or they would be too small by twice as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior, WrappedDenoiser
from slams.errors import UserError

__all__ = ["BackgroundDenoiser", "BackgroundGain", "day_folds"]

# Parts of the archive, each held out once.
_FOLDS = 5

# Added to the diagonal of Cov(d), as a share of its mean.
_RIDGE = 1e-6

# Latent points whose regressions are solved together; limits the memory, not the result.
_POINTS = 32


def day_folds(count: int) -> Tensor:
    """Return the fold of each day of an archive, `(n,)`; a fold is a contiguous range of days."""
    return torch.arange(count) * _FOLDS // count


@dataclass(frozen=True)
class BackgroundGain:
    """Regression on the background at one noise level.

    There are `F` features (days x latent channels) at `S` horizontal points, and `p` nearby points
    for each of them.

    Attributes:
        slope: `(F, S)` a.
        offset: `(F, S)` b.
        near: `(S, p)` int64 points whose background corrects a point.
        weights: `(S, p * F, F)` G, features of the nearest point first.
        held_out: The same, fitted without the days of a fold, one entry per fold.
    """

    slope: Tensor
    offset: Tensor
    near: Tensor
    weights: Tensor
    held_out: tuple[Tensor, ...]

    @classmethod
    def fit(
        cls, latents: Tensor, background: Tensor, denoised: Tensor, near: Tensor
    ) -> BackgroundGain:
        """Fit the regression to archive days.

        Args:
            latents: `(n, T, K, h, w)` encoded truth.
            background: `(n, T, K, h, w)` encoded backgrounds.
            denoised: `(n, T, K, h, w)` D at one noise level.
            near: `(S, p)` int64, see `BackgroundGain`.

        Raises:
            UserError: There are fewer than two days per predictor of a point.
        """
        z, z_b, mean = (x.flatten(1, 2).flatten(2) for x in (latents, background, denoised))
        predictors = near.shape[1] * z.shape[1]
        if len(z) < 2 * predictors:
            raise UserError(
                f"key 'assimilation.guidance.archive': found {len(z)} days for a background of "
                f"{predictors} numbers per latent point, expected at least {2 * predictors}; "
                "raise it, or lower assimilation.guidance.background_points"
            )
        centred = z - z.mean(dim=0)
        power = centred.square().sum(dim=0).clamp(min=torch.finfo(z.dtype).tiny)
        slope = (centred * (z_b - z_b.mean(dim=0))).sum(dim=0) / power
        offset = z_b.mean(dim=0) - slope * z.mean(dim=0)
        departure = z_b - slope * mean - offset
        error = z - mean
        fold = day_folds(len(z)).to(z.device)
        weights = _regress(error, departure, near)
        held_out = [_regress(error[fold != k], departure[fold != k], near) for k in range(_FOLDS)]
        return cls(slope, offset, near, weights, tuple(held_out))

    def correct(self, denoised: Tensor, background: Tensor, fold: int | None = None) -> Tensor:
        """Return `D + G d`.

        Args:
            denoised: `(M, T, K, h, w)` D.
            background: `(M, T, K, h, w)` encoded background.
            fold: Use the gain that was fitted without this fold of the archive.
        """
        weights = self.weights if fold is None else self.held_out[fold]
        mean, z_b = (x.flatten(1, 2).flatten(2) for x in (denoised, background))
        departure = z_b - self.slope * mean - self.offset
        increment = torch.bmm(_gather(departure, self.near), weights.to(mean))  # (S, M, F)
        return denoised + increment.permute(1, 2, 0).reshape(denoised.shape)


def _gather(departure: Tensor, near: Tensor) -> Tensor:
    """Gather the predictors of each point: `(M, F, S)` and `(S, p)` to `(S, M, p * F)`."""
    return departure[:, :, near].permute(2, 0, 3, 1).flatten(2)


def _regress(error: Tensor, departure: Tensor, near: Tensor) -> Tensor:
    """Return Cov(d)^-1 Cov(d, e_z) of every point, `(S, p * F, F)`."""
    error = (error - error.mean(dim=0)).to(torch.float64)
    departure = (departure - departure.mean(dim=0)).to(torch.float64)
    found = []
    for points in torch.arange(len(near), device=near.device).split(_POINTS):
        x = _gather(departure, near[points])  # (s, n, p * F)
        y = error[:, :, points].permute(2, 0, 1)  # (s, n, F)
        covariance = x.mT @ x
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        diagonal += _RIDGE * diagonal.mean(dim=-1, keepdim=True)
        found.append(torch.linalg.solve(covariance, x.mT @ y))
    return torch.cat(found)


class BackgroundDenoiser(WrappedDenoiser):
    """A denoiser corrected by the background as an observation, which is passed as `condition`.

    Args:
        denoiser: Denoiser `D` of `(M, T, K, h, w)`.
        levels: `(L,)` noise levels of the gains.
        gains: One entry per level.
        conditioned: Whether the background is passed to `D` as well.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        gains: Sequence[BackgroundGain],
        conditioned: bool,
    ) -> None:
        super().__init__(denoiser)
        self.levels = levels
        self.gains = list(gains)
        self.conditioned = conditioned

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Tensor,
        fold: int | None = None,
        **others: Tensor,
    ) -> DiracPosterior:
        """Return `E[z | z_t, z_b]` for `(M, T, K, h, w)` states at one time `()`.

        Args:
            x_t: States.
            t: Time.
            condition: `(M, T, K, h, w)` encoded background.
            fold: See `BackgroundGain.correct`.
            others: Passed to the denoiser.
        """
        _, sigma_t = self.schedule(t)
        level = int((self.levels.log() - sigma_t.log().to(self.levels)).abs().argmin())
        seen = condition if self.conditioned else None
        mean = self.denoiser(x_t, t, condition=seen, **others).mean
        return DiracPosterior(mean=self.gains[level].correct(mean, condition, fold))
