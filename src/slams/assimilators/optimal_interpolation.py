"""Optimal interpolation with covariances from an archive of background errors.

In normalised space, with errors e = x - x_b of past days of the season (centred, n of them),
Y = H_lin (e * sd), Gaspari-Cohn localisations L of great-circle distances and innovation d,

    x_a = x_b + [L_zo o (e^T Y) / (n - 1)] S^-1 d,     S = L_oo o (Y^T Y) / (n - 1) + R
    d   = y - H(x_b * sd + climatology)

The covariance does not depend on the flow of the day, only on the season. Days of a window are
further fields of the state; their correlations are not localised in time.

Ensemble (perturbed observations, Burgers et al. 1998, Mon. Weather Rev. 126, 1719-1724):
member m has background x_b + p_m and observations y + r_m, with p_m an error of the archive and
r_m drawn from R. Both are centred over the members, and the analysis is linear in them, so that
the ensemble mean is x_a itself. The p_m are not localised, being days that occurred; S and the
gain are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.classical import ClassicalAssimilator, centre
from slams.assimilators.localisation import gaspari_cohn
from slams.assimilators.localised_gain import (
    innovation_covariance,
    localised_increments,
    solve_innovations,
)
from slams.assimilators.observed_archive import ObservedArchive, observe_archive
from slams.assimilators.season import draw_days
from slams.fields import Batch, ObservationOperator
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.observations.stacked import StackedObservations, stack_observations
from slams.seeds import member_noise

__all__ = ["OptimalInterpolation"]

# Networks kept ready: a study of modalities comes back to the same few.
_NETWORKS = 4


class OptimalInterpolation(ClassicalAssimilator):
    """Corrects the background by observations with localised climatological covariances.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        season: Days from the verifying day of year within which archive days are used.

    Raises:
        UserError: The half-width is out of range, see `gaspari_cohn`.
    """

    name = "optimal_interpolation"

    def __init__(
        self,
        normaliser: Normaliser,
        grid: LatLonGrid,
        seed: int,
        localisation: float = 4000.0,
        season: float = 75.0,
    ) -> None:
        super().__init__(normaliser, grid, seed, season)
        gaspari_cohn(torch.zeros(1), localisation)
        self.localisation = localisation
        self._networks: list[ObservedArchive] = []

    def fit(self, archive: Archive) -> None:
        """Keeps the archive; see `ClassicalAssimilator.fit`."""
        super().fit(archive)
        self._networks = []

    def analyse_case(self, batch: Batch, members: int) -> Tensor:
        """Analyses one case; `(M, T, C, H, W)` normalised."""
        background = self.background_of(batch).mean[0]
        device = background.device
        case = int(batch.case[0])
        season = self.season_of(batch)
        errors = self.archive.fields[season] - self.archive.background[season]
        errors = centre(errors.to(device))
        drawn = draw_days(len(season), self.seed, self.name, case, members)
        perturbations = centre(errors[drawn])
        prior = background + perturbations
        observations = stack_observations(batch, 0)
        if len(observations) == 0:
            return prior
        network = self._network(observations.operators)
        images = centre(observations.select(network.images[season]))
        innovation = self._innovation(batch, observations)
        noise = member_noise(
            network.images.shape[1:], self.seed, f"{self.name}/observations", case, range(members)
        ).to(device)
        noise = centre(observations.select(noise)) * observations.variance.sqrt()
        innovations = innovation + noise - centre(images[drawn])
        points = observations.points
        covariance = innovation_covariance(
            images,
            network.observation_localisation[points][:, points],
            observations.variance,
        )
        increments = localised_increments(
            errors.reshape(len(season), -1, errors[0, 0, 0].numel()),
            images,
            network.state_localisation[:, points],
            solve_innovations(covariance, innovations),
        )
        return prior + increments.reshape(prior.shape)

    def _innovation(self, batch: Batch, observations: StackedObservations) -> Tensor:
        """Gives y - H(x_b), `(P,)`."""
        state = self.normaliser.denormalise(self.background_of(batch).mean, batch.climatology)
        return observations.values - observations.apply(state)[0]

    def _network(self, operators: tuple[ObservationOperator, ...]) -> ObservedArchive:
        """Finds or makes what depends on the network alone."""
        for network in self._networks:
            if network.belongs_to(operators, self.normaliser.sd):
                return network
        network = observe_archive(
            self.archive, operators, self.normaliser, self.grid, self.localisation
        )
        self._networks = [network, *self._networks[: _NETWORKS - 1]]
        return network
