"""Errors of a latent denoiser on archive days, which are encoded, noised and denoised.

Guidance needs the covariance of the denoiser's errors at each noise level. It is measured on
evenly spaced days of the training period, each with its own background; the size of the errors is
measured on days of the validation period (`slams.assimilators.unseen_errors`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.decoding import decoding_errors, encode_windows
from slams.assimilators.last_result import LastResult, digest
from slams.assimilators.marginals import MarginalMap
from slams.assimilators.unseen_errors import error_scale, interpolated, measured_levels
from slams.diffusion.backend import Denoiser, KarrasDenoiser, time_of_sigma
from slams.diffusion.posterior.background import (
    BackgroundDenoiser,
    BackgroundGain,
    day_folds,
)
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.fields import ObservationOperator
from slams.nn.latent_space import LatentSpace
from slams.normalisation import DAYS_PER_YEAR, Normaliser
from slams.runtime.seeds import generator

__all__ = ["DenoisingArchive"]

# Windows passed through the networks at a time; limits the memory, not the result.
_CHUNK = 32

# The last denoised archive, and the largest number of values that is kept (1 GB).
_kept = LastResult()
_kept_unseen = LastResult()
_MOST_KEPT = 250_000_000


@dataclass(eq=False, repr=False)
class DenoisingArchive:
    """Archive days, encoded once, on which the errors of denoisers are measured.

    Args:
        archive: Windows of the training period with their backgrounds.
        space: The latent space.
        sd: `(C, H, W)` standard deviations that normalise the fields.
        levels: `(L,)` noise levels of the sampler.
        count: Largest number of days to use, evenly spaced.
        seed: The experiment's seed.
        unseen: Whether the days are of the validation period, to which nothing was fitted.
    """

    archive: Archive
    space: LatentSpace
    sd: Tensor
    levels: Tensor
    count: int
    seed: int
    unseen: bool = False

    def __post_init__(self) -> None:
        self.device, total = self.sd.device, len(self.archive.fields)
        self.days = torch.linspace(0, total - 1, min(self.count, total)).round().long().unique()
        season = self.archive.time[self.days, 0] / DAYS_PER_YEAR % 1
        self.season = season.to(self.device, torch.float32)
        self.truth = self._encode(self.archive.fields, self.archive.known)

    @cached_property
    def background(self) -> Tensor:
        """Return the encoded backgrounds, `(n, T, K, h, w)`."""
        return self._encode(self.archive.background, self.archive.background_known)

    def fit_background(self, denoiser: Denoiser, near: Tensor, both: bool) -> BackgroundDenoiser:
        """Regress denoising errors on the background's innovations at every noise level.

        Args:
            denoiser: The trained denoiser.
            near: `(S, p)` points whose background corrects a point.
            both: Whether the background is passed to the denoiser as well.

        Raises:
            UserError: There are too few days, see `BackgroundGain.fit`.
        """
        gains = []
        for level in range(len(self.levels)):
            chunks = [mean for _, mean in self._denoise(denoiser, level, both)]
            denoised = torch.cat(chunks)
            gains.append(BackgroundGain.fit(self.truth, self.background, denoised, near))
        return BackgroundDenoiser(denoiser, self.levels, gains, both)

    def errors(
        self,
        denoiser: Denoiser,
        operators: tuple[ObservationOperator, ...],
        conditioned: bool,
        scale: Tensor | None = None,
    ) -> list[DenoisingErrors]:
        """Measure denoising errors at every noise level, in latent space and at observed points.

        Args:
            denoiser: The denoiser as it is used.
            operators: `H` of the network.
            conditioned: Whether the background is passed to it.
            scale: `(L, K)` factor on the errors of each latent channel; 1 by default.
        """
        errors = []
        for level, chunks in enumerate(self._means(denoiser, conditioned)):
            latent, observed = [], []
            for at, mean in chunks:
                if scale is not None:  # in latent space, so that observed errors are scaled too
                    factor = scale[level].to(mean).reshape(-1, 1, 1)
                    mean = self.truth[at] - factor * (self.truth[at] - mean)
                latent.append(self.truth[at] - mean)
                observed.append(self._seen(mean, self.days[at], operators))
            errors.append(DenoisingErrors.centred(torch.cat(latent), torch.cat(observed)))
        return errors

    def scale(self, denoiser: Denoiser, conditioned: bool, unseen: DenoisingArchive) -> Tensor:
        """Measure how much larger errors are on days that the network was not trained on.

        Args:
            denoiser: The denoiser as it is used.
            conditioned: Whether the background is passed to it.
            unseen: Days of the validation period, at the same noise levels.

        Returns:
            `(L, K)`, see `slams.assimilators.unseen_errors`.
        """
        at = measured_levels(len(self.levels))
        times = [days.archive.time[days.days, 0] for days in (self, unseen)]
        known = [
            self._mean_square(chunks)
            for level, chunks in enumerate(self._means(denoiser, conditioned))
            if level in at
        ]
        new = unseen._means(denoiser, conditioned, at)
        measured = [
            error_scale(seen, times[0], unseen._mean_square(chunks), times[1])
            for seen, chunks in zip(known, new, strict=True)
        ]
        return interpolated(torch.stack(measured), at, self.levels)

    def _mean_square(self, chunks: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """Average the squared errors of each day over its window and points, `(n, K)` float64."""
        days = torch.zeros(len(self.truth), self.truth.shape[2], dtype=torch.float64)
        for at, mean in chunks:
            error = (self.truth[at] - mean).to("cpu", torch.float64)
            days[at] = error.square().mean(dim=(1, 3, 4))
        return days

    def decoder_variance(self, operators: tuple[ObservationOperator, ...]) -> Tensor:
        """Measure the variance of the decoder's error at a network's points, `(T * P_total,)`.

        Args:
            operators: `H` of the network.
        """
        chunks = zip(self.truth.split(_CHUNK), self.days.split(_CHUNK), strict=True)
        error = torch.cat([self._seen(z, days, operators) for z, days in chunks])
        return error.square().mean(dim=0)

    def marginals(self, normaliser: Normaliser) -> dict[int, MarginalMap]:
        """Fit the map of every channel with dry days; return them by the channel's number.

        Args:
            normaliser: Climatology, standard deviations and transforms.
        """
        wet = [i for i, c in enumerate(normaliser.channels) if c.transform == "log1p"]
        decoded = torch.cat([self.space.decode(z)[:, :, wet] for z in self.truth.split(_CHUNK)])
        fields = self.archive.fields[self.days][:, :, wet].to(self.device)
        climatology = normaliser.climatology(self.archive.time[self.days])[:, :, wet]
        climatology, sd = climatology.to(self.device), self.sd[wet]
        decoded, fields = decoded * sd + climatology, fields * sd + climatology
        return {
            channel: MarginalMap.fit(decoded[:, :, at], fields[:, :, at])
            for at, channel in enumerate(wet)
        }

    def _encode(self, fields: Tensor, known: Tensor | None) -> Tensor:
        known = None if known is None else known[self.days]
        return encode_windows(self.space, fields[self.days], known, self.device)

    def _seen(
        self, latents: Tensor, days: Tensor, operators: tuple[ObservationOperator, ...]
    ) -> Tensor:
        """Observe the difference between the fields of some days and their decoded latents."""
        errors = decoding_errors(self.space, latents, self.archive, days, operators, self.sd)
        return errors.flatten(1)

    def _means(
        self, denoiser: Denoiser, conditioned: bool, levels: Sequence[int] | None = None
    ) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
        """Denoise at some levels (all by default), or reuse the result of an equal network."""
        levels = range(len(self.levels)) if levels is None else levels
        kept = _kept_unseen if self.unseen else _kept
        # Only a network is identified completely by its weights.
        if not isinstance(denoiser, KarrasDenoiser) or (
            self.truth.numel() * len(levels) > _MOST_KEPT
        ):
            for level in levels:
                yield self._denoise(denoiser, level, conditioned)
            return

        def denoise_all() -> list[Tensor]:
            return [
                torch.cat([mean for _, mean in self._denoise(denoiser, level, conditioned)])
                for level in levels
            ]

        for means in kept.get(self._digest(denoiser, conditioned), denoise_all):
            days = torch.arange(len(means))
            yield zip(days.split(_CHUNK), means.split(_CHUNK), strict=True)

    def _digest(self, denoiser: Denoiser, conditioned: bool) -> bytes:
        """Return the digest of everything that the denoised latents depend on."""
        tensors = [self.truth, self.season, self.levels, *denoiser.state_dict().values()]
        tensors += [self.background] if conditioned else []
        return digest(f"{denoiser}/{self.seed}/{conditioned}/{self.device}", tensors)

    def _denoise(
        self, denoiser: Denoiser, level: int, conditioned: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Add noise of a level and denoise, chunk by chunk.

        Yields:
            Positions `(b,)` among the days and denoised latents `(b, T, K, h, w)`.
        """
        truth = self.truth
        sigma = self.levels[level].to(truth)
        time = time_of_sigma(sigma, denoiser.schedule)
        noise = torch.randn(
            truth.shape, generator=generator(self.seed, "denoising errors", level)
        ).to(truth)
        parts = [torch.arange(len(truth))]
        # Days to which no gain was fitted need no gain that held them out.
        regressed = isinstance(denoiser, BackgroundDenoiser) and not self.unseen
        if regressed:
            fold = day_folds(len(truth))
            parts = [torch.nonzero(fold == k).flatten() for k in fold.unique()]
        for number, part in enumerate(parts):
            # Use a gain that was not fitted to these days, just as it was not fitted to the case.
            unseen = {"fold": number} if regressed else {}
            for at in part.split(_CHUNK):
                posterior = denoiser(
                    truth[at] + sigma * noise[at],
                    time,
                    condition=self.background[at] if conditioned else None,
                    season=self.season[at],
                    **unseen,
                )
                yield at, posterior.mean
