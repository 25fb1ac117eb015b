"""Latent diffusion assimilation: samples of the score model, guided by the observations.

The denoiser, conditioned on the encoded background, samples latent windows; at each noise level
its estimate is corrected by the observations through the decoder and `H`. Without observations
the result is the ensemble of the score model for the given background.

`guidance.background` sets how the background `z_b` enters,

    condition     D(z_t, z_b)             the network has learned its accuracy
    observation   D(z_t) + G d            by the covariance of its error, over archive days
    both          D(z_t, z_b) + G d       G corrects what the network did not use
    neither       D(z_t)                  the prior is the climatology

with the innovation `d` and gain `G` of `slams.diffusion.posterior.background`. Denoising errors
are measured with the denoiser as it is used, and scaled to their size on days that it was not
trained on (`slams.assimilators.unseen_errors`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase
from slams.assimilators.denoising_archive import DenoisingArchive
from slams.assimilators.latent_likelihood import encode_observations
from slams.assimilators.marginals import MarginalMap
from slams.assimilators.materials import Materials
from slams.assimilators.network_localisation import NetworkLocalisation
from slams.assimilators.season import season_weights
from slams.calendar.days import day_of
from slams.diffusion.backend import Denoiser
from slams.diffusion.posterior.background import BackgroundDenoiser
from slams.diffusion.posterior.errors import DenoisingErrors, ErrorCovariance
from slams.diffusion.posterior.guided import guided_denoiser
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.diffusion.sampling import DivergedError, noise_levels, sample
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.errors import UserError
from slams.fields import Batch, ObservationOperator
from slams.grid import LatLonGrid
from slams.linalg.localisation import gaspari_cohn
from slams.methods.latent_diffusion import SPEC
from slams.nn.latent_space import LatentSpace
from slams.normalisation import DAYS_PER_YEAR, Normaliser
from slams.observations.stacked import (
    StackedObservations,
    observe_all,
    observe_perturbations,
    stack_observations,
)
from slams.plugins.guidance import GUIDANCE
from slams.runtime.seeds import generator

__all__ = ["LatentDiffusion", "build"]

# Validation days, evenly spaced, on which the size of denoising errors is measured.
_UNSEEN_DAYS = 60

_BACKGROUND = ("condition", "observation", "both", "neither")


@dataclass(frozen=True)
class _Network:
    """Quantities that guidance needs for one observing network, computed at first use.

    Attributes:
        probe: `(1, T, P_total)` observations of a fixed state, which identify the network.
        conditioned: Whether the background is passed to the denoiser.
        errors: Denoising errors, one entry per noise level.
        time: `(N,)` times of their days, days since 1970-01-01.
        decoder_variance: `(T * P_total,)` variance of the decoder's error at the network's points.
    """

    probe: Tensor
    conditioned: bool
    errors: list[DenoisingErrors]
    time: Tensor
    decoder_variance: Tensor


class LatentDiffusion(CaseByCase):
    """Guided sampling of the latent score model.

    Args:
        space: The trained VAE's latent space.
        denoiser: The trained denoiser of latent windows.
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        seed: The experiment's seed.
        guidance: How observations enter.
        sampler: How the reverse diffusion is integrated.
        unseen: Function that returns windows of the validation period, on which the size of
            denoising errors is measured; `None` to use the errors of the archive's days unscaled.

    Attributes:
        error_scale: `(L, K)` factor on the denoising errors of archive days, by noise level and
            latent channel; `None` before the first case, or if it is not measured.

    Raises:
        UserError: The kind of guidance or the use of the background is unknown, or the
            half-width of the localisation is out of range.
    """

    name = SPEC.name
    shares_members = True

    def __init__(
        self,
        space: LatentSpace,
        denoiser: Denoiser,
        normaliser: Normaliser,
        grid: LatLonGrid,
        seed: int,
        guidance: GuidanceSettings,
        sampler: SamplerSettings,
        unseen: Callable[[], Archive] | None = None,
    ) -> None:
        super().__init__(normaliser, grid, seed)
        self._unseen = unseen
        self.error_scale: Tensor | None = None
        self.uses_errors = GUIDANCE.get(guidance.kind, "assimilation.guidance.kind").uses_errors
        if guidance.background not in _BACKGROUND:
            raise UserError(
                f"assimilation.guidance.background: found {guidance.background!r}, expected one "
                f"of {', '.join(_BACKGROUND)}"
            )
        # Refuse a half-width out of range here, not at the first case.
        gaspari_cohn(torch.zeros(1), guidance.localisation)
        self.space = space.eval().requires_grad_(False)
        self.denoiser = denoiser.eval().requires_grad_(False)
        self.guidance = guidance
        self.sampler = sampler
        self.latent_grid = grid.coarsen(space.encoder.factor)
        self.localisation = NetworkLocalisation(self.latent_grid, guidance.localisation)
        self._network: _Network | None = None
        self._informed: BackgroundDenoiser | None = None
        self._marginals: dict[int, MarginalMap] | None = None

    def fit(self, archive: Archive) -> None:
        """Store evenly spaced days of the archive for the denoising errors."""
        super().fit(archive)
        self._network = None
        self._informed = None
        self._marginals = None
        self.error_scale = None

    def analyse_case(self, batch: Batch, members: int, only: range | None = None) -> CaseAnalysis:
        """Sample the single case of a batch.

        Raises:
            UserError: A member diverged in every draw; see also `analyse`.
        """
        device = batch.climatology.device
        self.space.to(device)
        self.denoiser.to(device)
        condition = self._condition(batch, members)
        stacked = stack_observations(batch, 0)
        denoiser = self._prior("condition" in condition)
        if len(stacked):
            denoiser = self._guided(batch, stacked, "condition" in condition)
        case = int(batch.case[0])
        shape = (batch.climatology.shape[1], self.space.mean.shape[0], *self.latent_grid.shape)

        def draw(member: int, stream: str) -> Tensor:
            keyed = generator(self.seed, self.name, stream, case, member)
            return torch.randn(shape, generator=keyed).to(device)

        try:
            samples = sample(denoiser, self.sampler, draw, members, only, **condition)
        except DivergedError as error:
            day = day_of(float(batch.time[0, 0]))
            raise UserError(f"{self.name}, case {case} ({day}): {error}") from None
        states = self.space.decode(samples.members)
        if self.guidance.calibrated:
            states = self._calibrated(states, batch.climatology[0])
        # Members with separate backgrounds are independent draws, whatever their noise.
        own = batch.background is not None and batch.background.members is not None
        return CaseAnalysis(states, samples.diverged, self.sampler.centred and not own)

    def _calibrated(self, members: Tensor, climatology: Tensor) -> Tensor:
        """Map the channels that are never negative, see `MarginalMap`; `(M, T, C, H, W)`."""
        if self._marginals is None:
            archive = self._denoising_archive(members.device)
            self._marginals = archive.marginals(self.normaliser)
        mapped = members.clone()
        sd = self.normaliser.sd
        for channel, marginal in self._marginals.items():
            values = members[:, :, channel] * sd[channel] + climatology[:, channel]
            mapped[:, :, channel] = (marginal(values) - climatology[:, channel]) / sd[channel]
        return mapped

    def _condition(self, batch: Batch, members: int) -> dict[str, Tensor]:
        season = (batch.time[:1, 0] / DAYS_PER_YEAR % 1).to(torch.float32).expand(members)
        background = self.background_of(batch)
        if background.kind == "climatology" or self.guidance.background == "neither":
            return {"season": season}
        if background.members is not None:
            return {"season": season, "condition": self.space.encode(background.members[0])}
        encoded = self.space.encode(background.mean, background.known)
        return {"season": season, "condition": encoded.expand(members, -1, -1, -1, -1)}

    def _prior(self, conditioned: bool) -> Denoiser:
        """Return the denoiser as it is used, without observations."""
        if not conditioned or self.guidance.background == "condition":
            return self.denoiser
        if self._informed is None:
            self._informed = self._fit_background()
        return self._informed

    def _guided(self, batch: Batch, stacked: StackedObservations, conditioned: bool) -> Denoiser:
        network = self._fitted_network(stacked.operators, batch.climatology.device, conditioned)
        if self.guidance.likelihood == "latent":
            return self._guided_by_latents(batch, stacked, network)

        def observe(latents: Tensor) -> Tensor:
            fields = self.space.decode(latents)
            return stacked.apply(fields * self.normaliser.sd + batch.climatology)

        columns = stacked.columns
        unit = self.normaliser.sd.expand(1, *batch.climatology.shape[1:])
        return guided_denoiser(
            GuidanceProblem(
                self.guidance,
                self._prior(conditioned),
                observe,
                stacked.values,
                stacked.variance,
                stacked.variance + network.decoder_variance[columns],
                observe_perturbations(stacked.operators, unit).flatten()[columns],
                stacked.silent,
                self._covariance(batch, stacked, network) if self.uses_errors else None,
            )
        )

    def _covariance(
        self, batch: Batch, stacked: StackedObservations, network: _Network
    ) -> ErrorCovariance:
        between, observed = self.localisation.matrices(stacked.operators, stacked.points)
        return ErrorCovariance(
            levels=noise_levels(self.sampler),
            errors=network.errors,
            columns=stacked.columns,
            localisation_oo=observed,
            localisation_zo=between,
            weights=season_weights(network.time, float(batch.time[0, 0]), self.guidance.season),
        )

    def _guided_by_latents(
        self, batch: Batch, stacked: StackedObservations, network: _Network
    ) -> Denoiser:
        """Guide by encoded observations, see `slams.assimilators.latent_likelihood`."""
        seen = encode_observations(
            self.space,
            stacked,
            batch.climatology,
            self.normaliser,
            self.archive,
            self.guidance.archive,
            self.seed,
        )
        # Avoid a division by zero for latents on which the encoding does not depend.
        variance = seen.covariance.diagonal(dim1=-2, dim2=-1).flatten().clamp(min=1e-6)
        scale = seen.matrix.square().sum(dim=-1).sqrt().clamp(min=0.1).flatten()
        problem = GuidanceProblem(
            self.guidance,
            self._prior(network.conditioned),
            lambda z: seen.observe(z).flatten(1),
            seen.values.flatten(),
            variance,
            variance,
            scale,
            covariance=self._covariance(batch, stacked, network) if self.uses_errors else None,
        )
        return guided_denoiser(problem, seen)

    def _fitted_network(
        self, operators: tuple[ObservationOperator, ...], device: torch.device, conditioned: bool
    ) -> _Network:
        # Networks with equal observations of a random state are the same, whatever object they
        # are.
        shape = self.archive.fields.shape[1:]
        state = torch.randn(1, *shape, generator=generator(self.seed, "probe")).to(device)
        probe = observe_all(operators, state)
        known = self._network
        if (
            known is None
            or known.conditioned != conditioned
            or known.probe.device != probe.device
            or known.probe.shape != probe.shape
            or not torch.allclose(known.probe, probe)
        ):
            self._network = self._fit_network(operators, probe, conditioned)
        return self._network

    def _fit_network(
        self, operators: tuple[ObservationOperator, ...], probe: Tensor, conditioned: bool
    ) -> _Network:
        """Measure denoising and decoding errors of archive days at the points of the network."""
        prior = self._prior(conditioned)
        days = self._denoising_archive(probe.device)
        # Errors of the denoiser as it is used: without the background if it is not given one.
        errors: list[DenoisingErrors] = []
        if self.uses_errors:
            if self._unseen is not None:
                unseen = self._denoising_archive(probe.device, self._unseen())
                self.error_scale = days.scale(prior, conditioned, unseen)
            errors = days.errors(prior, operators, conditioned, self.error_scale)
        time = self.archive.time[days.days, 0]
        return _Network(probe, conditioned, errors, time, days.decoder_variance(operators))

    def _denoising_archive(
        self, device: torch.device, unseen: Archive | None = None
    ) -> DenoisingArchive:
        return DenoisingArchive(
            self.archive if unseen is None else unseen,
            self.space,
            self.normaliser.sd.to(device),
            noise_levels(self.sampler),
            self.guidance.archive if unseen is None else _UNSEEN_DAYS,
            self.seed,
            unseen is not None,
        )

    def _fit_background(self) -> BackgroundDenoiser:
        """Fit the regression of denoising errors on the background, see `BackgroundGain`."""
        device = self.space.mean.device
        points = tuple(x.to(device) for x in self.latent_grid.points)
        reach = min(self.guidance.background_points, len(points[0]))
        near = self.latent_grid.distance(*points, *points).argsort(dim=1, stable=True)[:, :reach]
        both = self.guidance.background == "both"
        return self._denoising_archive(device).fit_background(self.denoiser, near, both)


def build(materials: Materials) -> LatentDiffusion:
    """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
    return LatentDiffusion(
        *materials.networks.latent_score(),
        materials.normaliser,
        materials.grid,
        materials.seed,
        materials.guidance,
        materials.sampler,
        materials.unseen,
    )
