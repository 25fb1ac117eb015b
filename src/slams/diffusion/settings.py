"""Settings of samplers, guidance and the residual of the decoder.

They are also sections of a recipe (`assimilation.sampler`, `.guidance`, `.residual`): the comment
above a field is its help text. This module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from slams.plugins.guidance import GUIDANCE
from slams.plugins.keys import NOT_NEGATIVE, POSITIVE, at_least, key, one_of, registered, that
from slams.plugins.samplers import SAMPLERS

__all__ = ["GuidanceSettings", "ResidualSettings", "SamplerSettings"]


@dataclass
class SamplerSettings:
    """Settings of the sampler of the reverse diffusion."""

    # `adams_bashforth` (deterministic, multistep), `ddim`, `heun`, `ancestral` or
    # `predictor_corrector`.
    kind: str = key("adams_bashforth", registered(SAMPLERS))
    # Order of `adams_bashforth`, at one evaluation per step for any order: 1 is `ddim`, 2 is
    # DPM-Solver++ 2M. With 16 steps the spread of a Gaussian at least half as wide as the data is
    # 12 % too small at order 1, 3 % too large at order 2 and 0.5 % too large at order 3.
    order: int = key(3, that(lambda v: 1 <= v <= 4, "1 to 4"))
    # Noise levels, log-spaced; `heun` and `predictor_corrector` evaluate the denoiser twice at
    # each.
    steps: int = key(16, at_least(2))
    # Highest noise level, where sampling starts, relative to a state standardised to standard
    # deviation 1; more than `sigma_min`.
    sigma_max: float = 60.0
    # Lowest noise level at which the denoiser is evaluated, relative to the same state.
    sigma_min: float = key(0.03, POSITIVE)
    # Remove the mean over the members from the noise: the ensemble mean is then the analysis, as
    # with the classical methods, and not a sample of it.
    centred: bool = True
    # Factor on the noise from which members are drawn, and thus on the spread of a Gaussian
    # posterior (1: as sampled). Values below 1 narrow the ensemble, as the inflation of a filter
    # widens its ensemble.
    inflation: float = key(1.0, POSITIVE)
    # Langevin corrections per level of `predictor_corrector`.
    corrections: int = key(1, at_least(0))
    # Fraction of the variance of the noise that each of these corrections redraws.
    correction: float = key(0.3, that(lambda v: 0 < v <= 1, "in (0, 1]"))
    # Let consecutive corrections share half of their noise: they then preserve the variance of a
    # Gaussian whatever their size; otherwise they lose some of it.
    averaged: bool = False
    # Precision in which `decg` evaluates denoiser and decoder: `32-true`, `bf16-mixed`, or `auto`
    # (bfloat16 where the hardware supports it). Guidance itself is never computed in bfloat16.
    precision: str = key("32-true", one_of("auto", "32-true", "bf16-mixed"))


@dataclass
class GuidanceSettings:
    """Settings of the guidance: how observations enter the reverse diffusion."""

    # `decg` (denoising-error-covariance guidance), `mmps` (moment matching, GMRES), or, for
    # comparison and known to be uncalibrated, `sda` (gamma rule), `dps` or `pgdm`
    # (pseudo-inverse).
    kind: str = key("decg", registered(GUIDANCE))
    # Where observations are compared with the state: `decoder`, in their own units through decoder
    # and `H`, or `latent`, as encoded observations (as in the original SLAMS, for comparison).
    likelihood: str = key("decoder", one_of("decoder", "latent"))
    # Training days in the archive of denoising errors.
    archive: int = key(240, at_least(2))
    # Noise levels of the sampler at which denoising errors are measured, among them the first and
    # the last; those at the others are interpolated. 0 measures them at every level.
    error_levels: int = key(0, that(lambda v: v == 0 or v >= 4, "0, or 4 or more"))
    # Gaspari-Cohn half-width (km) of the localisation.
    localisation: float = key(3000.0, POSITIVE)
    # Width (days) of the Gaussian that weights archive days by the distance of their day of year
    # from that of the case (`decg`); 0 weights all days equally.
    season: float = key(0.0, NOT_NEGATIVE)
    # How the background enters: as `condition` of the denoiser, as `observation` of the latent
    # state with the covariance of its error, as `both`, or not at all (`neither`).
    background: str = key("condition", one_of("condition", "observation", "both", "neither"))
    # Number of nearest latent points whose background corrects a point (`observation`, `both`).
    background_points: int = key(1, at_least(1))
    # Map decoded precipitation to its distribution over training days (quantile mapping of the
    # members): the decoder smooths, so that too few points are dry.
    calibrated: bool = False
    # Solver iterations of `mmps` and `pgdm`.
    iterations: int = key(3, at_least(1))
    # Noise level below which every kind except `decg` guides; at higher levels the observations
    # are not used.
    below_sigma: float = key(8.0, POSITIVE)
    # Linearisations of the operator per noise level (`mmps`), each with its own iterations: one is
    # enough where decoder and `H` are nearly linear.
    linearisations: int = key(1, at_least(1))
    # Variance of the state at noise level one in `sda` (the authors' 0.01 needs hundreds of
    # steps).
    gamma: float = key(0.2, NOT_NEGATIVE)
    # Length of the step down the gradient of the misfit in `dps`.
    zeta: float = key(1.0, POSITIVE)


@dataclass
class ResidualSettings:
    """Settings of what latent methods add to decoded members."""

    # Add to each decoded member a draw of what the decoder cannot represent, given the
    # observations; otherwise members are decoded latents.
    sample: bool = True
    # Gaspari-Cohn half-width (km) of the localisation of decoding errors, the best on the demo's
    # validation period.
    localisation: float = key(2500.0, POSITIVE)
    # Days from the verifying day of year within which decoding errors are taken.
    season: int = key(75, at_least(1))
    # Training days, evenly spaced, whose decoding errors are measured.
    archive: int = key(320, at_least(2))
    # Whether members get back what decoding loses of the background, as far as the residuals of
    # training days follow it; for backgrounds that are accurate forecasts.
    of_background: bool = False
