"""The guided denoiser of one case, built by the name of its kind."""

from __future__ import annotations

from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior
from slams.diffusion.posterior.pointwise import LatentObservation
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.plugins.guidance import GUIDANCE

__all__ = ["below_sigma", "guided_denoiser", "guided_latent_denoiser"]

_KEY = "assimilation.guidance.kind"


def guided_denoiser(problem: GuidanceProblem) -> Denoiser:
    """Build the guided denoiser of one case.

    A kind that differentiates the network guides only below `settings.below_sigma`.

    Args:
        problem: Prior, observations and settings; `settings.kind` names the kind.

    Raises:
        UserError: There is no such kind.
    """
    spec = GUIDANCE.get(problem.settings.kind, _KEY)
    guided = spec.build(problem)
    if spec.uses_jacobian:
        return below_sigma(guided, problem.denoiser, problem.settings.below_sigma)
    return guided


def guided_latent_denoiser(problem: GuidanceProblem, seen: LatentObservation) -> Denoiser:
    """Build the guided denoiser where observations are compared with latents, point by point.

    Args:
        problem: Prior, settings, and the observed latents as one vector `(P,)`.
        seen: The same observations with their matrices and covariances.

    Raises:
        UserError: There is no such kind.
    """
    spec = GUIDANCE.get(problem.settings.kind, _KEY)
    return spec.build_latent(problem, seen) if spec.build_latent else guided_denoiser(problem)


def below_sigma(guided: Denoiser, prior: Denoiser, limit: float) -> Denoiser:
    """Guide only below a noise level, where the learned Jacobian can be trusted.

    Args:
        guided: Denoiser of the posterior.
        prior: Denoiser of the prior.
        limit: Noise level at and above which the prior's denoiser is used.
    """
    return _BelowSigma(guided, prior, limit)


class _BelowSigma(Denoiser):
    def __init__(self, guided: Denoiser, prior: Denoiser, limit: float) -> None:
        super().__init__()
        self.guided = guided
        self.prior = prior
        self.limit = limit

    @property
    def schedule(self):
        return self.prior.schedule

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        _, sigma_t = self.schedule(t)
        denoiser = self.guided if float(sigma_t) < self.limit else self.prior
        return denoiser(x_t, t, **condition)
