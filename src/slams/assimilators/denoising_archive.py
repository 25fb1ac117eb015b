"""Errors of a latent denoiser on archive days, which are encoded, noised and denoised.

Guidance needs the covariance of the denoiser's errors at each noise level. It is measured on
evenly spaced days of the training period, each with its own background; the size of the errors is
measured on days of the validation period (`slams.assimilators.unseen_errors`).

What is measured is kept (`slams.runtime.kept_tensors`) under the fingerprint of everything that it
depends on: the errors in latent space, which depend on no observation, and the same errors at the
points of a network of observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from slams.assimilators.background_residual import BackgroundResidual
from slams.assimilators.base import Archive
from slams.assimilators.decoding import decoding_errors, encode_windows, network_probe
from slams.assimilators.field_text import describe_fields
from slams.assimilators.last_result import digest
from slams.assimilators.level_errors import HalfTensor, LevelErrors
from slams.assimilators.marginals import MarginalMap
from slams.assimilators.unseen_errors import error_scale, interpolated, measured_levels
from slams.diffusion.backend import Denoiser, KarrasDenoiser, time_of_sigma
from slams.diffusion.posterior.background import (
    BackgroundDenoiser,
    BackgroundGain,
    day_folds,
)
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.fields import ObservationOperator
from slams.nn.latent_space import LatentSpace
from slams.normalisation import DAYS_PER_YEAR, Normaliser
from slams.runtime.kept_tensors import KeptTensors, MemoryTensors
from slams.runtime.seeds import generator

__all__ = ["DenoisingArchive"]

# Windows passed through the networks at a time; limits the memory, not the result.
_CHUNK = 32
# Part of every fingerprint; another one for another content of the files.
_VERSION = 1


@dataclass(eq=False, repr=False)
class DenoisingArchive:
    """Archive days on which the errors of denoisers are measured.

    Args:
        archive: Windows of the training period with their backgrounds.
        space: The latent space.
        sd: `(C, H, W)` standard deviations that normalise the fields.
        levels: `(L,)` noise levels of the sampler.
        count: Largest number of days to use, evenly spaced.
        seed: The experiment's seed.
        unseen: Whether the days are of the validation period, to which nothing was fitted.
        measured: Indices of the noise levels at which errors are measured, see `LevelErrors`;
            `None` for all.
        kept: Where measured errors are kept; by default in memory.
    """

    archive: Archive
    space: LatentSpace
    sd: Tensor
    levels: Tensor
    count: int
    seed: int
    unseen: bool = False
    measured: Sequence[int] | None = None
    kept: KeptTensors = field(default_factory=MemoryTensors)

    def __post_init__(self) -> None:
        self.device, total = self.sd.device, len(self.archive.fields)
        self.days = torch.linspace(0, total - 1, min(self.count, total)).round().long().unique()
        season = self.archive.time[self.days, 0] / DAYS_PER_YEAR % 1
        self.season = season.to(self.device, torch.float32)
        every = range(len(self.levels))
        self.at = list(every if self.measured is None else self.measured)

    @cached_property
    def truth(self) -> Tensor:
        """Return the encoded fields, `(n, T, K, h, w)`."""
        return self._encode(self.archive.fields, self.archive.known)

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
        lost: BackgroundResidual | None = None,
    ) -> LevelErrors:
        """Measure denoising errors at every noise level, in latent space and at observed points.

        Args:
            denoiser: The denoiser as it is used.
            operators: `H` of the network.
            conditioned: Whether the background is passed to it.
            scale: `(L, K)` factor on the errors of each latent channel; 1 by default.
            lost: Offset of decoded fields, see `decoding_errors`.
        """
        latent = list(self.latent(denoiser, conditioned))
        channels = latent[0].values.shape[2]
        factor = torch.ones(len(self.levels), channels) if scale is None else scale
        factor = factor[self.at].to("cpu", torch.float32)
        key = self._fingerprint(denoiser, conditioned)
        network = key and digest(key, [factor, *self._observing(operators, lost)]).hex()
        observed = []
        for number, errors in enumerate(latent):
            # In latent space, so that observed errors are scaled too.
            weight = factor[number].reshape(-1, 1, 1)

            def observe(errors: HalfTensor = errors, weight: Tensor = weight) -> HalfTensor:
                parts = []
                for at in torch.arange(len(self.days)).split(_CHUNK):
                    error = HalfTensor(errors.values[at], errors.scale * weight).full(self.device)
                    denoised = self.truth[at] - error
                    parts.append(self._seen(denoised, self.days[at], operators, lost))
                whole = torch.cat(parts)
                # Only their covariances are used: less is lost if their mean is removed first.
                return HalfTensor.of(whole - whole.mean(dim=0), (0,))

            name = f"network/{network}/{self.at[number]:03d}"
            observed.append(self._keep(name if network else "", observe))
        return LevelErrors(self.levels, self.at, latent, observed, factor, self.device)

    def latent(self, denoiser: Denoiser, conditioned: bool) -> Iterator[HalfTensor]:
        """Measure denoising errors in latent space, or read those of an equal network.

        Args:
            denoiser: The denoiser as it is used.
            conditioned: Whether the background is passed to it.

        Yields:
            `(n, T, K, h, w)` errors at each measured level.
        """
        key = self._fingerprint(denoiser, conditioned)
        for level in self.at:

            def measure(level: int = level) -> HalfTensor:
                whole = torch.empty(self.truth.shape)
                for at, mean in self._denoise(denoiser, level, conditioned):
                    whole[at] = (self.truth[at] - mean).cpu()
                return HalfTensor.of(whole, (0, 1, 3, 4))

            yield self._keep(f"latent/{key}/{level:03d}" if key else "", measure)

    def scale(self, denoiser: Denoiser, conditioned: bool, unseen: DenoisingArchive) -> Tensor:
        """Measure how much larger errors are on days that the network was not trained on.

        Args:
            denoiser: The denoiser as it is used.
            conditioned: Whether the background is passed to it.
            unseen: Days of the validation period, at the same noise levels.

        Returns:
            `(L, K)`, see `slams.assimilators.unseen_errors`.
        """
        numbers = measured_levels(len(self.at))
        at = [self.at[number] for number in numbers]
        times = [days.archive.time[days.days, 0] for days in (self, unseen)]
        known = [
            _mean_square(errors)
            for number, errors in enumerate(self.latent(denoiser, conditioned))
            if number in numbers
        ]
        new = unseen.mean_squares(denoiser, conditioned, at)
        measured = [
            error_scale(seen, times[0], value, times[1])
            for seen, value in zip(known, new, strict=True)
        ]
        return interpolated(torch.stack(measured), at, self.levels)

    def mean_squares(self, denoiser: Denoiser, conditioned: bool, at: Sequence[int]) -> Tensor:
        """Measure the mean squared error of each day over its window and points.

        Args:
            denoiser: The denoiser as it is used.
            conditioned: Whether the background is passed to it.
            at: Indices of noise levels.

        Returns:
            `(A, n, K)` float64.
        """

        def measure() -> dict[str, Tensor]:
            shape = (len(at), len(self.truth), self.truth.shape[2])
            total = torch.zeros(shape, dtype=torch.float64)
            for number, level in enumerate(at):
                for days, mean in self._denoise(denoiser, level, conditioned):
                    error = (self.truth[days] - mean).to("cpu", torch.float64)
                    total[number, days] = error.square().mean(dim=(1, 3, 4))
            return {"mean_squares": total}

        key = self._fingerprint(denoiser, conditioned)
        name = "-".join(map(str, at))
        kept = self.kept.get(f"unseen/{key}/{name}", measure) if key else measure()
        return kept["mean_squares"]

    def decoder_variance(
        self,
        operators: tuple[ObservationOperator, ...],
        lost: BackgroundResidual | None = None,
    ) -> Tensor:
        """Measure the variance of the decoder's error at a network's points, `(T * P_total,)`.

        Args:
            operators: `H` of the network.
            lost: Offset of decoded fields, see `decoding_errors`.
        """

        def measure() -> dict[str, Tensor]:
            chunks = zip(self.truth.split(_CHUNK), self.days.split(_CHUNK), strict=True)
            error = torch.cat([self._seen(z, days, operators, lost) for z, days in chunks])
            return {"variance": error.square().mean(dim=0).cpu()}

        words = self._data if lost is None else f"{self._data}/{self._background}"
        key = digest(words, self._observing(operators, lost)).hex()
        kept = self.kept.get(f"decoder/{key}/variance", measure)
        return kept["variance"].to(self.device)

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
        self,
        latents: Tensor,
        days: Tensor,
        operators: tuple[ObservationOperator, ...],
        lost: BackgroundResidual | None,
    ) -> Tensor:
        """Observe the difference between the fields of some days and their decoded latents."""
        space, archive, sd = self.space, self.archive, self.sd
        errors = decoding_errors(space, latents, archive, days, operators, sd, lost)
        return errors.flatten(1)

    def _keep(self, key: str, measure: Callable[[], HalfTensor]) -> HalfTensor:
        """Measure errors, or read them; an empty key stands for errors that cannot be kept."""
        if not key:
            return measure()
        kept = self.kept.get(key, lambda: vars(measure()))
        return HalfTensor(kept["values"], kept["scale"])

    def _observing(
        self, operators: tuple[ObservationOperator, ...], lost: BackgroundResidual | None
    ) -> list[Tensor]:
        """Return what errors at observed points depend on, besides the errors themselves."""
        probe = network_probe(operators, self.archive, self.seed, self.device)
        return [probe] if lost is None else [probe, lost.share]

    @cached_property
    def _data(self) -> str:
        """Return the fingerprint of the days, the latent space and the units."""
        known = self.archive.known
        known = None if known is None else known[self.days]
        fields = describe_fields(self.archive.fields[self.days], known)
        words = f"{_VERSION}/{self.space}/{fields}"
        time = self.archive.time[self.days].to(torch.float64)
        return digest(words, [time, self.sd, *self.space.state_dict().values()]).hex()

    @cached_property
    def _background(self) -> str:
        """Return the description of the backgrounds."""
        archive = self.archive
        known = archive.background_known
        known = None if known is None else known[self.days]
        return describe_fields(archive.background[self.days], known)

    def _fingerprint(self, denoiser: Denoiser, conditioned: bool) -> str:
        """Return the fingerprint of the latent errors; empty where a network has none."""
        name = _identity(denoiser)
        if not name:
            return ""
        levels = " ".join(f"{level:.5g}" for level in self.levels.tolist())
        words = [self._data, name, levels, f"{self.seed}"]
        words += [self._background] if conditioned else []
        return digest("/".join(words), denoiser.state_dict().values()).hex()

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
        drawn = generator(self.seed, "denoising errors", level)
        noise = torch.randn(truth.shape, generator=drawn).to(truth)
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


def _identity(denoiser: Denoiser) -> str:
    """Return what identifies a network together with its weights; empty if nothing does."""
    if isinstance(denoiser, TrajectoryDenoiser):
        inner = _identity(denoiser.denoiser)
        days = f"{denoiser.window}/{denoiser.conditioned}/{denoiser.season_step}"
        return inner and f"trajectory/{days}/{inner}"
    return str(denoiser) if isinstance(denoiser, KarrasDenoiser) else ""


def _mean_square(errors: HalfTensor) -> Tensor:
    """Average the squared errors of each day over its window and points, `(n, K)` float64."""
    days = [
        HalfTensor(values, errors.scale).full(values.device).to(torch.float64)
        for values in errors.values.split(_CHUNK)
    ]
    return torch.cat([error.square().mean(dim=(1, 3, 4)) for error in days])
