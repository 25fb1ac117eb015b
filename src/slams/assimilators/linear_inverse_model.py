"""A linear inverse model: the truth regressed on empirical orthogonal functions of the background.

With the archive's backgrounds b_i and truths x_i (normalised, all channels and days of a window
in one vector, w the area weights),

    EOFs       V = leading eigenvectors of sum_i (w^1/2 b_i)(w^1/2 b_i)^T, eigenvalues lambda_k
    scores     s = V^T w^1/2 b                        (K,)
    regression A = [sum_i s_i s_i^T + alpha I]^-1 sum_i s_i x_i^T,   alpha = ridge * mean(lambda)
    forecast   x_f = A^T s + gamma (b - w^-1/2 V s)

(Penland and Sardeshmukh 1995, J. Climate 8, 1999-2024, with a penalty instead of a strict
truncation). The penalty draws the forecast towards the climatology. The last term keeps the part
of the background that the EOFs do not represent, damped by one factor gamma per channel.

*Cross-validation.* The archive is divided into contiguous blocks of days; each is forecast by a
model fitted to the others, without the days next to it, whose weather is the same. These forecasts
determine the ridge of each channel (that of the least area-weighted squared error), gamma
(regression of the error on the remainder), and the errors from which assimilation methods estimate
covariances. The model for new dates is then fitted to the whole archive.

EOFs are computed from the Gram matrix of the N days or, if it is smaller, that of the D values of
a window; a fit costs O(N^2 D).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.first_guess import FirstGuess
from slams.assimilators.materials import Materials
from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.methods.specifications import LINEAR_INVERSE_MODEL as SPEC

__all__ = ["LinearInverseModel", "build"]

# EOFs with less than this fraction of the first one's variance are rounding errors.
_SMALLEST_SHARE = 1e-6


@dataclass(frozen=True)
class _Regression:
    """Fit without its penalty, which is cheap to apply afterwards.

    Attributes:
        eofs: `(K, D)` V^T w^1/2, from normalised backgrounds to scores.
        patterns: `(K, D)` V^T w^-1/2, from scores to normalised backgrounds.
        variance: `(K,)` lambda.
        products: `(K, T, C, H, W)` sum_i s_i x_i^T.
    """

    eofs: Tensor
    patterns: Tensor
    variance: Tensor
    products: Tensor

    def scores(self, background: Tensor) -> Tensor:
        """Project `(n, T, C, H, W)` on the EOFs; return `(n, K)`."""
        return background.flatten(1) @ self.eofs.T

    def coefficients(self, ridge: Tensor) -> Tensor:
        """Return the coefficients `A`, `(K, T, C, H, W)`, for penalties `(C,)`."""
        shrunk = self.variance[:, None] + ridge * self.variance.mean()
        return self.products / shrunk[:, None, :, None, None]

    def rest(self, background: Tensor, scores: Tensor) -> Tensor:
        """Return the part of a background that the EOFs do not represent."""
        return background - (scores @ self.patterns).reshape(background.shape)


@dataclass(eq=False, repr=False)
class LinearInverseModel(FirstGuess):
    """First guess by a penalised regression of the truth on the background.

    Args:
        grid: The grid, for area weights.
        eofs: Largest number of EOFs `K`.
        ridges: Penalties to choose from, in units of the mean variance of a score.
        folds: Blocks of the cross-validation.
        gap: Days next to a block that are not used to fit its model.

    Attributes:
        ridge: `(C,)` the chosen penalties, after `fit`.
        gamma: `(C,)` the factors of the remainder, after `fit`.
    """

    name = SPEC.name

    grid: LatLonGrid
    eofs: int = 200
    ridges: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
    folds: int = 5
    gap: float = 10.0

    def __post_init__(self) -> None:
        self.ridges = tuple(self.ridges)
        weights = self.grid.weights.to("cpu", torch.float32)
        self._weights = weights[:, None].expand(self.grid.shape)

    def hindcast(self, archive: Archive) -> Tensor:
        """Fit, and forecast each block from the others.

        Raises:
            UserError: A block leaves too few days to fit its model.
        """
        errors = sum(
            self._errors(archive, regression, held) for held, regression in self._blocks(archive)
        )
        ridges = torch.tensor(self.ridges)
        self.ridge = ridges[errors.argmin(dim=0)]
        forecasts = torch.empty(archive.background.shape)
        rests = torch.empty(archive.background.shape)
        for held, regression in self._blocks(archive):
            background = archive.background[held]
            scores = regression.scores(background)
            coefficients = regression.coefficients(self.ridge)
            forecasts[held] = torch.einsum("nk,ktchw->ntchw", scores, coefficients)
            rests[held] = regression.rest(background, scores)
        error = (archive.fields - forecasts) * self._weights
        explained = (error * rests).sum(dim=(0, 1, 3, 4))
        size = (rests.square() * self._weights).sum(dim=(0, 1, 3, 4))
        self.gamma = torch.where(size > 0, explained / size.clamp(min=1e-12), 0.0).clamp(0, 1)
        forecasts += self.gamma[:, None, None] * rests
        whole = self._regress(archive, torch.arange(len(archive.fields)))
        coefficients = whole.coefficients(self.ridge).flatten(1)
        self._model = whole.eofs, whole.patterns, coefficients, self.gamma
        return forecasts

    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        """Forecast windows; see `FirstGuess.forecast`. The season is not used."""
        self._model = tuple(part.to(background.device) for part in self._model)
        eofs, patterns, coefficients, gamma = self._model
        scores = background.flatten(1) @ eofs.T
        rest = background - (scores @ patterns).reshape(background.shape)
        return (scores @ coefficients).reshape(background.shape) + gamma[:, None, None] * rest

    def _blocks(self, archive: Archive) -> Iterator[tuple[Tensor, _Regression]]:
        """Yield the windows of each block and the model fitted to the others."""
        first, last = archive.time[:, 0].cpu(), archive.time[:, -1].cpu()
        for held in torch.argsort(first).tensor_split(self.folds):
            if len(held) == 0:
                continue
            after = first > last[held].max() + self.gap
            before = last < first[held].min() - self.gap
            rest = torch.nonzero(after | before).flatten()
            if len(rest) < 2:
                raise UserError(
                    f"assimilation.linear_inverse_model: one of {self.folds} blocks of the "
                    f"{len(first)} training windows leaves {len(rest)} windows further than "
                    f"{self.gap:g} days from it, expected at least 2; lengthen data.splits.train "
                    "or shorten assimilation.linear_inverse_model.gap"
                )
            yield held, self._regress(archive, rest)

    def _regress(self, archive: Archive, days: Tensor) -> _Regression:
        """Fit to some windows of the archive."""
        root = self._weights.sqrt()
        shape = archive.fields.shape[1:]
        variance, eofs, scores = _leading((archive.background[days] * root).flatten(1), self.eofs)
        products = (scores @ archive.fields[days].flatten(1)).reshape(-1, *shape)
        spread = root.expand(shape).flatten()
        return _Regression(eofs * spread, eofs / spread, variance, products)

    def _errors(self, archive: Archive, regression: _Regression, held: Tensor) -> Tensor:
        """Sum the squared errors of a block; return `(R, C)`, one row per ridge."""
        scores = regression.scores(archive.background[held])
        rows = []
        for ridge in self.ridges:
            every = torch.full((archive.fields.shape[2],), ridge)
            forecast = torch.einsum("nk,ktchw->ntchw", scores, regression.coefficients(every))
            error = (archive.fields[held] - forecast).square() * self._weights
            rows.append(error.sum(dim=(0, 1, 3, 4), dtype=torch.float64))
        return torch.stack(rows)


def _leading(weighted: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the leading EOFs of `(N, D)` weighted backgrounds, through the smaller Gram matrix.

    Returns:
        Sums of squared scores `(K,)`, EOFs `(K, D)` and scores `(K, N)`.
    """
    by_day = len(weighted) <= weighted.shape[1]
    gram = weighted @ weighted.T if by_day else weighted.T @ weighted
    variance, vectors = torch.linalg.eigh(gram.to(torch.float64))
    variance, vectors = variance.flip(0)[:count], vectors.flip(1)[:, :count].T
    kept = variance > max(_SMALLEST_SHARE * float(variance[0]), 1e-12)
    if not bool(kept.any()):  # all backgrounds are zero, and the forecast is zero too
        kept[0], variance = True, variance.clamp(min=1.0)
    variance, vectors = variance[kept], vectors[kept]
    if not by_day:
        eofs = vectors.to(weighted)
        return variance.to(weighted), eofs, eofs @ weighted.T
    scale = variance.sqrt()[:, None]
    eofs = (vectors / scale).to(weighted) @ weighted
    return variance.to(weighted), eofs, (vectors * scale).to(weighted)


def build(materials: Materials) -> LinearInverseModel:
    """Build the first guess of a recipe, see `slams.plugins.methods.FirstGuessSpec`."""
    return LinearInverseModel(materials.grid, **materials.settings_of(SPEC.name))
