"""Latent diffusion assimilation: samples of the score model, guided by the observations.

The denoiser, conditioned on the encoded background, samples latent windows; at each noise level
its estimate is corrected by the observations through the decoder and `H`. Without observations
the result is the ensemble of the score model for the given background.

`guidance.background` sets how the background `z_b` enters,

    condition     D(z_t, z_b)             the network has learned its accuracy
    observation   D(z_t) + G d            by the covariance of its error, over archive days
    both          D(z_t, z_b) + G d       G corrects what the network did not use
    neither       D(z_t)                  the prior is the climatology

with the innovation `d` and gain `G` of `slams.diffusion.posterior.background`. What is measured on
archive days is in `slams.assimilators.latent_fits`. Decoded members can be given a sample of what
the decoder cannot represent, see `slams.assimilators.decoding_residual`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase
from slams.assimilators.decoding_residual import DecodingResidual
from slams.assimilators.latent_fits import LatentFits, NetworkErrors
from slams.assimilators.latent_likelihood import encode_observations
from slams.assimilators.materials import Materials
from slams.assimilators.network_gains import NetworkGains
from slams.assimilators.season import season_weights
from slams.calendar.days import iso_date
from slams.diffusion.backend import Denoiser
from slams.diffusion.posterior.errors import ErrorCovariance
from slams.diffusion.posterior.guided import guided_denoiser
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.diffusion.sampling import DivergedError, noise_levels, sample
from slams.diffusion.settings import GuidanceSettings, ResidualSettings, SamplerSettings
from slams.errors import UserError
from slams.fields import Batch
from slams.linalg.partners import ALONE, Partners
from slams.methods.specifications import LATENT_DIFFUSION as SPEC
from slams.nn.latent_space import LatentSpace
from slams.normalisation import DAYS_PER_YEAR
from slams.observations.stacked import (
    StackedObservations,
    observe_perturbations,
    stack_observations,
)
from slams.plugins.guidance import GUIDANCE
from slams.runtime.kept_tensors import KeptTensors, MemoryTensors
from slams.runtime.seeds import generator

__all__ = ["LatentDiffusion", "build"]

_BACKGROUND = ("condition", "observation", "both", "neither")


@dataclass
class Spent:
    """Time spent on sampling so far, without what is measured once for a network.

    Attributes:
        members: Members that were sampled.
        guidance: Seconds of solving for increments.
        total: Seconds of everything: guidance, denoiser and decoder.
    """

    members: int = 0
    guidance: float = 0.0
    total: float = 0.0

    def __str__(self) -> str:
        networks = self.total - self.guidance
        each = [seconds / max(self.members, 1) for seconds in (self.total, networks)]
        return (
            f"{each[0]:.2f} s per member: networks {each[1]:.2f} s, guidance "
            f"{each[0] - each[1]:.2f} s"
        )


@dataclass(eq=False, repr=False)
class LatentDiffusion(CaseByCase):
    """Guided sampling of the latent score model.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        seed: The experiment's seed.
        space: The trained VAE's latent space.
        denoiser: The trained denoiser of latent windows.
        guidance: How observations enter.
        sampler: How the reverse diffusion is integrated.
        residual: What is added to decoded members; nothing by default.
        unseen: Function that returns windows of the validation period, on which the size of
            denoising errors is measured; `None` to use the errors of the archive's days unscaled.
        kept: Where denoising errors are kept; by default in memory.

    Raises:
        UserError: The kind of guidance or the use of the background is unknown, a half-width of
            the localisation is out of range, or members are both calibrated and given residuals.
    """

    name = SPEC.name
    shares_members = True

    _: KW_ONLY
    space: LatentSpace
    denoiser: Denoiser
    guidance: GuidanceSettings
    sampler: SamplerSettings
    residual: ResidualSettings | None = None
    unseen: Callable[[], Archive] | None = None
    kept: KeptTensors = field(default_factory=MemoryTensors)

    def __post_init__(self) -> None:
        guidance = self.guidance
        self.uses_errors = GUIDANCE.get(guidance.kind, "assimilation.guidance.kind").uses_errors
        if guidance.background not in _BACKGROUND:
            raise UserError(
                f"assimilation.guidance.background: found {guidance.background!r}, expected one "
                f"of {', '.join(_BACKGROUND)}"
            )
        self.space.eval().requires_grad_(False)
        self.denoiser.eval().requires_grad_(False)
        self.latent_grid = self.grid.coarsen(self.space.encoder.factor)
        self.gains = NetworkGains(self.latent_grid, guidance.localisation, self.local)
        self._residual = self._sampled_residual()
        self._fits: LatentFits | None = None
        self.spent = Spent()

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        return cls._of(materials, *materials.networks.latent_score())

    @classmethod
    def _of(cls, materials: Materials, space: LatentSpace, denoiser: Denoiser) -> Self:
        return cls(
            materials.normaliser,
            materials.grid,
            materials.seed,
            space=space,
            denoiser=denoiser,
            guidance=materials.guidance,
            sampler=materials.sampler,
            residual=ResidualSettings(**materials.settings_of("residual")),
            unseen=materials.unseen,
            local=materials.local,
            kept=materials.kept,
            **materials.settings_of(cls.name),
        )

    @property
    def error_scale(self) -> Tensor | None:
        """Return the factor on denoising errors, see `LatentFits`; `None` before `fit`."""
        return None if self._fits is None else self._fits.error_scale

    def fit(self, archive: Archive) -> None:
        """Store the archive, on which errors are measured at the first case."""
        super().fit(archive)
        self._fits = LatentFits(self)
        if self._residual is not None:
            self._residual.fit(archive)

    def measure_errors(self, conditioned: bool) -> None:
        """Measure and keep the denoising errors in latent space, before there are observations.

        Args:
            conditioned: Whether analyses have a background other than the climatology.
        """
        if self.uses_errors:
            self._fits.measure(conditioned and self.guidance.background != "neither")

    def analyse_case(self, batch: Batch, members: int, only: range | None = None) -> CaseAnalysis:
        """Sample the single case of a batch.

        Raises:
            UserError: A member diverged in every draw; see also `analyse`.
        """
        device = batch.climatology.device
        if self.space.mean.device != device:  # what was measured is on the other device
            self._fits = LatentFits(self)
        self.space.to(device)
        self.denoiser.to(device)
        condition = self._condition(batch, members)
        stacked = stack_observations(batch, 0)
        conditioned = "condition" in condition
        lost = self._fits.lost if conditioned else None
        offset = 0.0 if lost is None else lost.of_case(self.background_of(batch))
        denoiser, again = self._fits.prior(conditioned), None
        if len(stacked):
            given = (batch, stacked, conditioned, offset)
            denoiser = self._guided(*given, self.gains.partners)
            if self.gains.partners.world > 1:
                again = self._guided(*given, ALONE)
        started = time.perf_counter()
        case = int(batch.case[0])
        shape = (batch.climatology.shape[1], self.space.mean.shape[0], *self.latent_grid.shape)

        def draw(member: int, stream: str) -> Tensor:
            keyed = generator(self.seed, self.name, stream, case, member)
            return torch.randn(shape, generator=keyed).to(device)

        try:
            samples = sample(denoiser, self.sampler, draw, members, only, again, **condition)
        except DivergedError as error:
            day = iso_date(float(batch.time[0, 0]))
            raise UserError(f"{self.name}, case {case} ({day}): {error}") from None
        states = self.space.decode(samples.members) + offset
        self.spent.guidance += getattr(denoiser, "seconds", 0.0)
        self.spent.total += time.perf_counter() - started
        self.spent.members += len(states)
        if self.guidance.calibrated:
            states = self._calibrated(states, batch.climatology[0])
        if self._residual is not None:
            states = self._residual.add(
                batch,
                states,
                members,
                only,
                centred=self.sampler.centred,
                spread=self.sampler.inflation,
                lost=lost,
                partners=self.gains.partners,
            )
        # Members with separate backgrounds are independent draws, whatever their noise.
        own = batch.background is not None and batch.background.members is not None
        return CaseAnalysis(states, samples.diverged, self.sampler.centred and not own)

    @property
    def keeps_background(self) -> bool:
        """Return whether members get back what decoding loses of the background."""
        return self._residual is not None and self.residual.of_background

    def _sampled_residual(self) -> DecodingResidual | None:
        """Return the sampler of the decoder's residual; `None` where none is added.

        Raises:
            UserError: Members are mapped to the distribution of the fields as well.
        """
        if self.residual is None or not self.residual.sample:
            return None
        if self.guidance.calibrated:
            raise UserError(
                "assimilation.guidance.calibrated: found true beside "
                "assimilation.residual.sample: true, expected one of them, because both add what "
                "the decoder smooths away; set one of them to false"
            )
        if self.residual.of_background and self.guidance.likelihood == "latent":
            raise UserError(
                "assimilation.residual.of_background: found true beside "
                "assimilation.guidance.likelihood: latent, expected false, because encoded "
                "observations know nothing of it"
            )
        parts = (self.space, self.normaliser, self.grid, self.seed, self.residual)
        return DecodingResidual(self.name, *parts, local=self.local, unseen=self.unseen)

    def _calibrated(self, members: Tensor, climatology: Tensor) -> Tensor:
        """Map the channels that are never negative, see `MarginalMap`; `(M, T, C, H, W)`."""
        mapped = members.clone()
        sd = self.normaliser.sd
        for channel, marginal in self._fits.marginals.items():
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

    def _guided(
        self,
        batch: Batch,
        stacked: StackedObservations,
        conditioned: bool,
        offset: Tensor | float,
        partners: Partners,
    ) -> Denoiser:
        network, columns = self._fits.network(stacked.operators, conditioned), stacked.columns

        def observe(latents: Tensor) -> Tensor:
            fields = self.space.decode(latents) + offset
            return stacked.apply(fields * self.normaliser.sd + batch.climatology)

        unit = self.normaliser.sd.expand(1, *batch.climatology.shape[1:])
        problem = GuidanceProblem(
            self.guidance,
            self._fits.prior(conditioned),
            observe,
            stacked.values,
            stacked.variance,
            stacked.variance + network.decoder_variance[columns],
            observe_perturbations(stacked.operators, unit).flatten()[columns],
            stacked.silent,
            self._covariance(batch, stacked, network, partners) if self.uses_errors else None,
        )
        if self.guidance.likelihood == "latent":
            return self._guided_by_latents(problem, batch, stacked)
        return guided_denoiser(problem)

    def _covariance(
        self,
        batch: Batch,
        stacked: StackedObservations,
        network: NetworkErrors,
        partners: Partners,
    ) -> ErrorCovariance:
        return ErrorCovariance(
            levels=noise_levels(self.sampler),
            errors=network.errors,
            columns=stacked.columns,
            gain=self.gains.gain(stacked, partners),
            weights=season_weights(network.time, float(batch.time[0, 0]), self.guidance.season),
        )

    def _guided_by_latents(
        self, problem: GuidanceProblem, batch: Batch, stacked: StackedObservations
    ) -> Denoiser:
        """Guide by encoded observations, see `slams.assimilators.latent_likelihood`."""
        count = self.guidance.archive
        seen = encode_observations(
            self.space, stacked, batch.climatology, self.normaliser, self.archive, count, self.seed
        )
        # Avoid a division by zero for latents on which the encoding does not depend.
        variance = seen.covariance.diagonal(dim1=-2, dim2=-1).flatten().clamp(min=1e-6)
        encoded = replace(
            problem,
            observe=lambda z: seen.observe(z).flatten(1),
            y=seen.values.flatten(),
            variance=variance,
            total_variance=variance,
            scale=seen.matrix.square().sum(dim=-1).sqrt().clamp(min=0.1).flatten(),
            silent=None,
        )
        return guided_denoiser(encoded, seen)


build = LatentDiffusion.build
