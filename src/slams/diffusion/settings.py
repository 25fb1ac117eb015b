"""Settings of samplers and guidance: the numbers that the mathematics takes.

They are also sections of a recipe (`assimilation.sampler`, `assimilation.guidance`), so that the
comment above a field is its help text. Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from slams.plugins.guidance import GUIDANCE
from slams.plugins.keys import NOT_NEGATIVE, POSITIVE, at_least, key, one_of, registered, that
from slams.plugins.samplers import SAMPLERS

__all__ = ["GuidanceSettings", "SamplerSettings"]


@dataclass
class SamplerSettings:
    """The sampler of the reverse diffusion."""

    # `adams_bashforth` (deterministic, multistep), `ddim`, `heun`, `ancestral` or
    # `predictor_corrector`.
    kind: str = key("adams_bashforth", registered(SAMPLERS))
    # Order of `adams_bashforth`, at one evaluation a step whatever it is: 1 is `ddim`, 2 is
    # DPM-Solver++ 2M. With 16 steps and 1, 2, 3 the spread of a Gaussian half as wide as the data
    # or wider comes out 12 % too small, 3 % and 0.5 % too large.
    order: int = key(3, that(lambda v: 1 <= v <= 4, "1 to 4"))
    # Noise levels, log-spaced; `heun` and `predictor_corrector` evaluate the denoiser twice at
    # each.
    steps: int = key(16, at_least(2))
    sigma_max: float = 60.0
    sigma_min: float = key(0.03, POSITIVE)
    # Remove the mean over the members from the noise: the ensemble's mean is then the analysis,
    # as it is with the classical methods, and not a sample of it.
    centred: bool = True
    # Factor on all noise that members are drawn from, and so on the spread of a Gaussian posterior
    # (1: as sampled). Below 1 it narrows an ensemble as the filters' inflation widens theirs.
    inflation: float = key(1.0, POSITIVE)
    # Langevin corrections a level of `predictor_corrector`, and the share of the noise's variance
    # that each draws anew.
    corrections: int = key(1, at_least(0))
    correction: float = key(0.3, that(lambda v: 0 < v <= 1, "in (0, 1]"))
    # Let two corrections that follow one another share half of their noise: they then keep the
    # variance of a Gaussian whatever their size, of which they lose some otherwise.
    averaged: bool = False
    # Precision in which `decg` evaluates denoiser and decoder: `32-true`, `bf16-mixed`, or `auto`,
    # which takes bfloat16 where the hardware computes in it. Guidance itself is never in bfloat16.
    precision: str = key("32-true", one_of("auto", "32-true", "bf16-mixed"))


@dataclass
class GuidanceSettings:
    """How observations enter the reverse diffusion."""

    # `decg` (denoising-error-covariance guidance), `mmps` (moment matching, GMRES), or, to compare
    # with and known to be uncalibrated, `sda` (gamma rule), `dps` or `pgdm` (pseudo-inverse).
    kind: str = key("decg", registered(GUIDANCE))
    # Where observations are compared with the state: `decoder`, in their own units through decoder
    # and `H`, or `latent`, as encodings of what was observed (the original's, to compare with).
    likelihood: str = key("decoder", one_of("decoder", "latent"))
    # Training days in the archive of denoising errors.
    archive: int = key(240, at_least(2))
    # Gaspari-Cohn half-width (km) of the localisation.
    localisation: float = key(3000.0, POSITIVE)
    # Width (days) of the Gaussian by which archive days count less, the further their day of year
    # is from the case's (`decg`); 0 lets all count alike.
    season: float = key(0.0, NOT_NEGATIVE)
    # How the background enters: as `condition` of the denoiser, as `observation` of the latent
    # state with the covariance of its error, as `both`, or not at all (`neither`).
    background: str = key("condition", one_of("condition", "observation", "both", "neither"))
    # Latent points, the nearest ones, whose background corrects a point (`observation`, `both`).
    background_points: int = key(1, at_least(1))
    # Give decoded precipitation the distribution that it has over training days (quantile
    # mapping of the members): the decoder blurs, so that too few points are dry.
    calibrated: bool = False
    # Solver iterations of `mmps` and `pgdm`; the noise level below which all but `decg` guide.
    iterations: int = key(3, at_least(1))
    below_sigma: float = key(8.0, POSITIVE)
    # Times that `mmps` linearises the operator at a noise level, each with its own iterations: one
    # is enough where decoder and `H` are near to linear.
    linearisations: int = key(1, at_least(1))
    # Variance that `sda` gives the state at noise level one (its authors' 0.01 needs hundreds of
    # steps), and the length of the steps of `dps`.
    gamma: float = key(0.2, NOT_NEGATIVE)
    zeta: float = key(1.0, POSITIVE)
