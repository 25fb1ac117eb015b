"""The score model's conditional mean without observations, as a first guess.

For z_t = z + sigma n the denoiser returns E[z | z_t, c], c the encoded background. As sigma grows,
z_t contains less and less information about z,

    E[z | z_t, c] -> E[z | c],      D(sigma n, c; sigma) = E[z | c] + O(1 / sigma),

so that one evaluation at a high noise level is the conditional mean. The mean over a few draws of
n, half of them the negatives of the others, removes the terms that are odd in n: the error of the
conditional mean is then O(1 / sigma^2), a damping. A network is less accurate at levels far above
those at which it was trained. The decoder maps the mean to fields.

*In-sample errors.* The network was trained on the days of the archive, so that its errors there
are smaller than on other days. Its forecasts of the validation period, on which it was not
trained, show by how much: with the area-weighted mean square errors v of the validation period and
v' of the archive's days of the same season,

    inflation = (v / v')^1/2 per channel,     hindcast = x - inflation (x - x_f).

The archive's errors keep their pattern and have the size of errors on unseen days. (The best
checkpoint was chosen by its loss on the validation period, so that v is slightly too small.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.first_guess import FirstGuess
from slams.assimilators.last_result import LastResult, digest
from slams.assimilators.materials import Materials
from slams.assimilators.season import season_counts
from slams.diffusion.backend import Denoiser, KarrasDenoiser, time_of_sigma
from slams.grid import LatLonGrid
from slams.methods.specifications import SCORE_MEAN as SPEC
from slams.nn.latent_space import LatentSpace
from slams.normalisation import DAYS_PER_YEAR
from slams.runtime.seeds import generator

__all__ = ["ScoreMean", "build"]

# Windows passed through the networks at a time; limits the memory, not the result.
_CHUNK = 32
# Largest distance (days) between the days of year of a validation day and an archive day.
_SEASON = 15.0

# The last forecasts of an archive and the validation period, and the largest number of values that
# is kept (1 GB).
_kept = LastResult()
_MOST_KEPT = 250_000_000


@dataclass(eq=False, repr=False)
class ScoreMean(FirstGuess):
    """First guess by the conditional mean of the score model for the given background.

    Args:
        space: The trained VAE's latent space.
        denoiser: The trained denoiser of latent windows.
        grid: The grid, for area weights.
        seed: The experiment's seed.
        validation: Windows that the network was not trained on, with their backgrounds.
        sigma: The noise level, in standard deviations of a latent.
        draws: Number of noise draws, rounded up to an even number.

    Attributes:
        inflation: `(C,)` factor by which errors are larger on unseen days, after `fit`.
    """

    name = SPEC.name

    space: LatentSpace
    denoiser: Denoiser
    grid: LatLonGrid
    seed: int
    validation: Archive
    sigma: float = 8.0
    draws: int = 8

    def __post_init__(self) -> None:
        self.space.eval().requires_grad_(False)
        self.denoiser.eval().requires_grad_(False)
        days, factor = self.validation.fields.shape[1], self.space.encoder.factor
        shape = (days, len(self.space.mean), *self.grid.coarsen(factor).shape)
        keyed = generator(self.seed, "score mean")
        noise = torch.randn((self.draws + 1) // 2, *shape, generator=keyed)
        self._noise = torch.cat([noise, -noise])
        self._weights = self.grid.weights.to("cpu", torch.float64)[:, None]

    def hindcast(self, archive: Archive) -> Tensor:
        """Forecast the archive, with errors enlarged to their size on unseen days."""
        guesses, others = self._forecasts(archive, self.validation)
        unseen = self.validation.fields - others
        errors = archive.fields - guesses
        large = self._mean_square(unseen, self.validation.known)
        counts = season_counts(archive.time[:, 0], self.validation.time[:, 0], _SEASON)
        seen = self._mean_square(errors, archive.known, counts)
        self.inflation = (large / seen).sqrt().to(torch.float32)
        return archive.fields - self.inflation[:, None, None] * errors

    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        """Forecast windows; see `FirstGuess.forecast`."""
        device = background.device
        self.space.to(device)
        self.denoiser.to(device)
        condition = self.space.encode(background, known)
        season = (time[:, 0] / DAYS_PER_YEAR % 1).to(device, torch.float32)
        sigma = torch.tensor(self.sigma, dtype=torch.float64)
        level = time_of_sigma(sigma, self.denoiser.schedule).to(condition)
        total = torch.zeros_like(condition)
        for noise in self._noise.to(condition):
            x = (self.sigma * noise).expand_as(condition)
            total += self.denoiser(x, level, condition=condition, season=season).mean
        return self.space.decode(total / len(self._noise))

    def _forecasts(self, *archives: Archive) -> list[Tensor]:
        """Forecast archives, or reuse the results of equal networks for the same archives."""

        def forecast_all() -> list[Tensor]:
            return [self._forecast_archive(archive) for archive in archives]

        # Only a network is identified completely by its weights.
        if not isinstance(self.denoiser, KarrasDenoiser) or (
            sum(archive.fields.numel() for archive in archives) > _MOST_KEPT
        ):
            return forecast_all()
        tensors = [self._noise, *self.space.state_dict().values()]
        tensors += self.denoiser.state_dict().values()
        for archive in archives:
            tensors += [archive.background, archive.time]
            tensors += [] if archive.background_known is None else [archive.background_known]
        words = f"{self.space}/{self.denoiser}/{self.sigma}/{archives[0].background.device}"
        return _kept.get(digest(words, tensors), forecast_all)

    def _forecast_archive(self, archive: Archive) -> Tensor:
        parts = []
        with torch.no_grad():
            for days in torch.arange(len(archive.fields)).split(_CHUNK):
                known = archive.background_known
                known = None if known is None else known[days]
                parts.append(self.forecast(archive.background[days], archive.time[days], known))
        return torch.cat(parts)

    def _mean_square(
        self, errors: Tensor, known: Tensor | None, counts: Tensor | None = None
    ) -> Tensor:
        """Average squared errors over area, days and windows: `(C,)`.

        Args:
            errors: `(N, T, C, H, W)` normalised.
            known: Where the fields are known; `None` for everywhere.
            counts: `(N,)` weight of each window; `None` for 1.
        """
        total = torch.zeros(errors.shape[2], dtype=torch.float64)
        size = torch.zeros_like(total)
        for index, error in enumerate(errors):
            weight = self._weights * (1 if counts is None else int(counts[index]))
            weight = weight.expand(error.shape)
            if known is not None:
                weight = weight * known[index]
            total += (error.square() * weight).sum(dim=(0, 2, 3))
            size += weight.sum(dim=(0, 2, 3))
        return total / size.clamp(min=1e-12)


def build(materials: Materials) -> ScoreMean:
    """Build the first guess of a recipe, see `slams.plugins.methods.FirstGuessSpec`."""
    space, denoiser = materials.networks.latent_score()
    unseen = materials.archive("validation")
    settings = materials.settings_of(SPEC.name)
    return ScoreMean(space, denoiser, materials.grid, materials.seed, unseen, **settings)
