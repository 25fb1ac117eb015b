"""Three-dimensional variational assimilation, also for nonlinear observation operators.

In normalised space, with the background errors E (n, D) of optimal interpolation, Y_k = H'(x_k) E
and Gaspari-Cohn localisations L, the analysis minimises

    J(x) = 1/2 (x - x_b)^T B^-1 (x - x_b) + 1/2 (y - H(x))^T R^-1 (y - H(x)).

B has no inverse and is never formed. At the minimum x - x_b = B H'^T w, so that the control
variable is w, one number per observation (the dual formulation: Courtier 1997, Q. J. R. Meteorol.
Soc. 123, 2449-2461). With the localised covariance of optimal interpolation,

    x(w) - x_b = [L_zo o (E^T Y_k) / (n - 1)] w
    (x - x_b)^T B^-1 (x - x_b) = w^T [L_oo o (Y_k^T Y_k) / (n - 1)] w

Outer loops (Gauss-Newton) linearise `H` about x_k; there, the gradient of the quadratic J vanishes
for S_k w = y - H(x_k) + H'(x_k) (x_k - x_b), S_k = L_oo o (Y_k^T Y_k) / (n - 1) + R, which is
solved directly. A step is halved until it lowers J. The loops end when the error of the last
linearisation is small compared with the observation error. With linear `H` there is no such error,
one loop is enough and the analysis is that of optimal interpolation.

Ensemble: the analysis plus centred p_m + K_a (r_m - H'(x_a) p_m), with perturbed observations and
the last gain (Laplace's approximation of the posterior where `H` is not linear).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slams.assimilators.case_by_case import CaseAnalysis, centre
from slams.assimilators.observation_noise import observation_noise
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.assimilators.season import draw_days
from slams.fields import Batch
from slams.linalg.whitening import positive_variance
from slams.methods.specifications import THREE_D_VAR as SPEC
from slams.observations.stacked import (
    StackedObservations,
    observe_all,
    stack_observations,
)
from slams.observations.tangent import tangent

__all__ = ["ThreeDVar", "build"]

# Largest linearisation error at the end, in standard deviations of the observation error.
_TOLERANCE = 1e-3

# Largest number of halvings of a step; after these the minimum is as near as rounding allows.
_HALVINGS = 8


@dataclass
class _Iterate:
    """State of the minimisation.

    Attributes:
        increment: x - x_b, in the shape of the control vector: `(T, C, H, W)` normalised.
        parts: Images Y `(n, P)` and weights w `(D, p, 1)` whose products sum to the increment.
        background_term: (x - x_b)^T B^-1 (x - x_b).
    """

    increment: Tensor
    parts: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    background_term: float = 0.0


@dataclass(eq=False, repr=False)
class ThreeDVar(OptimalInterpolation):
    """Variational assimilation with localised covariances.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        season: Largest distance (days) of an archive day from the verifying day of year.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        shifts: As `OptimalInterpolation`.
        outer_loops: Largest number of linearisations of `H`.

    Raises:
        UserError: The half-width is out of range, see `gaspari_cohn`.
    """

    name = SPEC.name
    section = SPEC.section

    outer_loops: int = 8

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Analyse one case; `(M, T, C, H, W)` normalised."""
        case = int(batch.case[0])
        errors = self.errors_of(batch)
        # Perturbations are real days: the first of the errors, without the shifted copies.
        days = len(errors) // (2 * self.shifts + 1)
        drawn = draw_days(days, self.seed, self.name, case, members)
        perturbations = centre(errors[drawn])
        observations = self.observations_of(batch)
        if len(observations) == 0:
            return CaseAnalysis(self.state_of(batch, perturbations), centred=True)
        problem = _Problem(self, batch, observations, errors)
        observations = problem.observations
        increment, images = problem.minimise(self.outer_loops)
        noise = observation_noise(
            observations, len(errors[0]), self.seed, self.name, case, members, errors
        )
        noise = noise * observations.variance.sqrt()
        perturbations = perturbations + problem.increments(
            images, problem.solve(images, centre(noise) - centre(images[drawn]))
        )
        return CaseAnalysis(self.state_of(batch, increment + perturbations), centred=True)

    # The following define the control vector, here the normalised state itself.

    def errors_of(self, batch: Batch) -> Tensor:
        """Return the background errors of the case's season, centred: `(n, *control)`."""
        variance = self.background_of(batch).variance[0]
        return self._errors.of(self.season_of(batch), variance, self.shifts)

    def observations_of(self, batch: Batch) -> StackedObservations:
        """Return the active observations with the error variances to use."""
        return stack_observations(batch, 0)

    def observer(
        self, batch: Batch, observations: StackedObservations
    ) -> Callable[[Tensor], Tensor]:
        """Return the map from increments `(N, *control)` to observed values, `(N, T, P_total)`."""
        state = self.normaliser.denormalise(self.background_of(batch).mean, batch.climatology)
        sd = self.normaliser.sd
        return lambda increments: observe_all(observations.operators, state + increments * sd)

    def state_of(self, batch: Batch, increments: Tensor) -> Tensor:
        """Add increments `(M, *control)` to the background: `(M, T, C, H, W)` normalised."""
        return self.background_of(batch).mean[0] + increments


class _Problem:
    """Cost function of one case and its minimisation."""

    def __init__(
        self, method: ThreeDVar, batch: Batch, observations: StackedObservations, errors: Tensor
    ) -> None:
        self.errors = errors
        self.observations = observations
        self._variance = positive_variance(observations.variance.to(torch.float64))
        self._observe = method.observer(batch, observations)
        if bool(observations.silent.any()):
            self._replace_silent(method)
        self._gain = method.gains.gain(self.observations)

    def _replace_silent(self, method: ThreeDVar) -> None:
        """Replace censored observations by Gaussian ones, with `H` linearised about x_b."""
        nothing = torch.zeros_like(self.errors[0])
        images, _ = self._images(nothing, self.errors)
        departure = self._departure(nothing)
        self.observations, _ = method.gains.gaussian(self.observations, images, departure)
        self._variance = positive_variance(self.observations.variance.to(torch.float64))

    def minimise(self, outer_loops: int) -> tuple[Tensor, Tensor]:
        """Return the increment `(T, C, H, W)` and the last images `(n, P)`."""
        now = _Iterate(torch.zeros_like(self.errors[0]))
        for _ in range(outer_loops):
            departure = self._departure(now.increment)
            images, of_increment = self._images(now.increment, self.errors)
            weights = self.solve(images, (departure + of_increment)[None])
            target = self.increments(images, weights)[0]
            _, of_target = self._images(now.increment, self.errors[:0], target)
            neglected = self._departure(target) - (departure + of_increment - of_target)
            if float((neglected.abs() / self._variance.sqrt()).max()) < _TOLERANCE:
                return target, images
            new = self._line_search(now, departure, images, weights, target)
            if new is None:
                break
            now = new
        return now.increment, images

    def solve(self, images: Tensor, innovations: Tensor) -> Tensor:
        """Solve S V = innovations `(J, P)` for the weights of `Gain.solve`."""
        return self._gain.solve(images, self.observations.variance, innovations)

    def increments(self, images: Tensor, weights: Tensor) -> Tensor:
        """Compute the increments of weights; return `(J, T, C, H, W)`."""
        anomalies = self.errors.flatten(1, 2).flatten(2)
        increments = self._gain.increments(anomalies, images, weights)
        return increments.reshape(-1, *self.errors.shape[1:])

    def towards(
        self, now: _Iterate, images: Tensor, weights: Tensor, target: Tensor, share: float
    ) -> _Iterate:
        """Move by a fraction of the way to the increment `target` of `images` and `weights`."""
        both = sum(self._gain.inner(part, (images, weights)) for part in now.parts)
        ahead = self._gain.inner((images, weights), (images, weights))
        left = 1 - share
        return _Iterate(
            torch.lerp(now.increment, target, share),
            [*((y, left * w) for y, w in now.parts), (images, share * weights)],
            left**2 * now.background_term + 2 * share * left * both + share**2 * ahead,
        )

    def cost(self, background_term: float, departure: Tensor) -> float:
        """Evaluate J."""
        observed = departure.to(torch.float64).square() / self._variance
        return 0.5 * (background_term + float(observed.sum()))

    def _line_search(
        self, now: _Iterate, departure: Tensor, images: Tensor, weights: Tensor, target: Tensor
    ) -> _Iterate | None:
        """Move from the iterate towards a target as far as J decreases; `None` if it does not."""
        cost = self.cost(now.background_term, departure)
        for halving in range(_HALVINGS + 1):
            new = self.towards(now, images, weights, target, 0.5**halving)
            if self.cost(new.background_term, self._departure(new.increment)) < cost:
                return new
        return None

    def _departure(self, increment: Tensor) -> Tensor:
        """Return y - H(x), `(P,)`."""
        observed = self.observations.select(self._observe(increment[None]))
        return self.observations.values - observed[0]

    def _images(
        self, about: Tensor, errors: Tensor, increment: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Observe errors `(n, P)` and an increment `(P,)`, linearised about x_b + `about`."""
        increment = about if increment is None else increment
        images = tangent(self._observe, about[None], torch.cat([errors, increment[None]]))
        images = self.observations.select(images)
        return images[:-1], images[-1]


build = ThreeDVar.build
