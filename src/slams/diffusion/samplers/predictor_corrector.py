"""Predictor-corrector sampling: Langevin corrections at each level, then a step down."""

from __future__ import annotations

from torch import Tensor

from slams.diffusion.backend import Sampler
from slams.diffusion.sampling import SamplerProblem
from slams.plugins.samplers import SamplerSpec

__all__ = ["SPEC", "PredictorCorrectorSampler"]


class PredictorCorrectorSampler(Sampler):
    """Sampler with Langevin corrections at each noise level, then a deterministic step down.

    A correction keeps the fraction `sqrt(1 - tau)` of the noise in `x_t` and redraws the rest,

        x_t <- D(x_t) + sqrt(1 - tau) (x_t - D(x_t)) + sqrt(tau) sigma_t n,

    which is a step of the unadjusted Langevin algorithm (Song et al. 2021, arXiv 2011.13456). With
    `c = 1 - sqrt(1 - tau)` one correction loses at most `c^2 / 4` of the variance of a Gaussian;
    as their number at one level grows, the fraction `(2 - c) / (2 - r c)` of it remains, where `r`
    is the fraction of `sigma_t^2` in the variance of `x_t`: up to `c / 2` is lost. Large steps
    move far, many small steps preserve the spread.

    *Averaged* corrections (Leimkuhler and Matthews 2013, arXiv 1203.5428) use the mean of two
    draws, one of which is used again by the next correction,

        x_t <- x_t + c (D(x_t) - x_t) + sqrt(2 c) sigma_t (n_k + n_k+1) / 2,

    and preserve the variance of a Gaussian for any `c`. The first correction at a level has no
    previous draw: it is a plain correction of `c / 2`, whose loss the following ones compensate.

    Args:
        problem: The (guided) denoiser, noise levels and noise, with the number of `corrections`
            per level, the fraction `tau` of the variance of the noise that each of them redraws
            (`correction`), and whether they are `averaged`.
    """

    def __init__(self, problem: SamplerProblem) -> None:
        super().__init__(**problem.grid)
        self.denoiser = problem.denoiser
        self.noise = problem.noise
        self.settings = problem.settings
        self._count = 0

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, **kwargs: Tensor) -> Tensor:
        """Correct `x_t` and take it to `x_s`, `(M, ...)` both."""
        _, sigma_t = self.denoiser.schedule(t)
        _, sigma_s = self.denoiser.schedule(s)
        before, tau = None, self.settings.correction
        for _ in range(self.settings.corrections):
            mean = self.denoiser(x_t, t, **kwargs).mean
            if self.settings.averaged:
                x_t, before = self._averaged(x_t, mean, sigma_t, before)
            else:
                kept = (1 - tau) ** 0.5
                x_t = mean + kept * (x_t - mean) + tau**0.5 * sigma_t * self._draw(x_t)
        mean = self.denoiser(x_t, t, **kwargs).mean
        return mean + sigma_s / sigma_t * (x_t - mean)

    def _averaged(
        self, x_t: Tensor, mean: Tensor, sigma_t: Tensor, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the corrected `x_t` and the draw that the next correction uses again."""
        drift = 1 - (1 - self.settings.correction) ** 0.5
        width = (drift / 2) ** 0.5 * sigma_t
        if before is None:
            before = (1 - drift / 2) ** 0.5 * self._draw(x_t)
            drift = drift / 2
        drawn = self._draw(x_t)
        return x_t + drift * (mean - x_t) + width * (before + drawn), drawn

    def _draw(self, like: Tensor) -> Tensor:
        self._count += 1
        return self.noise(self._count - 1).to(like)


SPEC = SamplerSpec("predictor_corrector", PredictorCorrectorSampler)
