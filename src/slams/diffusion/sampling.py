"""Few-step samplers of the reverse diffusion, and the check for members that diverge.

All samplers start from `x_T ~ N(0, sigma_max^2 I)` and evaluate the denoiser at log-spaced noise
levels, from `sigma_max` to `sigma_min`. From there to zero noise a sample is moved half of the way
to its denoised mean: the probability flow `dx / d(sigma^2) = (x - D) / (2 sigma^2)` over the
interval `[0, sigma_min^2]`, in one step. (A sampler that stops at `sigma_min` makes a posterior as
narrow as three times `sigma_min` 5 % too wide; the denoised mean itself makes it 5 % too narrow.)
Noise is drawn member by member from generators keyed by case and member, so that a member does
not depend on the batch in which it is computed.

*Centred* noise is noise from which the mean over the members is removed. A sample of a Gaussian
posterior is linear in the noise, so that the mean of even a few members is then the mean of the
posterior; without centring it is a sample that differs from it by the standard deviation over
sqrt(M). The variance over members (divisor M - 1) stays unbiased. Centred members depend on the
number of members, through the mean that is removed.

*Inflation* multiplies the noise. With a deterministic sampler and a Gaussian posterior it
multiplies the spread by the same factor and leaves the mean of centred members unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, Sampler, time_of_sigma
from slams.diffusion.settings import SamplerSettings
from slams.errors import UserError
from slams.plugins.samplers import SAMPLERS

__all__ = [
    "DivergedError",
    "SamplerProblem",
    "Samples",
    "make_sampler",
    "noise_levels",
    "sample",
]

# A standardised latent further from zero than this is not a state of the atmosphere.
_BOUND = 50.0
_ATTEMPTS = 4


class DivergedError(UserError):
    """Error for members that diverged in every draw; the caller adds the case."""


@dataclass(frozen=True)
class Samples:
    """Result of sampling.

    Attributes:
        members: `(M, ...)` samples.
        diverged: Number of members that had to be drawn again.
    """

    members: Tensor
    diverged: int


def noise_levels(config: SamplerSettings) -> Tensor:
    """Return the noise levels at which the denoiser is evaluated, `(steps,)`, decreasing."""
    low, high = torch.tensor([config.sigma_min, config.sigma_max]).log()
    return torch.linspace(high, low, config.steps).exp()


@dataclass(frozen=True)
class SamplerProblem:
    """Inputs from which the sampler of one case is built.

    Attributes:
        denoiser: The (guided) denoiser.
        settings: Parameters of the sampler.
        draw: Function from the number of a step to its standard normal noise; `None` if there is
            no noise.
    """

    denoiser: Denoiser
    settings: SamplerSettings
    draw: Callable[[int], Tensor] | None = None

    @property
    def noise(self) -> Callable[[int], Tensor]:
        """Return the function that draws the noise of a step.

        Raises:
            ValueError: There is none.
        """
        if self.draw is None:
            raise ValueError(f"sampler {self.settings.kind} needs noise, found none")
        return self.draw

    @property
    def grid(self) -> dict[str, Any]:
        """Return the arguments common to all samplers: the first and the last level, the steps."""
        start, stop = _ends(self.denoiser, self.settings)
        # The number of steps is one less than the number of levels.
        steps = self.settings.steps - 1
        return {"start": float(start), "stop": float(stop), "steps": steps, "silent": True}


def make_sampler(
    denoiser: Denoiser, settings: SamplerSettings, noise: Callable[[int], Tensor] | None = None
) -> Sampler:
    """Build a sampler by name.

    Args:
        denoiser: The (guided) denoiser.
        settings: Kind, steps and noise levels.
        noise: Function from the number of a step to its noise, for samplers that draw noise.

    Returns:
        A sampler from `sigma_max` to `sigma_min`; it takes one step less than there are levels.

    Raises:
        UserError: There is no such kind.
        ValueError: The kind draws noise and there is none.
    """
    spec = SAMPLERS.get(settings.kind, "assimilation.sampler.kind")
    return spec.build(SamplerProblem(denoiser, settings, noise))


def _ends(denoiser: Denoiser, config: SamplerSettings) -> Tensor:
    """Return the times `(2,)` of the first and the last noise level."""
    levels = torch.tensor([config.sigma_max, config.sigma_min], dtype=torch.float64)
    return time_of_sigma(levels, denoiser.schedule)


def sample(
    denoiser: Denoiser,
    config: SamplerSettings,
    draw: Callable[[int, str], Tensor],
    members: int,
    only: range | None = None,
    again: Denoiser | None = None,
    **condition: Tensor,
) -> Samples:
    """Sample an ensemble; draw members that diverge again, so that none enters the average.

    Args:
        denoiser: The (guided) denoiser of `(M, ...)` states.
        config: The sampler.
        draw: Function from a member and the name of a stream to `(...)` standard normal noise.
        members: Number of members `M`.
        only: Members to sample, of the `M` for which noise is drawn; `None` for all. Each is the
            same as when all are sampled.
        again: Denoiser of members that are drawn again; `None` for the same. Where processes
            evaluate `denoiser` in step, this one must not wait for the others.
        condition: `(M, ...)` each, passed to the denoiser.

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
            # Members drawn again belong to an ensemble whose other members are already done.
            if not config.centred or members == 1 or attempt:
                return config.inflation * torch.stack([draw(m, stream) for m in wanted])
            drawn = torch.stack([draw(member, stream) for member in range(members)])
            return config.inflation * (drawn - drawn.mean(dim=0, keepdim=True))[wanted]

        if attempt and again is not None:
            denoiser = again
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
        "assimilation.sampler.steps or, if assimilation.guidance.kind is not decg, lower "
        "assimilation.guidance.below_sigma or use decg"
    )
