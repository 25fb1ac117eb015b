"""The keys of the recipes of warm-ups, and their validation.

Plain data classes like those of `slams.config.schema`, so that reading a recipe imports nothing
heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slams.config.checks.rules import check_optimizer, check_registered, holds, one_of
from slams.config.schema import OptimizerConfig
from slams.diffusion.settings import SamplerSettings
from slams.errors import UserError
from slams.plugins.samplers import SAMPLERS

__all__ = [
    "Lorenz63Config",
    "RegimeConfig",
    "WarmupGuidanceConfig",
    "WindowScoreConfig",
    "check_lorenz63",
]

_PRECISIONS = ("32-true", "bf16-mixed")
_GUIDANCE = ("mmps", "sda", "dps", "pgdm")


@dataclass
class WindowScoreConfig:
    """Settings of the denoiser of short windows, composed to trajectories of any length."""

    # States on either side that are used to denoise a state (SDA's k): windows of 2 k + 1 states
    # are composed to trajectories by Markov blankets; with `length` 2 k + 1 there is one window
    # and no composition.
    blanket: int = 5
    # Width and number of residual blocks of the network for all states of a window at once.
    width: int = 128
    blocks: int = 3
    # Channels and number of residual blocks of the network, convolutional in time, that refines
    # the result; 0 channels for none.
    local_width: int = 0
    local_blocks: int = 5
    # Precision of the training: `32-true`, or `bf16-mixed`, twice as fast if the processor
    # supports it.
    precision: str = "32-true"
    # Windows per training step.
    batch_size: int = 1024
    # Training noise levels: mean and standard deviation of log sigma.
    noise_mean: float = -1.6
    noise_sd: float = 1.8
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=2e-3, weight_decay=0.0, steps=6000, ema=0.998
        )
    )


@dataclass
class WarmupGuidanceConfig:
    """Settings of the guidance: how observations enter the reverse diffusion."""

    # `mmps` (moment matching, GMRES) or, for comparison, `sda` (gamma rule), `dps` or `pgdm`.
    kind: str = "mmps"
    # Solver iterations of `mmps` and `pgdm`, and the noise level below which observations guide.
    iterations: int = 4
    below_sigma: float = 8.0
    # Variance of the state at noise level one in `sda`, and step length of `dps`.
    gamma: float = 0.03
    zeta: float = 1.0


@dataclass
class RegimeConfig:
    """Times and error of the observations of the first coordinate."""

    name: str = "low frequency"
    # Steps between two observations.
    every: int = 8
    # Standard deviation of the observation error, in units of the standardised coordinate.
    error: float = 0.05


@dataclass
class Lorenz63Config:
    """Lorenz 1963, observed in one coordinate (Rozet and Louppe 2023, arXiv 2306.10574)."""

    seed: int = 0
    # Training run: number of trajectories, states of each, and steps discarded before them.
    trajectories: int = 1024
    states: int = 1024
    spinup: int = 1024
    score: WindowScoreConfig = field(default_factory=WindowScoreConfig)
    # Number of observed truths, and states of each.
    cases: int = 64
    length: int = 65
    regimes: list[RegimeConfig] = field(
        default_factory=lambda: [
            RegimeConfig(),
            RegimeConfig(name="high frequency", every=1, error=0.25),
        ]
    )
    # Trajectories per method that are compared.
    members: int = 1024
    # Members sampled at a time (affects memory and speed, not the result).
    batch_size: int = 128
    # Particles of the bootstrap filter.
    particles: int = 16384
    # Number of these from which the smoother chooses the previous state (affects cost per step and
    # spread).
    backward_particles: int = 16384
    guidance: WarmupGuidanceConfig = field(default_factory=WarmupGuidanceConfig)
    sampler: SamplerSettings = field(
        default_factory=lambda: SamplerSettings(
            steps=64, sigma_max=30.0, sigma_min=0.004, centred=False
        )
    )


def check_lorenz63(config: Lorenz63Config) -> None:
    """Refuse a recipe that contradicts itself.

    Raises:
        UserError: The message gives the key, what was found and what is expected.
    """
    for key in ("trajectories", "score.blanket", "score.width", "score.batch_size"):
        holds(config, key, lambda v: v >= 1, "at least 1")
    for key in ("seed", "spinup", "score.blocks", "score.local_width", "score.local_blocks"):
        holds(config, key, lambda v: v >= 0, "0 or more")
    for key in ("cases", "batch_size", "guidance.iterations"):
        holds(config, key, lambda v: v >= 1, "at least 1")
    holds(config, "members", lambda v: v >= 2, "at least 2")
    members, particles = config.members, config.particles
    holds(config, "particles", lambda v: v >= members, f"at least members, {members}")
    within = f"1 to particles, {particles}"
    holds(config, "backward_particles", lambda v: 1 <= v <= particles, within)
    for key in ("score.noise_sd", "guidance.below_sigma", "guidance.gamma", "guidance.zeta"):
        holds(config, key, lambda v: v > 0, "more than 0")
    window = 2 * config.score.blanket + 1
    for key in ("length", "states"):
        expected = f"at least the {window} states of a window (2 score.blanket + 1)"
        holds(config, key, lambda v: v >= window, expected)
    one_of("score.precision", config.score.precision, _PRECISIONS)
    one_of("guidance.kind", config.guidance.kind, _GUIDANCE)
    _check_sampler(config)
    check_optimizer("score.optimizer", config.score.optimizer)
    _check_regimes(config)


def _check_sampler(config: Lorenz63Config) -> None:
    check_registered("sampler.kind", config.sampler.kind, SAMPLERS)
    holds(config, "sampler.steps", lambda v: v >= 2, "at least 2")
    holds(config, "sampler.corrections", lambda v: v >= 0, "0 or more")
    holds(config, "sampler.correction", lambda v: 0 < v <= 1, "in (0, 1]")
    holds(config, "sampler.sigma_min", lambda v: v > 0, "more than 0")
    low = config.sampler.sigma_min
    holds(config, "sampler.sigma_max", lambda v: v > low, f"more than sampler.sigma_min, {low}")


def _check_regimes(config: Lorenz63Config) -> None:
    if not config.regimes:
        raise UserError("key 'regimes': found none, expected entries with name, every and error")
    names = [regime.name for regime in config.regimes]
    for position, regime in enumerate(config.regimes):
        key = f"regimes.{position}"
        if not regime.name or names.count(regime.name) > 1:
            raise UserError(f"key '{key}.name': found {regime.name!r}, expected a unique name")
        if regime.every < 1 or (config.length - 1) % regime.every:
            raise UserError(
                f"key '{key}.every': found {regime.every}, expected a divisor of length - 1, "
                f"{config.length - 1}, so that the first and the last state are observed"
            )
        if regime.error <= 0:
            raise UserError(f"key '{key}.error': found {regime.error}, expected more than 0")
