"""Few-step samplers of the reverse diffusion, and the watch over members that diverge.

All start from `x_T ~ N(0, sigma_max^2 I)` and visit log-spaced noise levels down to `sigma_min`,
where the last denoised mean is the sample. Noise is drawn member by member from generators
keyed by case and member, so that a member does not depend on the batch it is computed in.
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
    Sampler,
    time_of_sigma,
)
from slams.schema import SamplerConfig

__all__ = ["AncestralSampler", "Samples", "make_sampler", "noise_levels", "sample"]

# A standardised latent further from zero than this is no state of the atmosphere.
_BOUND = 50.0
_ATTEMPTS = 4


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


@dataclass(frozen=True)
class Samples:
    """Holds what sampling gives.

    Attributes:
        members: `(M, ...)` samples.
        diverged: Number of members that had to be drawn again.
    """

    members: Tensor
    diverged: int


def noise_levels(config: SamplerConfig) -> Tensor:
    """Gives the noise levels at which the denoiser is evaluated, `(steps,)`, falling."""
    low, high = torch.tensor([config.sigma_min, config.sigma_max]).log()
    return torch.linspace(high, low, config.steps + 1)[:-1].exp()


def make_sampler(
    denoiser: Denoiser, config: SamplerConfig, noise: Callable[[int], Tensor] | None = None
) -> Sampler:
    """Builds a sampler by name.

    Args:
        denoiser: The (guided) denoiser.
        config: Kind, steps and noise levels.
        noise: Noise of each step, for the ancestral sampler.

    Raises:
        ValueError: The kind is unknown.
    """
    ends = time_of_sigma(
        torch.tensor([config.sigma_max, config.sigma_min], dtype=torch.float64), denoiser.schedule
    )
    grid = {
        "start": float(ends[0]),
        "stop": float(ends[1]),
        "steps": config.steps,
        "silent": True,
    }
    if config.kind == "adams_bashforth":
        return AdamsBashforthSampler(denoiser, order=2, **grid)
    if config.kind == "ddim":
        return EulerSampler(denoiser, **grid)
    if config.kind == "ancestral" and noise is not None:
        return AncestralSampler(denoiser, noise, **grid)
    raise ValueError(
        f"assimilation.sampler.kind: found {config.kind!r}, expected one of adams_bashforth, "
        "ddim, ancestral"
    )


def sample(
    denoiser: Denoiser,
    config: SamplerConfig,
    draw: Callable[[int, str], Tensor],
    members: int,
    **condition: Tensor,
) -> Samples:
    """Samples an ensemble; a member that diverges is drawn again, never averaged in.

    Args:
        denoiser: The (guided) denoiser of `(M, ...)` states.
        config: The sampler.
        draw: Gives `(...)` standard normal noise for a member and a stream's name.
        members: Number of members `M`.
        condition: `(M, ...)` each, passed on to the denoiser.

    Raises:
        RuntimeError: A member diverged every time it was drawn.
    """
    result: Tensor | None = None
    wanted = list(range(members))
    diverged = 0
    for attempt in range(_ATTEMPTS):

        def noise(name: str, wanted: list[int] = wanted, attempt: int = attempt) -> Tensor:
            stream = f"{name}/{attempt}" if attempt else name
            return torch.stack([draw(member, stream) for member in wanted])

        sampler = make_sampler(denoiser, config, lambda step: noise(f"step {step}"))
        x = sampler(
            config.sigma_max * noise("start"), **{k: v[wanted] for k, v in condition.items()}
        )
        result = x.new_zeros(members, *x.shape[1:]) if result is None else result
        result[wanted] = x
        flat = x.flatten(1)
        good = torch.isfinite(flat).all(dim=1) & (flat.abs().amax(dim=1) < _BOUND)
        wanted = [member for member, ok in zip(wanted, good.tolist(), strict=True) if not ok]
        if not wanted:
            return Samples(result, diverged)
        diverged += len(wanted)
    raise RuntimeError(
        f"{len(wanted)} of {members} members diverged {_ATTEMPTS} times; lower "
        "assimilation.guidance.below_sigma, raise assimilation.sampler.steps, or use guidance decg"
    )
