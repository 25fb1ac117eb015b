"""Few-step samplers of the reverse diffusion, and the watch over members that diverge.

All start from `x_T ~ N(0, sigma_max^2 I)` and evaluate the denoiser at log-spaced noise levels,
`sigma_max` the first and `sigma_min` the last. From there to zero noise a sample takes half of
the way to its denoised mean: the probability flow `dx / d(sigma^2) = (x - D) / (2 sigma^2)` over
the interval `[0, sigma_min^2]`, in one step. (Where one stops at `sigma_min`, a posterior as
narrow as three times `sigma_min` comes out 5 % too wide; the denoised mean itself, 5 % too
narrow.) Noise is drawn member by member from generators keyed by case and member, so that a
member does not depend on the batch it is computed in.

*Centred* noise has its mean over the members removed. A sample of a Gaussian posterior is linear
in the noise, so that the mean of few members then is the posterior's mean, and not a sample of
it that is off by its standard deviation over sqrt(M); the variance over members (divisor M - 1)
stays unbiased. Members then depend, through the mean that is removed, on how many there are.

*Inflation* multiplies the noise. Of a Gaussian posterior, that of the deterministic samplers
multiplies the spread by as much and leaves the mean of centred members where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.backend import (
    AdamsBashforthSampler,
    Denoiser,
    EulerSampler,
    HeunSampler,
    Sampler,
    time_of_sigma,
)
from slams.diffusion.settings import SamplerSettings
from slams.errors import UserError

__all__ = [
    "AncestralSampler",
    "DivergedError",
    "PredictorCorrectorSampler",
    "Samples",
    "make_sampler",
    "noise_levels",
    "sample",
]

# A standardised latent further from zero than this is no state of the atmosphere.
_BOUND = 50.0
_ATTEMPTS = 4


class DivergedError(UserError):
    """Says that members diverged every time they were drawn; the caller adds for which case."""


class AncestralSampler(Sampler):
    """Draws `x_s` from the exact reverse kernel of a Gaussian (Ho et al. 2020), stochastically.

    Args:
        denoiser: The (guided) denoiser.
        noise: Gives the standard normal noise of a step, called with the step's number.
    """

    def __init__(
        self, denoiser: Denoiser, noise: Callable[[int], Tensor], **kwargs: float
    ) -> None:
        super().__init__(**kwargs)
        self.denoiser = denoiser
        self.noise = noise
        self._count = 0

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, **kwargs: Tensor) -> Tensor:
        """Draws `x_s` given `x_t`, `(M, ...)` both."""
        _, sigma_t = self.denoiser.schedule(t)
        _, sigma_s = self.denoiser.schedule(s)
        kept = (sigma_s / sigma_t) ** 2
        mean = self.denoiser(x_t, t, **kwargs).mean
        noise = self.noise(self._count).to(x_t)
        self._count += 1
        return mean + kept * (x_t - mean) + sigma_s * torch.sqrt(1 - kept) * noise


class PredictorCorrectorSampler(Sampler):
    """Corrects by Langevin steps at each noise level, then takes a deterministic step down.

    A correction keeps the share `sqrt(1 - tau)` of the noise in `x_t` and draws the rest anew,

        x_t <- D(x_t) + sqrt(1 - tau) (x_t - D(x_t)) + sqrt(tau) sigma_t n,

    which is a step of the unadjusted Langevin algorithm (Song et al. 2021, arXiv 2011.13456). With
    `c = 1 - sqrt(1 - tau)` one correction loses at most `c^2 / 4` of the variance of a Gaussian;
    ever more of them at one level end at the share `(2 - c) / (2 - r c)` of it, where `r` is the
    share of `sigma_t^2` in the variance of `x_t`: up to `c / 2` is lost. Large steps reach far,
    many small ones keep the spread.

    *Averaged* corrections (Leimkuhler and Matthews 2013, arXiv 1203.5428) take the mean of two
    draws, one of which the next correction takes again,

        x_t <- x_t + c (D(x_t) - x_t) + sqrt(2 c) sigma_t (n_k + n_k+1) / 2,

    and keep all of a Gaussian's variance whatever `c`. The first correction at a level has no draw
    before it: it is a plain one of `c / 2`, whose loss those after it make up for.

    Args:
        denoiser: The (guided) denoiser.
        noise: Gives the standard normal noise of a correction, called with its number.
        corrections: Corrections a level.
        tau: Share of the noise's variance that a correction draws anew.
        averaged: Whether corrections are averaged.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        noise: Callable[[int], Tensor],
        corrections: int,
        tau: float,
        averaged: bool = False,
        **kwargs: float,
    ) -> None:
        super().__init__(**kwargs)
        self.denoiser = denoiser
        self.noise = noise
        self.corrections = corrections
        self.tau = tau
        self.averaged = averaged
        self._count = 0

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, **kwargs: Tensor) -> Tensor:
        """Corrects `x_t` and takes it to `x_s`, `(M, ...)` both."""
        _, sigma_t = self.denoiser.schedule(t)
        _, sigma_s = self.denoiser.schedule(s)
        before = None
        for _ in range(self.corrections):
            mean = self.denoiser(x_t, t, **kwargs).mean
            if self.averaged:
                x_t, before = self._averaged(x_t, mean, sigma_t, before)
            else:
                kept = (1 - self.tau) ** 0.5
                x_t = mean + kept * (x_t - mean) + self.tau**0.5 * sigma_t * self._draw(x_t)
        mean = self.denoiser(x_t, t, **kwargs).mean
        return mean + sigma_s / sigma_t * (x_t - mean)

    def _averaged(
        self, x_t: Tensor, mean: Tensor, sigma_t: Tensor, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Gives `x_t` corrected, and the draw that the next correction takes again."""
        drift = 1 - (1 - self.tau) ** 0.5
        width = (drift / 2) ** 0.5 * sigma_t
        if before is None:
            before = (1 - drift / 2) ** 0.5 * self._draw(x_t)
            drift = drift / 2
        drawn = self._draw(x_t)
        return x_t + drift * (mean - x_t) + width * (before + drawn), drawn

    def _draw(self, like: Tensor) -> Tensor:
        self._count += 1
        return self.noise(self._count - 1).to(like)


@dataclass(frozen=True)
class Samples:
    """Holds what sampling gives.

    Attributes:
        members: `(M, ...)` samples.
        diverged: Number of members that had to be drawn again.
    """

    members: Tensor
    diverged: int


def noise_levels(config: SamplerSettings) -> Tensor:
    """Gives the noise levels at which the denoiser is evaluated, `(steps,)`, falling."""
    low, high = torch.tensor([config.sigma_min, config.sigma_max]).log()
    return torch.linspace(high, low, config.steps).exp()


def make_sampler(
    denoiser: Denoiser, config: SamplerSettings, noise: Callable[[int], Tensor] | None = None
) -> Sampler:
    """Builds a sampler by name.

    Args:
        denoiser: The (guided) denoiser.
        config: Kind, steps and noise levels.
        noise: Noise of each step, for the ancestral and the predictor-corrector sampler.

    Returns:
        A sampler from `sigma_max` to `sigma_min`, in one step fewer than there are levels.

    Raises:
        ValueError: The kind is unknown.
    """
    start, stop = _ends(denoiser, config)
    grid = {
        "start": float(start),
        "stop": float(stop),
        "steps": config.steps - 1,
        "silent": True,
    }
    if config.kind == "adams_bashforth":
        return AdamsBashforthSampler(denoiser, order=config.order, **grid)
    if config.kind == "ddim":
        return EulerSampler(denoiser, **grid)
    if config.kind == "heun":
        return HeunSampler(denoiser, **grid)
    if config.kind == "ancestral" and noise is not None:
        return AncestralSampler(denoiser, noise, **grid)
    if config.kind == "predictor_corrector" and noise is not None:
        return PredictorCorrectorSampler(
            denoiser, noise, config.corrections, config.correction, config.averaged, **grid
        )
    raise ValueError(
        f"assimilation.sampler.kind: found {config.kind!r}, expected one of adams_bashforth, "
        "ddim, heun, ancestral, predictor_corrector"
    )


def _ends(denoiser: Denoiser, config: SamplerSettings) -> Tensor:
    """Gives the times `(2,)` of the first and the last noise level."""
    levels = torch.tensor([config.sigma_max, config.sigma_min], dtype=torch.float64)
    return time_of_sigma(levels, denoiser.schedule)


def sample(
    denoiser: Denoiser,
    config: SamplerSettings,
    draw: Callable[[int, str], Tensor],
    members: int,
    only: range | None = None,
    **condition: Tensor,
) -> Samples:
    """Samples an ensemble; a member that diverges is drawn again, never averaged in.

    Args:
        denoiser: The (guided) denoiser of `(M, ...)` states.
        config: The sampler.
        draw: Gives `(...)` standard normal noise for a member and a stream's name.
        members: Number of members `M`.
        only: Members to sample, of the `M` that the noise is drawn for; `None` for all. Each is
            what it is among all of them.
        condition: `(M, ...)` each, passed on to the denoiser.

    Raises:
        DivergedError: A member diverged every time it was drawn.
    """
    result: Tensor | None = None
    chosen_members = range(members) if only is None else only
    wanted = list(chosen_members)
    diverged = 0
    for attempt in range(_ATTEMPTS):

        def noise(name: str, wanted: list[int] = wanted, attempt: int = attempt) -> Tensor:
            stream = f"{name}/{attempt}" if attempt else name
            # Members drawn again stand beside others that have gone before them.
            if not config.centred or members == 1 or attempt:
                return config.inflation * torch.stack([draw(m, stream) for m in wanted])
            drawn = torch.stack([draw(member, stream) for member in range(members)])
            return config.inflation * (drawn - drawn.mean(dim=0, keepdim=True))[wanted]

        sampler = make_sampler(denoiser, config, lambda step: noise(f"step {step}"))
        chosen = {name: value[wanted] for name, value in condition.items()}
        x = sampler(config.sigma_max * noise("start"), **chosen)
        last = _ends(denoiser, config)[1].to(x)
        x = (x + denoiser(x, last, **chosen).mean) / 2
        if result is None:
            result = x.new_zeros(len(chosen_members), *x.shape[1:])
        result[[chosen_members.index(member) for member in wanted]] = x
        flat = x.flatten(1)
        good = torch.isfinite(flat).all(dim=1) & (flat.abs().amax(dim=1) < _BOUND)
        wanted = [member for member, ok in zip(wanted, good.tolist(), strict=True) if not ok]
        if not wanted:
            return Samples(result, diverged)
        diverged += len(wanted)
    raise DivergedError(
        f"{len(wanted)} of {members} members diverged in each of {_ATTEMPTS} draws; raise "
        "assimilation.sampler.steps, or where assimilation.guidance.kind is not decg, lower "
        "assimilation.guidance.below_sigma or take decg"
    )
