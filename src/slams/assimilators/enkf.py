"""Ensemble Kalman filter with perturbed observations and localised covariances.

With perturbations X (K, D) of the prior, their observed values Y (K, P), Gaspari-Cohn
localisations L and the innovation d of the ensemble mean,

    gain      = [L_zo o (X^T Y) / (K - 1)] [L_oo o (Y^T Y) / (K - 1) + R]^-1
    x_a       = x_b + gain d
    member k  = x_a + p_k + gain (r_k - Y_k),       r_k ~ N(0, R) centred

(Burgers, van Leeuwen and Evensen 1998, Mon. Weather Rev. 126, 1719-1724; localisation by the
Schur product: Houtekamer and Mitchell 2001, Mon. Weather Rev. 129, 123-137). Prior, inflation,
relaxation and the choice of members: `slams.assimilators.ensemble_kalman`.
"""

from __future__ import annotations

import torch

from slams.assimilators.case_by_case import centre
from slams.assimilators.ensemble_kalman import Analysed, EnsembleKalman, PriorEnsemble
from slams.assimilators.observation_noise import observation_noise
from slams.methods.specifications import ENKF as SPEC
from slams.observations.stacked import StackedObservations

__all__ = ["EnKF", "build"]


class EnKF(EnsembleKalman):
    """Ensemble Kalman filter with observations perturbed per member; see `EnsembleKalman`."""

    name = SPEC.name

    def update(self, prior: PriorEnsemble, observations: StackedObservations) -> Analysed:
        """Update the ensemble; see `EnsembleKalman.update`."""
        errors, sd = prior.perturbations, observations.variance.sqrt()
        noise = observation_noise(
            observations, prior.days, self.seed, self.name, prior.case, len(errors), errors
        )
        # The innovation of the mean first, then those of the members.
        innovations = torch.cat([prior.innovation[None], centre(noise * sd) - prior.images])
        gain = self.gains.gain(observations)
        weights = gain.solve(prior.images, observations.variance, innovations)
        increments = gain.increments(errors.flatten(1, 2).flatten(2), prior.images, weights)
        increments = increments.reshape(-1, *errors.shape[1:])
        return increments[0], errors + increments[1:]


build = EnKF.build
