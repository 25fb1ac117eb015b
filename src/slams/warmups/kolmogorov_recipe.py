"""The keys of `slams bench kolmogorov`, with their defaults and their validation.

The comment above a field is its help text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from slams.config.checks.rules import check_optimizer, check_registered, holds, one_of
from slams.config.schema import OptimizerConfig
from slams.diffusion.settings import SamplerSettings
from slams.errors import UserError
from slams.plugins.samplers import SAMPLERS

__all__ = [
    "FlowConfig",
    "FlowGuidanceConfig",
    "FlowScoreConfig",
    "KolmogorovConfig",
    "ObservedConfig",
    "check_kolmogorov",
]

_JACOBIAN = ("filter", "network")
_GUIDANCE = ("mmps", "sda", "dps", "pgdm")


@dataclass
class FlowConfig:
    """Settings of the flow and its trajectories."""

    # Grid points in each direction of the integration, and of the stored states (larger scales).
    integration: int = 64
    grid: int = 64
    reynolds: float = 1000.0
    # Amplitude and wave number of the forcing along x, and drag per unit of time.
    forcing: float = 1.0
    wave_number: int = 4
    drag: float = 0.1
    # Time from one state to the next, and states discarded at the start of a trajectory.
    interval: float = 0.2
    spin_up: int = 64
    # Number of training trajectories, and states of each.
    trajectories: int = 48
    length: int = 64


@dataclass
class FlowScoreConfig:
    """Settings of the denoiser of short windows."""

    # States per window; odd, because longer trajectories use the middle of each.
    window: int = 5
    # Channels of the U-Net at each resolution, the first of which is half that of the grid.
    channels: list[int] = field(default_factory=lambda: [32, 64])
    blocks: int = 2
    embedding: int = 64
    # Log-normal training noise: mean and standard deviation of log sigma.
    noise_mean: float = -0.5
    noise_sd: float = 1.2
    batch_size: int = 8
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=3e-3, steps=450, warmup_steps=30, ema=0.98
        )
    )


@dataclass
class ObservedConfig:
    """Settings of one way to observe the flow."""

    # Every how many states there is an observation, starting with the first.
    every: int = 1
    # Grid points of a block in each direction, or between points of the lattice.
    cells: int = 8
    # Blocks along each side that are not observed (`saturation` only).
    margin: int = 0
    # Standard deviation of the observation error.
    error: float = 0.1


@dataclass
class FlowGuidanceConfig:
    """Settings of the guidance: how observations enter the reverse diffusion."""

    # `mmps` (moment matching) or, for comparison, `sda` (gamma rule), `dps` or `pgdm`.
    kind: str = "mmps"
    # Derivatives of the denoiser: `filter` uses those of its linear part, `network` all.
    jacobian: str = "filter"
    # Solver iterations of `mmps` and `pgdm`.
    iterations: int = 8
    # Linearisations of the operator per noise level (`mmps`); only `saturation` is not linear.
    linearisations: int = 1
    # Variance of the state at noise level one in `sda`, and step length of `dps`.
    gamma: float = 0.2
    zeta: float = 1.0


@dataclass
class KolmogorovConfig:
    """Settings of the Kolmogorov flow observed in three ways."""

    seed: int = 0
    flow: FlowConfig = field(default_factory=FlowConfig)
    score: FlowScoreConfig = field(default_factory=FlowScoreConfig)
    # States per analysed trajectory, number of trajectories, members per analysis.
    length: int = 9
    cases: int = 6
    members: int = 4
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
    one_of("guidance.kind", config.guidance.kind, _GUIDANCE)
    one_of("guidance.jacobian", config.guidance.jacobian, _JACOBIAN)
    check_registered("sampler.kind", config.sampler.kind, SAMPLERS)
    check_optimizer("score.optimizer", config.score.optimizer)
    counts = ("flow.trajectories", "flow.wave_number", "score.blocks", "score.batch_size", "cases")
    counts += ("members", "guidance.iterations", "guidance.linearisations", "sampler.steps")
    least = dict.fromkeys(counts, 1) | {"members": 2, "sampler.steps": 2, "flow.spin_up": 0}
    least["sampler.corrections"] = 0
    for key, limit in least.items():
        holds(config, key, lambda value, limit=limit: value >= limit, f"at least {limit}")
    positive = ("flow.reynolds", "flow.interval", "score.noise_sd", "sampler.sigma_min")
    for key in (*positive, "guidance.gamma", "guidance.zeta"):
        holds(config, key, lambda value: 0 < value < math.inf, "more than 0")
    holds(config, "flow.drag", lambda value: value >= 0, "0 or more")
    holds(config, "sampler.correction", lambda share: 0 < share <= 1, "in (0, 1]")
    above = config.sampler.sigma_min
    holds(config, "sampler.sigma_max", lambda value: value > above, f"more than {above}")
    _check_sizes(config)
    for kind in ("coarse", "sparse", "saturation"):
        _check_observed(config, kind)


def _check_sizes(config: KolmogorovConfig) -> None:
    flow, score = config.flow, config.score
    halved = 2 ** len(score.channels)
    holds(
        config,
        "score.channels",
        lambda widths: widths and all(width > 0 and width % 8 == 0 for width in widths),
        "widths divisible by 8, one per resolution",
    )
    holds(config, "score.embedding", lambda size: size > 0 and size % 2 == 0, "an even number")
    # The symmetries of the flow shift by half a wavelength of the forcing.
    for divisor, why in ((halved, "score.channels"), (2 * flow.wave_number, "flow.wave_number")):
        holds(
            config,
            "flow.grid",
            lambda size, divisor=divisor: size > 0 and size % divisor == 0,
            f"a multiple of {divisor} (for {why})",
        )
    least = max(flow.grid, 3 * flow.wave_number + 1)
    holds(config, "flow.integration", lambda size: size >= least, f"at least {least}")
    holds(config, "flow.integration", lambda size: size % 2 == 0, "an even number")
    holds(config, "score.window", lambda states: states % 2 == 1, "an odd number of states")
    window = score.window
    for key in ("flow.length", "length"):
        holds(config, key, lambda states: states >= window, f"at least score.window, {window}")


def _check_observed(config: KolmogorovConfig, kind: str) -> None:
    grid = config.flow.grid
    holds(config, f"{kind}.every", lambda states: states >= 1, "at least 1")
    holds(config, f"{kind}.error", lambda sd: sd > 0, "more than 0")
    holds(
        config,
        f"{kind}.cells",
        lambda cells: cells >= 1 and grid % cells == 0,
        f"a divisor of flow.grid, {grid}",
    )
    observed = getattr(config, kind)
    if kind != "saturation" and observed.margin:
        raise UserError(f"key '{kind}.margin': found {observed.margin}, expected 0 there")
    across = grid // observed.cells
    holds(
        config,
        f"{kind}.margin",
        lambda margin: 0 <= 2 * margin < across,
        f"less than half of the {across} blocks across",
    )
