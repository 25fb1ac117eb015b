"""The guided denoiser of one case, built by the name of its kind."""

from __future__ import annotations

from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior, WrappedDenoiser
from slams.diffusion.posterior.pointwise import LatentObservation
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.plugins.guidance import GUIDANCE

__all__ = ["BelowSigma", "guided_denoiser"]


def guided_denoiser(problem: GuidanceProblem, seen: LatentObservation | None = None) -> Denoiser:
    """Build the guided denoiser of one case.

    A kind that differentiates the network guides only below `settings.below_sigma`.

    Args:
        problem: Prior, observations and settings; `settings.kind` names the kind.
        seen: Where observations are compared with latents, point by point: the observations of
            `problem`, one vector `(P,)` there, with their matrices and covariances.

    Raises:
        UserError: There is no such kind.
    """
    spec = GUIDANCE.get(problem.settings.kind, "assimilation.guidance.kind")
    if seen is not None and spec.build_latent:
        return spec.build_latent(problem, seen)
    guided = spec.build(problem)
    if spec.uses_jacobian:
        return BelowSigma(guided, problem.denoiser, problem.settings.below_sigma)
    return guided


class BelowSigma(WrappedDenoiser):
    """Guidance only below a noise level, where the learned Jacobian can be trusted.

    Args:
        guided: Denoiser of the posterior.
        prior: Denoiser of the prior.
        limit: Noise level at and above which the prior's denoiser is used.
    """

    def __init__(self, guided: Denoiser, prior: Denoiser, limit: float) -> None:
        super().__init__(prior)
        self.guided = guided
        self.limit = limit

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[z | z_t, y]`, above the limit `E[z | z_t]`, for states at one time `()`."""
        _, sigma_t = self.schedule(t)
        denoiser = self.guided if float(sigma_t) < self.limit else self.denoiser
        return denoiser(x_t, t, **condition)
