"""Optimal interpolation with covariances from an archive of background errors.

In normalised space, with background errors e of n past days of the season (centred, rescaled
to the background's error variance, see `BackgroundErrors`), Y = H_lin (e * sd), Gaspari-Cohn
localisations L of great-circle distances and innovation d,

    x_a = x_b + [L_zo o (e^T Y) / (n - 1)] S^-1 d,     S = L_oo o (Y^T Y) / (n - 1) + R
    d   = y - H(x_b * sd + climatology)

The covariance does not depend on the flow of the day, only on the season. Days of a window are
additional fields of the state; their correlations are not localised in time.

Ensemble (perturbed observations, Burgers et al. 1998, Mon. Weather Rev. 126, 1719-1724):
member m has background x_b + p_m and observations y + r_m, with p_m an error of the archive and
r_m drawn from R. Both are centred over the members, and the analysis is linear in them, so that
the ensemble mean is x_a itself. The p_m are errors of real days and are not localised; S and the
gain are. Because the gain is estimated from the same days from which the p_m are drawn, the spread
is somewhat too small if the archive is small. Shifted copies of the errors (`shifts`) enter only
the covariances, not the p_m.

Censored observations are replaced by Gaussian ones with the same effect on the background, see
`slams.linalg.censoring`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slams.assimilators.background_errors import FromBackgroundErrors
from slams.assimilators.case_by_case import CaseAnalysis, centre
from slams.assimilators.network_gains import NetworkGains
from slams.assimilators.observation_noise import observation_noise
from slams.assimilators.season import draw_days
from slams.fields import Batch
from slams.methods.specifications import OPTIMAL_INTERPOLATION as SPEC
from slams.observations.stacked import (
    StackedObservations,
    observe_perturbations,
    stack_observations,
)

__all__ = ["OptimalInterpolation", "build"]


@dataclass(eq=False, repr=False)
class OptimalInterpolation(FromBackgroundErrors):
    """Optimal interpolation with localised climatological covariances.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        season: Largest distance (days) of an archive day from the verifying day of year.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        shifts: Copies of the errors shifted by 1 to this many cells of longitude, in both
            directions, are added to the archive, see `BackgroundErrors`.

    Raises:
        UserError: The half-width is out of range, see `gaspari_cohn`.
    """

    name = SPEC.name

    season: float = 75.0
    localisation: float = 4000.0
    shifts: int = 0

    def __post_init__(self) -> None:
        self.gains = NetworkGains(self.grid, self.localisation, self.local)

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Analyse one case; `(M, T, C, H, W)` normalised."""
        background = self.background_of(batch)
        case = int(batch.case[0])
        season = self.season_of(batch)
        errors = self._errors.of(season, background.variance[0], self.shifts)
        drawn = draw_days(len(season), self.seed, self.name, case, members)
        prior = background.mean[0] + centre(errors[drawn])
        observations = stack_observations(batch, 0)
        if len(observations) == 0:
            return CaseAnalysis(prior, centred=True)
        images = observe_perturbations(observations.operators, errors * self.normaliser.sd)
        images = observations.select(images)
        innovation = self._innovation(batch, observations)
        observations, innovation = self.gains.gaussian(observations, images, innovation)
        noise = observation_noise(
            observations, len(prior[0]), self.seed, self.name, case, members, errors
        )
        noise = centre(noise * observations.variance.sqrt())
        innovations = innovation + noise - centre(images[drawn])
        gain = self.gains.gain(observations)
        weights = gain.solve(images, observations.variance, innovations)
        increments = gain.increments(errors.flatten(1, 2).flatten(2), images, weights)
        return CaseAnalysis(prior + increments.reshape(prior.shape), centred=True)

    def _innovation(self, batch: Batch, observations: StackedObservations) -> Tensor:
        """Return y - H(x_b), `(P,)`."""
        state = self.normaliser.denormalise(self.background_of(batch).mean, batch.climatology)
        return observations.values - observations.apply(state)[0]


build = OptimalInterpolation.build
