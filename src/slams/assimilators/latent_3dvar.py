"""Variational assimilation in the latent space, with the decoder in the observation operator.

With the encoded background z_b = enc(x_b), the analysis minimises

    J(z) = 1/2 (z - z_b)^T B_z^-1 (z - z_b)
         + 1/2 (y - H dec(z))^T (R + diag(H C_dec H^T))^-1 (y - H dec(z))

and is decoded. B_z is the covariance of the latent background errors of past days of the season,

    e_z = enc(x) - enc(x_b),    centred,

localised by Gaspari-Cohn functions of the distance between latent points and observations, and
C_dec is the covariance of the decoder's error (`slams.assimilators.decoding`). For the
minimisation over the latents of a variational autoencoder see Melinc and Zaplotnik 2024, Q. J. R.
Meteorol. Soc., doi:10.1002/qj.4708, arXiv 2308.16073.

The minimisation is that of `slams.assimilators.three_d_var`, with z instead of the state and H dec
instead of H: outer loops that linearise the decoder by forward-mode differentiation, a direct
solution in the space of the observations within each, and an ensemble of perturbed observations
and backgrounds. If decoder and H are linear and the encoding is lossless, the analysis is optimal
interpolation in latent coordinates, and its posterior is the Gaussian one.

The members are decoded latents, to which a sample of what the decoder cannot represent can be
added (`slams.assimilators.decoding_residual`); without it they have no spread in that. The size
of e_z is that of the season in the archive; the error variance of the day's background has no
counterpart in latent space and is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from slams.assimilators.background_residual import BackgroundResidual
from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.assimilators.decoding import decoding_errors, encode_windows, network_probe
from slams.assimilators.decoding_residual import DecodingResidual
from slams.assimilators.last_result import RecentResults
from slams.assimilators.materials import Materials
from slams.assimilators.network_gains import NetworkGains
from slams.assimilators.three_d_var import ThreeDVar
from slams.diffusion.settings import ResidualSettings
from slams.fields import Batch, ObservationOperator
from slams.methods.specifications import LATENT_3DVAR as SPEC
from slams.nn.latent_space import LatentSpace
from slams.observations.stacked import (
    StackedObservations,
    observe_all,
    stack_observations,
)

__all__ = ["Latent3DVar", "build"]

# Windows decoded at a time; limits the memory, not the result.
_CHUNK = 32


@dataclass(eq=False, repr=False)
class Latent3DVar(ThreeDVar):
    """Variational assimilation over latents.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        seed: The experiment's seed.
        season: Largest distance (days) of an archive day from the verifying day of year.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        outer_loops: Largest number of linearisations of the decoder and `H`.
        space: The trained VAE's latent space.
        archive_size: Largest number of past background errors from which B_z is estimated, evenly
            spaced over those of the season; each costs one derivative of the decoder per outer
            loop.
        residual: What is added to decoded members; nothing by default.
        unseen: As `LatentDiffusion`, for the residual.

    Raises:
        UserError: A half-width is out of range, see `gaspari_cohn`.
    """

    name = SPEC.name
    section = SPEC.section

    localisation: float = 3000.0
    shifts: int = field(default=0, init=False)
    outer_loops: int = 4
    _: KW_ONLY
    space: LatentSpace
    archive_size: int = 320
    residual: ResidualSettings | None = None
    unseen: Callable[[], Archive] | None = None

    def __post_init__(self) -> None:
        self.space.eval().requires_grad_(False)
        # Rows of B_z are latent points, so distances are measured from these.
        latent_grid = self.grid.coarsen(self.space.encoder.factor)
        self.gains = NetworkGains(latent_grid, self.localisation, self.local)
        self._residual = None
        if self.residual is not None and self.residual.sample:
            parts = (self.space, self.normaliser, self.grid, self.seed, self.residual)
            self._residual = DecodingResidual(
                self.name, *parts, local=self.local, unseen=self.unseen
            )

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        settings = materials.settings_of(SPEC.settings_section)
        # The covariance is measured in the same units, so any standardisation gives the same
        # analysis.
        return cls(
            materials.normaliser,
            materials.grid,
            materials.seed,
            space=materials.networks.autoencoder(),
            local=materials.local,
            residual=ResidualSettings(**materials.settings_of("residual")),
            unseen=materials.unseen,
            archive_size=settings.pop("archive", cls.archive_size),
            **settings,
        )

    def fit(self, archive: Archive) -> None:
        """Store the archive, which is encoded at the first case; see `CaseByCase.fit`."""
        CaseByCase.fit(self, archive)
        self._encoded: tuple[Tensor, Tensor] | None = None
        self._decoding = RecentResults()
        self._lost: BackgroundResidual | None = None
        if self._residual is not None:
            self._residual.fit(archive)

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Analyse one case; `(M, T, C, H, W)` normalised."""
        device = batch.climatology.device
        self.space.to(device)
        if self._residual is not None and self.residual.of_background and self._lost is None:
            self._lost = BackgroundResidual(self.space, self.grid, self.residual.archive)
            self._lost.fit(self.archive, device)
        analysis = super().analyse_case(batch, members)
        if self._residual is None:
            return analysis
        partners, lost = self.gains.partners, self._lost
        sampled = self._residual.add(
            batch, analysis.members, members, lost=lost, partners=partners
        )
        return analysis._replace(members=sampled)

    def errors_of(self, batch: Batch) -> Tensor:
        """Return latent background errors of the case's season, centred: `(n, T, K, h, w)`."""
        season = self.season_of(batch)
        if len(season) > self.archive_size:
            pick = torch.linspace(0, len(season) - 1, self.archive_size)
            season = season[pick.round().long()]
        truth, background = self._encodings(batch.climatology.device)
        return centre(truth[season] - background[season])

    def observations_of(self, batch: Batch) -> StackedObservations:
        """Return the active observations; their variance includes that of the decoder's error."""
        observations = stack_observations(batch, 0)
        if len(observations) == 0:
            return observations
        decoder = self._decoder_variance(observations.operators, batch.climatology.device)
        return replace(
            observations, variance=observations.variance + decoder[observations.columns]
        )

    def observer(
        self, batch: Batch, observations: StackedObservations
    ) -> Callable[[Tensor], Tensor]:
        """Return the map from latent increments to observed values, `(N, T, P_total)`."""
        encoded, sd = self._encoded_background(batch), self.normaliser.sd
        offset = self._offset(batch)

        def observe(increments: Tensor) -> Tensor:
            fields = self.space.decode(encoded + increments) + offset
            return observe_all(observations.operators, fields * sd + batch.climatology)

        return observe

    def state_of(self, batch: Batch, increments: Tensor) -> Tensor:
        """Decode the encoded background plus increments: `(M, T, C, H, W)` normalised."""
        decoded = self.space.decode(self._encoded_background(batch) + increments)
        return decoded + self._offset(batch)

    def _offset(self, batch: Batch) -> Tensor | float:
        """Return what members get back of the background, see `BackgroundResidual`."""
        return 0.0 if self._lost is None else self._lost.of_case(self.background_of(batch))

    def _encoded_background(self, batch: Batch) -> Tensor:
        self.space.to(batch.climatology.device)
        background = self.background_of(batch)
        return self.space.encode(background.mean, background.known)

    def _encodings(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the encoded archive and its encoded backgrounds, computed at first use."""
        if self._encoded is None or self._encoded[0].device != device:
            archive, space = self.archive, self.space.to(device)
            self._encoded = (
                encode_windows(space, archive.fields, archive.known, device),
                encode_windows(space, archive.background, archive.background_known, device),
            )
        return self._encoded

    def _decoder_variance(
        self, operators: tuple[ObservationOperator, ...], device: torch.device
    ) -> Tensor:
        archive = self.archive

        def measure() -> Tensor:
            count = min(self.archive_size, len(archive.fields))
            days = torch.linspace(0, len(archive.fields) - 1, count).round().long()
            latents, sd, total = self._encodings(device)[0], self.normaliser.sd, 0.0
            for some in days.split(_CHUNK):
                given = (self.space, latents[some], archive, some, operators, sd, self._lost)
                errors = decoding_errors(*given)
                total = total + errors.square().sum(dim=0)
            return (total / count).flatten()

        return self._decoding.get((network_probe(operators, archive, self.seed, device),), measure)


build = Latent3DVar.build
