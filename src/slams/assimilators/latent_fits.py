"""Quantities of a latent denoiser that are measured on days of the archive, when first needed.

They are the regression of denoising errors on the background, the denoising and decoding errors at
the points of an observing network, and the marginal distributions of decoded precipitation.
Denoising errors are measured with the denoiser as it is used, and scaled to their size on days
that it was not trained on (`slams.assimilators.unseen_errors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slams.assimilators.background_residual import BackgroundResidual
from slams.assimilators.base import Archive
from slams.assimilators.decoding import network_probe
from slams.assimilators.denoising_archive import DenoisingArchive
from slams.assimilators.last_result import RecentResults
from slams.assimilators.level_errors import spread_levels
from slams.assimilators.marginals import MarginalMap
from slams.diffusion.backend import Denoiser
from slams.diffusion.posterior.background import BackgroundDenoiser
from slams.diffusion.posterior.errors import DenoisingErrors
from slams.diffusion.sampling import noise_levels
from slams.fields import ObservationOperator

if TYPE_CHECKING:
    from slams.assimilators.latent_diffusion import LatentDiffusion

__all__ = ["LatentFits", "NetworkErrors"]

# Validation days, evenly spaced, on which the size of denoising errors is measured.
_UNSEEN_DAYS = 60


@dataclass(frozen=True)
class NetworkErrors:
    """Quantities that guidance needs for one observing network.

    Attributes:
        errors: Denoising errors, one entry per noise level; empty where guidance uses none.
        time: `(N,)` times of their days, days since 1970-01-01.
        decoder_variance: `(T * P_total,)` variance of the decoder's error at the network's points.
    """

    errors: Sequence[DenoisingErrors]
    time: Tensor
    decoder_variance: Tensor


class LatentFits:
    """Quantities fitted to the archive of a method.

    Args:
        method: The method, fitted; its networks are on the device of the computation.

    Attributes:
        error_scale: `(L, K)` factor on the denoising errors of archive days, by noise level and
            latent channel; `None` before the first case, or if it is not measured.
    """

    def __init__(self, method: LatentDiffusion) -> None:
        self.method = method
        self.error_scale: Tensor | None = None
        self._networks = RecentResults()

    def prior(self, conditioned: bool) -> Denoiser:
        """Return the denoiser as it is used, without observations.

        Args:
            conditioned: Whether the background is passed to it.
        """
        if not conditioned or self.method.guidance.background == "condition":
            return self.method.denoiser
        return self._informed

    @cached_property
    def marginals(self) -> dict[int, MarginalMap]:
        """Return the maps of the channels that are never negative, by the channel's number."""
        return self._days.marginals(self.method.normaliser)

    def network(
        self, operators: tuple[ObservationOperator, ...], conditioned: bool
    ) -> NetworkErrors:
        """Measure denoising and decoding errors of archive days at the points of a network.

        Args:
            operators: `H` of the network.
            conditioned: Whether the background is passed to the denoiser.
        """
        method, days = self.method, self._days
        lost = self.lost if conditioned else None
        probe = network_probe(operators, method.archive, method.seed, days.device)

        def measure() -> NetworkErrors:
            prior = self.prior(conditioned)
            errors: Sequence[DenoisingErrors] = []
            if method.uses_errors:
                self.measure(conditioned)
                errors = days.errors(prior, operators, conditioned, self.error_scale, lost)
            time = method.archive.time[days.days, 0]
            return NetworkErrors(errors, time, days.decoder_variance(operators, lost))

        return self._networks.get((probe, torch.tensor(conditioned)), measure)

    def measure(self, conditioned: bool) -> None:
        """Measure denoising errors in latent space and their scale; no observation is needed.

        Args:
            conditioned: Whether the background is passed to the denoiser.
        """
        prior, days = self.prior(conditioned), self._days
        if self.method.unseen is None:
            for _ in days.latent(prior, conditioned):
                pass
        else:
            unseen = self._denoised(self.method.unseen(), _UNSEEN_DAYS, unseen=True)
            self.error_scale = days.scale(prior, conditioned, unseen)

    @cached_property
    def lost(self) -> BackgroundResidual | None:
        """Return the offset of members whose background is encoded; `None` if there is none."""
        method = self.method
        if not method.keeps_background:
            return None
        lost = BackgroundResidual(method.space, method.grid, method.residual.archive)
        lost.fit(method.archive, self._days.device)
        return lost

    @cached_property
    def _days(self) -> DenoisingArchive:
        return self._denoised(self.method.archive, self.method.guidance.archive)

    @cached_property
    def _informed(self) -> BackgroundDenoiser:
        """Fit the regression of denoising errors on the background, see `BackgroundGain`."""
        grid, guidance = self.method.latent_grid, self.method.guidance
        points = tuple(x.to(self._days.device) for x in grid.points)
        reach = min(guidance.background_points, len(points[0]))
        near = grid.distance(*points, *points).argsort(dim=1, stable=True)[:, :reach]
        both = guidance.background == "both"
        return self._days.fit_background(self.method.denoiser, near, both)

    def _denoised(self, archive: Archive, count: int, unseen: bool = False) -> DenoisingArchive:
        method = self.method
        sd, levels = method.normaliser.sd, noise_levels(method.sampler)
        sd = sd.to(method.space.mean.device)
        at = spread_levels(len(levels), method.guidance.error_levels)
        kept = method.kept
        return DenoisingArchive(
            archive, method.space, sd, levels, count, method.seed, unseen, at, kept
        )
