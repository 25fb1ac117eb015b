"""Base class of ensemble Kalman filters: prior ensemble, inflation, relaxation, choice of members.

The prior ensemble of K members is the background plus K of its past errors of the season, drawn
without replacement, centred and rescaled to the background's error variance (see
`BackgroundErrors`). Errors of past days replace a forecast ensemble, so that the covariance
depends on the season but not on the flow of the day; every filter draws the same days.

    inflation     p_k <- inflation p_k             before the update (factor on perturbations)
    relaxation    p_k <- p_k (1 + rtps (sd_b - sd_a) / sd_a)        after it

at every grid point and field; sd_b and sd_a are the ensemble's standard deviations before and
after the update (relaxation to prior spread: Whitaker and Hamill 2012, Mon. Weather Rev. 140,
3078-3089). Both compensate for the loss of spread that is due to the sampled covariance.

The M members of the result are a random choice of the K, without repetition if M <= K, shifted so
that their mean is that of all K. Their variance (divisor M - 1) is on average that of the K.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from slams.assimilators.background_errors import FromBackgroundErrors
from slams.assimilators.case_by_case import CaseAnalysis, centre
from slams.assimilators.network_gains import NetworkGains
from slams.assimilators.season import draw_days
from slams.errors import UserError
from slams.fields import Batch
from slams.observations.stacked import StackedObservations, stack_observations

__all__ = ["Analysed", "EnsembleKalman", "PriorEnsemble", "relax_to_prior_spread"]

# Increment of the mean, and perturbations of the analysis.
Analysed = tuple[Tensor, Tensor]

# Variance (normalised) below which the spread of an analysis cannot be relaxed.
_SMALLEST_VARIANCE = 1e-12


def relax_to_prior_spread(prior: Tensor, analysis: Tensor, rtps: float) -> Tensor:
    """Relax the spread of an analysis towards that of its prior.

    Args:
        prior: `(K, ...)` perturbations before the update, centred.
        analysis: `(K, ...)` perturbations after it, centred.
        rtps: Fraction of the lost spread that is restored, 0 to 1.

    Returns:
        `(K, ...)`; with 1 the spread is that of the prior, with 0 the perturbations are unchanged.
    """
    if rtps == 0:
        return analysis
    before = prior.square().mean(dim=0).sqrt()
    after = analysis.square().mean(dim=0).clamp(min=_SMALLEST_VARIANCE).sqrt()
    return analysis * (1 + rtps * (before - after) / after)


@dataclass(frozen=True)
class PriorEnsemble:
    """Prior of one case.

    Attributes:
        perturbations: `(K, D, C, H, W)` normalised, centred; the last T of the D days are those of
            the case, earlier ones are updated with them.
        images: `(K, P)` their observed values, centred.
        innovation: `(P,)` observed values minus the ensemble mean of `H`.
        case: The case, for seeds.
        days: Days T of the case.
    """

    perturbations: Tensor
    images: Tensor
    innovation: Tensor
    case: int
    days: int


@dataclass(eq=False, repr=False)
class EnsembleKalman(FromBackgroundErrors):
    """Base class of filters that update an ensemble of background errors by observations.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        season: Largest distance (days) of an archive day from the verifying day of year.
        ensemble: Members `K` of the prior; fewer if the season has fewer days.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        inflation: Factor on the perturbations of the prior.
        rtps: Relaxation to prior spread, 0 to 1.

    Raises:
        UserError: There are fewer than two members, the inflation is not positive, the relaxation
            is outside [0, 1], or the half-width is out of range (see `gaspari_cohn`).
    """

    season: float = 75.0
    ensemble: int = 80
    localisation: float = 3000.0
    inflation: float = 1.0
    rtps: float = 0.0

    def __post_init__(self) -> None:
        for what, holds, expected in (
            ("ensemble", self.ensemble >= 2, "at least 2 members"),
            ("inflation", self.inflation > 0, "more than 0"),
            ("rtps", 0 <= self.rtps <= 1, "a fraction in [0, 1]"),
        ):
            if not holds:
                found = getattr(self, what)
                raise UserError(f"{self.name}: {what} is {found}, expected {expected}")
        self.gains = NetworkGains(self.grid, self.localisation, self.local)

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Analyse one case; `(M, T, C, H, W)` normalised."""
        return self.choose(*self.analyse_ensemble(batch), int(batch.case[0]), members)

    def choose(self, mean: Tensor, perturbations: Tensor, case: int, members: int) -> CaseAnalysis:
        """Choose members among those of an analysis.

        Args:
            mean: `(T, C, H, W)` analysis, normalised.
            perturbations: `(K, T, C, H, W)` its perturbations.
            case: The case, for seeds.
            members: Number of members `M`.
        """
        stream = "ensemble_kalman/members"
        chosen = draw_days(len(perturbations), self.seed, stream, case, members)
        return CaseAnalysis(mean + centre(perturbations[chosen]), centred=True)

    def analyse_ensemble(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Analyse one case with all `K` members.

        Args:
            batch: One case.

        Returns:
            The analysis `(T, C, H, W)` and its perturbations `(K, T, C, H, W)`, normalised.
        """
        background = self.background_of(batch)
        case = int(batch.case[0])
        season = self.season_of(batch)
        size = min(self.ensemble, len(season))
        drawn = draw_days(len(season), self.seed, "ensemble_kalman", case, size)
        prior = self.inflation * self._errors.of(season[drawn], background.variance[0])
        return self.assimilate(batch, background.mean[0], prior)

    def assimilate(self, batch: Batch, mean: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Update a given prior ensemble by the observations of a case.

        Args:
            batch: One case of T days.
            mean: `(D, C, H, W)` mean of the prior, normalised; the last T of the D days are those
                of the case.
            prior: `(K, D, C, H, W)` its perturbations, centred.

        Returns:
            The analysis and its perturbations, of the same shapes.
        """
        observations = stack_observations(batch, 0)
        if len(observations) == 0:
            return mean, prior
        days = batch.climatology.shape[1]
        # Apply H itself to every member, not its linear part, because H may be nonlinear.
        state = self.normaliser.denormalise(mean[None, -days:], batch.climatology)
        observed = observations.apply(state + prior[:, -days:] * self.normaliser.sd)
        centre_of_images = observed.mean(dim=0)
        images = observed - centre_of_images
        observations, innovation = self.gains.gaussian(
            observations, images, observations.values - centre_of_images
        )
        ensemble = PriorEnsemble(prior, images, innovation, int(batch.case[0]), days)
        increment, analysis = self.update(ensemble, observations)
        return mean + increment, relax_to_prior_spread(prior, analysis, self.rtps)

    @abstractmethod
    def update(self, prior: PriorEnsemble, observations: StackedObservations) -> Analysed:
        """Update the ensemble.

        Args:
            prior: The ensemble and its observed values.
            observations: The active observations, with the error variances to use.

        Returns:
            Increment `(D, C, H, W)` of the mean and perturbations `(K, D, C, H, W)`, centred.
        """
