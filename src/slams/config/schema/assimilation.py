"""The methods of assimilation, guidance and samplers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slams.config.paths import NAME, REPLACED, WRITTEN_PATH
from slams.diffusion.settings import GuidanceSettings, ResidualSettings, SamplerSettings
from slams.linalg.settings import LocalSettings
from slams.plugins.keys import (
    DISTINCT,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    SHARE,
    at_least,
    each,
    key,
    one_of,
    that,
)
from slams.plugins.methods import METHOD_NAMES
from slams.variables import UNITS

__all__ = [
    "AssimilationConfig",
    "CycledFilterConfig",
    "EnsembleKalmanConfig",
    "Latent3DVarConfig",
    "LinearInverseModelConfig",
    "MemberForecastConfig",
    "OptimalInterpolationConfig",
    "PerfectModelConfig",
    "PixelDiffusionConfig",
    "ScoreMeanConfig",
    "ThreeDVarConfig",
]


_PENALTIES = that(
    lambda values: values and min(values) > 0, "penalties of more than 0 to choose from"
)


_FALLING = that(
    lambda values: len(values) == 2 and values[0] > values[1] > 0, "two pressures, higher first"
)


@dataclass
class OptimalInterpolationConfig:
    """The classical baseline."""

    # Gaspari-Cohn half-width (km), the best on the demo's validation period.
    localisation: float = key(3000.0, POSITIVE)
    # Days from the verifying day of year within which training days enter the archive.
    season: int = key(75, at_least(1))
    # Largest shift (cells of longitude, either way) of the rolled copies of the archive's errors
    # that are added.
    shifts: int = key(0, NOT_NEGATIVE)


@dataclass
class ThreeDVarConfig:
    """Variational assimilation (`3dvar`) with the covariances of optimal interpolation."""

    # Gaspari-Cohn half-width (km).
    localisation: float = key(3000.0, POSITIVE)
    # Days from the verifying day of year within which training days enter the archive.
    season: int = key(75, at_least(1))
    # Largest number of linearisations of `H`; no more than one is made where `H` is linear.
    outer_loops: int = key(8, at_least(1))
    # Largest shift (cells of longitude, either way) of the rolled copies of the archive's errors
    # that are added.
    shifts: int = key(0, NOT_NEGATIVE)


@dataclass
class Latent3DVarConfig:
    """Variational assimilation in the latent space (`latent_3dvar`), the decoder inside `H`."""

    # Gaspari-Cohn half-width (km).
    localisation: float = key(3000.0, POSITIVE)
    # Days from the verifying day of year within which training days enter the archive.
    season: int = key(75, at_least(1))
    # Largest number of linearisations of decoder and `H`.
    outer_loops: int = key(4, at_least(1))
    # Largest number of training days that the covariance is made from: each costs a derivative of
    # the decoder in each outer loop.
    archive: int = key(320, at_least(2))


@dataclass
class PixelDiffusionConfig:
    """Diffusion of the fields themselves (`pixel_diffusion`); the rest is `latent_diffusion`'s."""

    # Factor on the noise levels of `assimilation.sampler`. The mean of n x n points hides under
    # n times as much noise as each of them: where the VAE has n times fewer points each way, n.
    noise_scale: float = key(4.0, POSITIVE)


@dataclass
class EnsembleKalmanConfig:
    """An ensemble Kalman filter (`enkf` or `letkf`) of past background errors."""

    # Members of the prior ensemble, at most the training days of the season; of them,
    # `assimilation.members` are given as the analysis.
    ensemble: int = key(320, at_least(2))
    # Gaspari-Cohn half-width (km): of covariances (`enkf`), of observation error (`letkf`).
    localisation: float = key(3000.0, POSITIVE)
    # Days from the verifying day of year within which the members' days are drawn.
    season: int = key(75, at_least(1))
    # Factor on the prior's perturbations.
    inflation: float = key(1.0, POSITIVE)
    # Share of the spread lost by the update that is given back (relaxation to prior spread).
    rtps: float = key(0.2, PROBABILITY)


@dataclass
class PerfectModelConfig:
    """A filter whose members are forecasts of the model of the truth (`letkf_perfect_model`).

    `slams limit` runs it (extra `simulate`) and writes its analyses; `slams assimilate` reads
    them, so that they are scored like those of any other method.
    """

    # Directory of the analyses and of the members' states, written by `slams limit`.
    analyses: str = key("stores/letkf_perfect_model", WRITTEN_PATH, REPLACED)
    # Members of the ensemble; of them, `assimilation.members` are given as the analysis.
    members: int = key(24, at_least(2))
    # Gaspari-Cohn half-width (km) of the localisation of observation error.
    localisation: float = key(2200.0, POSITIVE)
    # Share of the spread lost by the update that is given back (relaxation to prior spread).
    rtps: float = key(0.65, PROBABILITY)
    # Pressures (hPa) between which the weight of observations falls from 1 below the first to
    # `aloft` above the second, linearly in the logarithm of pressure.
    weakened: list[float] = key([500.0, 100.0], _FALLING)
    # Weight of observations above the second pressure, as a factor on the localisation.
    aloft: float = key(0.1, PROBABILITY)
    # Variables whose observations the filter leaves out; other methods are given them.
    without: list[str] = key(["total_precipitation_24hr"], each(one_of(*UNITS)), DISTINCT)
    # Largest total wave number of the model: that of the nature run.
    truncation: int = key(31, at_least(1))
    # Days from a state of rest to the state that gives each member what the training day, from
    # which it starts, does not have.
    spinup_days: int = key(30, at_least(0))


@dataclass
class CycledFilterConfig:
    """A filter whose members are forecast from day to day (`enkf_cycled` or `letkf_cycled`)."""

    # Members that are carried from day to day; of them, `assimilation.members` are given as the
    # analysis.
    ensemble: int = key(80, at_least(2))
    # Gaspari-Cohn half-width (km): of covariances (`enkf_cycled`), of observation error
    # (`letkf_cycled`).
    localisation: float = key(1500.0, POSITIVE)
    # Days from the verifying day of year within which past errors of the forecast are drawn.
    season: int = key(75, at_least(1))
    # Factor on the perturbations of the forecast.
    inflation: float = key(1.0, POSITIVE)
    # Share of the spread lost by the update that is given back (relaxation to prior spread).
    rtps: float = key(0.5, PROBABILITY)
    # Share of the covariance that is that of past errors of the forecast, not of the members.
    static_share: float = key(0.0, SHARE)
    # Factor on the update of each pressure level, from the highest pressure to the lowest; empty
    # for 1.
    taper: list[float] = key([], each(PROBABILITY))


@dataclass
class MemberForecastConfig:
    """The forecast of the members of `enkf_cycled` and `letkf_cycled`: a zonal regression."""

    # Days that the next one is forecast from.
    past: int = key(2, at_least(1))
    # Rows to either side whose states are predictors.
    rows: int = key(2, at_least(0))
    # Number of zonal wavenumbers that are forecast, from 0 on.
    waves: int = key(32, at_least(1))
    # Penalties, as variances of white noise in the predictors (shares of the climatology's): the
    # first is used with which forecasts of forecasts do not grow.
    ridges: list[float] = key([0.1, 0.2, 0.4, 0.8], _PENALTIES)
    # Blocks of the cross-validation.
    folds: int = key(5, at_least(2))
    # Days at the ends of a block that are left out of it.
    gap: int = key(10, at_least(0))
    # Largest number of training days whose errors are kept, evenly spaced.
    archive: int = key(1500, at_least(2))


@dataclass
class LinearInverseModelConfig:
    """The first guess `linear_inverse_model`: penalised regression on EOFs of the background."""

    # Largest number of EOFs, the best on the demo's training blocks.
    eofs: int = key(200, at_least(1))
    # Penalties to choose from by cross-validation, per channel, in units of a score's mean
    # variance.
    ridges: list[float] = key([0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0], _PENALTIES)
    # Blocks of the cross-validation.
    folds: int = key(5, at_least(2))
    # Days on either side of a block that are withheld with it from the model that predicts it.
    gap: int = key(10, at_least(0))


@dataclass
class ScoreMeanConfig:
    """The first guess `score_mean`: the score model's mean for the background."""

    # Noise level of the denoiser, the best on the demo's validation period.
    sigma: float = key(8.0, POSITIVE)
    # Draws of noise that the mean is averaged over; each is used with both signs, so that an odd
    # number is rounded up.
    draws: int = key(8, at_least(1))


@dataclass
class AssimilationConfig:
    """Which methods are compared, and how."""

    # Names as in the results table; `METHOD@FIRST_GUESS` starts a method from `climatology`,
    # `linear_inverse_model` or `score_mean` instead of the background.
    methods: list[str] = key(
        ["climatology", "background", "optimal_interpolation", "latent_diffusion"],
        METHOD_NAMES,
        DISTINCT,
    )
    # Name of the setting, the second column of the results table and the name of its directory.
    setting: str = key("default", NAME)
    # Members of each method's ensemble of analyses.
    members: int = key(16, at_least(2))
    # Test windows per batch, on each process.
    batch_size: int = key(4, at_least(1))
    # Largest number of training windows from which methods estimate their covariances, evenly
    # spaced over the training period; 0 for all. They are held in memory, in 2 to 4 bytes per
    # value; methods that use fewer (`guidance.archive`) choose theirs from these.
    archive_days: int = key(1500, at_least(0))
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    residual: ResidualSettings = field(default_factory=ResidualSettings)
    local: LocalSettings = field(default_factory=LocalSettings)
    optimal_interpolation: OptimalInterpolationConfig = field(
        default_factory=OptimalInterpolationConfig
    )
    three_d_var: ThreeDVarConfig = field(default_factory=ThreeDVarConfig)
    latent_3dvar: Latent3DVarConfig = field(default_factory=Latent3DVarConfig)
    pixel_diffusion: PixelDiffusionConfig = field(default_factory=PixelDiffusionConfig)
    enkf: EnsembleKalmanConfig = field(default_factory=EnsembleKalmanConfig)
    # Fewer members than `enkf`: the time of its local transforms grows faster than their number.
    letkf: EnsembleKalmanConfig = field(
        default_factory=lambda: EnsembleKalmanConfig(ensemble=160, localisation=1500.0)
    )
    letkf_perfect_model: PerfectModelConfig = field(default_factory=PerfectModelConfig)
    enkf_cycled: CycledFilterConfig = field(default_factory=CycledFilterConfig)
    letkf_cycled: CycledFilterConfig = field(default_factory=CycledFilterConfig)
    member_forecast: MemberForecastConfig = field(default_factory=MemberForecastConfig)
    linear_inverse_model: LinearInverseModelConfig = field(
        default_factory=LinearInverseModelConfig
    )
    score_mean: ScoreMeanConfig = field(default_factory=ScoreMeanConfig)
    # Settings of methods of other packages: their names, each with keys and values of its own.
    options: dict[str, Any] = field(default_factory=dict)
    # Test dates on which every smaller subset of `observations.use` is tried too, to see what each
    # modality brings; 0 for none.
    modality_study: int = key(0, at_least(0))
    # Neighbouring test dates per block of the block bootstrap, which gives the confidence
    # intervals.
    bootstrap_block: int = key(3, at_least(1))
    # Resamples of the block bootstrap; more of them make the ends of the intervals less random.
    bootstrap_samples: int = key(1000, at_least(1))
    # Consecutive days over which each method is cycled: its analysis of a day, or of a step of
    # `data.step`, gives its background of the next, by persistence or, where the method has one,
    # by a forecast of its own; 0 for separate test dates.
    cycle_days: int = key(0, at_least(0))
    # First days of independent cycles, each of `cycle_days` days in a piece of the test split, as
    # ISO dates; empty for one cycle from the first test day.
    cycle_starts: list[str] = key([], DISTINCT)
    # Background of the first day of a cycle: `truth` persists from the true state of the day
    # before, `climatology` never sees the truth.
    cycle_start: str = key("truth", one_of("truth", "climatology"))
    # Days at the start of each cycle that are analysed but not scored.
    cycle_spinup: int = key(0, at_least(0))
    # Days at the end of the training period over which methods with covariances of past background
    # errors are cycled first: the errors of the backgrounds that they then have replace those of
    # backgrounds from the true state, and the damping is fitted to their analyses. 0 for none.
    cycle_errors: int = key(0, at_least(0))
    # Factor on the error variance of a cycled background.
    cycle_inflation: float = key(1.0, POSITIVE)
    # Share of each increment that counts as an error of the climatology, towards which the next
    # background is damped: for a climatology of another atmosphere than the observed one. 0 for
    # none.
    cycle_bias: float = key(0.0, SHARE)
    # Cases whose ensembles are kept in analysis.zarr, from the first test date; -1 for all.
    keep_cases: int = key(4, at_least(-1))
