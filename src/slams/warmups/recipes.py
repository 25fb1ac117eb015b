"""The keys of the recipes of the warm-ups, with their defaults and rules.

Plain data classes like those of `slams.config.schema`, so that reading a recipe imports nothing
heavy. The comment above a key is its help text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from slams.config.checks.rules import check_that
from slams.config.schema import OptimizerConfig
from slams.diffusion.settings import SamplerSettings
from slams.errors import UserError
from slams.plugins.keys import NOT_NEGATIVE, POSITIVE, at_least, each, key, not_empty, one_of, that

__all__ = [
    "FlowConfig",
    "FlowGuidanceConfig",
    "FlowScoreConfig",
    "KolmogorovConfig",
    "Lorenz63Config",
    "ObservedConfig",
    "RegimeConfig",
    "WarmupGuidanceConfig",
    "WindowScoreConfig",
    "check_kolmogorov",
    "check_lorenz63",
]

_GUIDANCE = one_of("mmps", "sda", "dps", "pgdm")
_EVEN = that(lambda v: v > 0 and v % 2 == 0, "an even number")


@dataclass
class WindowScoreConfig:
    """Settings of the denoiser of short windows, composed to trajectories of any length."""

    # States on either side that are used to denoise a state (SDA's k): windows of 2 k + 1 states
    # are composed to trajectories by Markov blankets; with `length` 2 k + 1 there is one window
    # and no composition.
    blanket: int = key(5, at_least(1))
    # Width of the network for all states of a window at once.
    width: int = key(128, at_least(1))
    # Residual blocks of that network.
    blocks: int = key(3, NOT_NEGATIVE)
    # Channels of the network, convolutional in time, that refines the result; 0 for none.
    local_width: int = key(0, NOT_NEGATIVE)
    # Residual blocks of the network that refines the result.
    local_blocks: int = key(5, NOT_NEGATIVE)
    # Precision of the training: `32-true`, or `bf16-mixed`, twice as fast if the processor
    # supports it.
    precision: str = key("32-true", one_of("32-true", "bf16-mixed"))
    # Windows per training step.
    batch_size: int = key(1024, at_least(1))
    # Mean of log sigma, the logarithm of the noise level in training, which is drawn from a
    # Gaussian.
    noise_mean: float = -1.6
    # Standard deviation of log sigma.
    noise_sd: float = key(1.8, POSITIVE)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=2e-3, weight_decay=0.0, steps=6000, ema=0.998
        )
    )


@dataclass
class WarmupGuidanceConfig:
    """Settings of the guidance: how observations enter the reverse diffusion."""

    # `mmps` (moment matching, GMRES) or, for comparison, `sda` (gamma rule), `dps` or `pgdm`.
    kind: str = key("mmps", _GUIDANCE)
    # Solver iterations of `mmps` and `pgdm`.
    iterations: int = key(4, at_least(1))
    # Noise level below which observations guide; at higher levels they are not used.
    below_sigma: float = key(8.0, POSITIVE)
    # Variance of the state at noise level one in `sda`.
    gamma: float = key(0.03, POSITIVE)
    # Length of the step down the gradient of the misfit in `dps`.
    zeta: float = key(1.0, POSITIVE)


@dataclass
class RegimeConfig:
    """Times and error of the observations of the first coordinate."""

    # Name in tables and figures, different for each regime.
    name: str = "low frequency"
    # Steps between two observations.
    every: int = 8
    # Standard deviation of the observation error, in units of the standardised coordinate.
    error: float = key(0.05, POSITIVE)


@dataclass
class Lorenz63Config:
    """Lorenz 1963, observed in one coordinate (Rozet and Louppe 2023, arXiv 2306.10574)."""

    # Seed of trajectories, training, observations, members and particles.
    seed: int = key(0, NOT_NEGATIVE)
    # Number of training trajectories.
    trajectories: int = key(1024, at_least(1))
    # States of each training trajectory, at least those of a window (2 `score.blanket` + 1).
    states: int = 1024
    # Steps that bring a trajectory to the attractor and are discarded.
    spinup: int = key(1024, NOT_NEGATIVE)
    score: WindowScoreConfig = field(default_factory=WindowScoreConfig)
    # Number of observed truths.
    cases: int = key(64, at_least(1))
    # States of each truth, at least those of a window (2 `score.blanket` + 1).
    length: int = 65
    # Ways of observing the truths that are compared.
    regimes: list[RegimeConfig] = field(
        default_factory=lambda: [
            RegimeConfig(),
            RegimeConfig(name="high frequency", every=1, error=0.25),
        ]
    )
    # Trajectories per method that are compared.
    members: int = key(1024, at_least(2))
    # Members sampled at a time (affects memory and speed, not the result).
    batch_size: int = key(128, at_least(1))
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
    members, particles, sampler = config.members, config.particles, config.sampler
    window = 2 * config.score.blanket + 1
    expected = f"at least the {window} states of a window (2 score.blanket + 1)"
    check_that(config.length >= window, config, "length", expected)
    check_that(config.states >= window, config, "states", expected)
    check_that(particles >= members, config, "particles", f"at least members, {members}")
    within = 1 <= config.backward_particles <= particles
    check_that(within, config, "backward_particles", f"1 to particles, {particles}")
    above = f"more than sampler.sigma_min, {sampler.sigma_min}"
    check_that(sampler.sigma_max > sampler.sigma_min, config, "sampler.sigma_max", above)
    not_empty("entries with name, every and error").check("regimes", config.regimes)
    names = Counter(regime.name for regime in config.regimes)
    for position, regime in enumerate(config.regimes):
        where = f"regimes.{position}"
        if not regime.name or names[regime.name] > 1:
            raise UserError(f"key '{where}.name': found {regime.name!r}, expected a unique name")
        if regime.every < 1 or (config.length - 1) % regime.every:
            raise UserError(
                f"key '{where}.every': found {regime.every}, expected a divisor of length - 1, "
                f"{config.length - 1}, so that the first and the last state are observed"
            )


@dataclass
class FlowConfig:
    """Settings of the flow and its trajectories."""

    # Grid points in each direction of the integration.
    integration: int = key(64, _EVEN)
    # Grid points in each direction of the stored states, which keep the larger scales.
    grid: int = 64
    # Reynolds number, the inverse of the viscosity.
    reynolds: float = key(1000.0, POSITIVE)
    # Amplitude of the forcing along x.
    forcing: float = 1.0
    # Wave number of the forcing.
    wave_number: int = key(4, at_least(1))
    # Linear drag per unit of time; 0 for none.
    drag: float = key(0.1, NOT_NEGATIVE)
    # Time from one state to the next.
    interval: float = key(0.2, POSITIVE)
    # States discarded at the start of a trajectory.
    spin_up: int = key(64, at_least(0))
    # Number of training trajectories.
    trajectories: int = key(48, at_least(1))
    # States of each training trajectory, at least `score.window`.
    length: int = 64


@dataclass
class FlowScoreConfig:
    """Settings of the denoiser of short windows."""

    # States per window; odd, because longer trajectories use the middle of each.
    window: int = key(5, that(lambda v: v > 0 and v % 2 == 1, "an odd number of states"))
    # Channels of the U-Net at each resolution, the first of which is half that of the grid.
    channels: list[int] = key(
        [32, 64],
        not_empty("widths divisible by 8, one per resolution"),
        each(that(lambda v: v > 0 and v % 8 == 0, "a width divisible by 8")),
    )
    # Residual blocks per resolution, on the way down and on the way up.
    blocks: int = key(2, at_least(1))
    # Size of the vector of the noise level that scales and shifts the features of each block.
    embedding: int = key(64, _EVEN)
    # Mean of log sigma, the logarithm of the noise level in training, which is drawn from a
    # Gaussian.
    noise_mean: float = -0.5
    # Standard deviation of log sigma.
    noise_sd: float = key(1.2, POSITIVE)
    # Windows per training step.
    batch_size: int = key(8, at_least(1))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=3e-3, steps=450, warmup_steps=30, ema=0.98
        )
    )


@dataclass
class ObservedConfig:
    """Settings of one way to observe the flow."""

    # Every how many states there is an observation, starting with the first.
    every: int = key(1, at_least(1))
    # Grid points of a block in each direction, or between points of the lattice.
    cells: int = key(8, at_least(1))
    # Blocks along each side that are not observed (`saturation` only).
    margin: int = key(0, NOT_NEGATIVE)
    # Standard deviation of the observation error.
    error: float = key(0.1, POSITIVE)


@dataclass
class FlowGuidanceConfig:
    """Settings of the guidance: how observations enter the reverse diffusion."""

    # `mmps` (moment matching) or, for comparison, `sda` (gamma rule), `dps` or `pgdm`.
    kind: str = key("mmps", _GUIDANCE)
    # Derivatives of the denoiser: `filter` uses those of its linear part, `network` all.
    jacobian: str = key("filter", one_of("filter", "network"))
    # Solver iterations of `mmps` and `pgdm`.
    iterations: int = key(8, at_least(1))
    # Linearisations of the operator per noise level (`mmps`); only `saturation` is not linear.
    linearisations: int = key(1, at_least(1))
    # Variance of the state at noise level one in `sda`.
    gamma: float = key(0.2, POSITIVE)
    # Length of the step down the gradient of the misfit in `dps`.
    zeta: float = key(1.0, POSITIVE)


@dataclass
class KolmogorovConfig:
    """Settings of the Kolmogorov flow observed in three ways."""

    # Seed of trajectories, training, observation errors and members.
    seed: int = 0
    flow: FlowConfig = field(default_factory=FlowConfig)
    score: FlowScoreConfig = field(default_factory=FlowScoreConfig)
    # States per analysed trajectory, at least `score.window`.
    length: int = 9
    # Number of analysed trajectories.
    cases: int = key(6, at_least(1))
    # Members per analysis.
    members: int = key(4, at_least(2))
    coarse: ObservedConfig = field(default_factory=lambda: ObservedConfig(every=4, cells=8))
    sparse: ObservedConfig = field(default_factory=lambda: ObservedConfig(every=1, cells=8))
    saturation: ObservedConfig = field(
        default_factory=lambda: ObservedConfig(every=3, cells=4, margin=2, error=0.05)
    )
    guidance: FlowGuidanceConfig = field(default_factory=FlowGuidanceConfig)
    # Members that are not centred are draws from the posterior; if the mean is removed from their
    # noise, the residual lacks a fraction of 1 / `members` of the ensemble's variance.
    sampler: SamplerSettings = field(default_factory=lambda: SamplerSettings(centred=False))


def check_kolmogorov(config: KolmogorovConfig) -> None:
    """Refuse a recipe that contradicts itself.

    Raises:
        UserError: The message gives the key, what was found and what is expected.
    """
    flow, score, sampler = config.flow, config.score, config.sampler
    ordered = sampler.sigma_max > sampler.sigma_min
    check_that(ordered, config, "sampler.sigma_max", f"more than {sampler.sigma_min}")
    # The symmetries of the flow shift by half a wavelength of the forcing.
    for divisor, why in (
        (2 ** len(score.channels), "score.channels"),
        (2 * flow.wave_number, "flow.wave_number"),
    ):
        divides = flow.grid > 0 and flow.grid % divisor == 0
        check_that(divides, config, "flow.grid", f"a multiple of {divisor} (for {why})")
    least = max(flow.grid, 3 * flow.wave_number + 1)
    check_that(flow.integration >= least, config, "flow.integration", f"at least {least}")
    for name, length in (("flow.length", flow.length), ("length", config.length)):
        expected = f"at least score.window, {score.window}"
        check_that(length >= score.window, config, name, expected)
    for kind in ("coarse", "sparse", "saturation"):
        observed = getattr(config, kind)
        divides = flow.grid % observed.cells == 0
        check_that(divides, config, f"{kind}.cells", f"a divisor of flow.grid, {flow.grid}")
        if kind != "saturation" and observed.margin:
            raise UserError(f"key '{kind}.margin': found {observed.margin}, expected 0 there")
        across = flow.grid // observed.cells
        half = f"less than half of the {across} blocks across"
        check_that(2 * observed.margin < across, config, f"{kind}.margin", half)
