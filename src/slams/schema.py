"""The configuration schema: what a recipe may say, with defaults, units and meanings.

Plain data classes, so that reading a recipe costs no heavy import. `slams.config` loads recipes
into these classes and refuses what does not fit; the comment above a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "AblationConfig",
    "AssimilationConfig",
    "BackgroundConfig",
    "Config",
    "DataConfig",
    "DegradationConfig",
    "EnsembleKalmanConfig",
    "GuidanceConfig",
    "Latent3DVarConfig",
    "LinearInverseModelConfig",
    "ObservationsConfig",
    "OptimalInterpolationConfig",
    "OptimizerConfig",
    "OrbitConfig",
    "PixelDiffusionConfig",
    "PrepareConfig",
    "ReportConfig",
    "SamplerConfig",
    "SatelliteConfig",
    "ScoreConfig",
    "ScoreMeanConfig",
    "SimulateConfig",
    "SourceConfig",
    "SourceDimensionsConfig",
    "SourceVariableConfig",
    "SplitsConfig",
    "StationQualityConfig",
    "StationSourceConfig",
    "StationVariableConfig",
    "StationsConfig",
    "ThreeDVarConfig",
    "TrackingConfig",
    "TrainerConfig",
    "VAEConfig",
]


@dataclass
class SourceVariableConfig:
    """How a file of kind `cf` holds a variable, where it does not say so itself."""

    # The variable, as in `data.channels` without its level.
    variable: str = ""
    # Its name in the file; "" finds it by the variable's own or by its CF standard name.
    name: str = ""
    # Its units, whatever the file states; "" takes those of the file.
    units: str = ""
    # What values are multiplied by beside their units: -1 for a downward flux.
    factor: float = 1.0
    # Hours that a value covers, a mean or an accumulation: 0 for an instant, -1 as the file says.
    hours: float = -1.0
    # Where the time stamp lies in them: `start`, `middle` or `end`; "" as the file says.
    stamp: str = ""


@dataclass
class SourceDimensionsConfig:
    """Names of the dimensions of a file of kind `cf`; "" finds the usual ones by themselves."""

    time: str = ""
    level: str = ""
    latitude: str = ""
    longitude: str = ""


@dataclass
class SourceConfig:
    """Where the fields come from."""

    # Layout of the source: `nature_run` (CF Zarr), `weatherbench2`, `arco_era5`, `chaosbench`
    # (Zarr), `noaa_psl`, `cpc_gauge` (NetCDF), `cf`, anything that follows the CF conventions, or
    # `no_fields`, days with observations alone; its path is FIRST/LAST.
    kind: str = "nature_run"
    # Path, pattern with `*`, or address (gs://, s3://, https://; extra `cloud`) of the source;
    # `sample` is the nature run embedded in the package.
    path: str = "sample"
    # Files that follow one another in time, in the place of `path` (NetCDF).
    files: list[str] = field(default_factory=list)
    # What a day of a source with several instants a day is: the `instant` at 00 UTC, or their
    # `mean`. Accumulations and mean fluxes are put together to whole UTC days in either case.
    daily: str = "instant"
    # How a file of kind `cf` holds variables and dimensions, where it does not say so itself.
    variables: list[SourceVariableConfig] = field(default_factory=list)
    dimensions: SourceDimensionsConfig = field(default_factory=SourceDimensionsConfig)
    # In `data.sources`: the channels it gives, each as in `data.channels` or as the name of a
    # variable, for all its levels there.
    channels: list[str] = field(default_factory=list)
    # Where a user gets the source (documentation, goes into the store's attributes).
    origin: str = ""
    # Target grid: `native`, or a training store or source whose grid is taken, or `LATxLON`.
    grid: str = "native"
    # Regridding to the target grid: `conservative` or `bilinear`.
    regrid: str = "conservative"
    # Channels the source does not have: stored as missing throughout.
    absent: list[str] = field(default_factory=list)
    # Channels that may have missing values here and there; in any other, one missing value on a
    # training day is an error.
    gaps: list[str] = field(default_factory=list)


@dataclass
class SplitsConfig:
    """First and last day (ISO dates, both inside) of each split, with a gap between them."""

    train: list[str] = field(default_factory=list)
    validation: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    # Smallest number of days between two splits.
    gap: int = 5


@dataclass
class PrepareConfig:
    """How `slams prepare` works through a source: where, and within which memory."""

    # Where the work is done: `threads` of this process, `distributed` (processes of
    # dask.distributed on this machine) or `slurm` (jobs through dask-jobqueue); the last two need
    # the extra `cluster`.
    scheduler: str = "threads"
    # Threads, processes or jobs at a time; 0 takes as many as there are cores (one job on SLURM).
    # As many of them work as the memory allows.
    workers: int = 0
    # Bound on the memory of each process that works: all threads together, one process of
    # dask.distributed, one job; with its unit, MB or GB.
    memory: str = "2 GB"
    # Partition of the SLURM jobs ("" for the cluster's own).
    partition: str = ""
    # Account that the SLURM jobs are billed to ("" for the cluster's own).
    account: str = ""
    # Time limit of a SLURM job; one that comes to it is replaced, what it has finished counts.
    walltime: str = "02:00:00"
    # Lines that a SLURM job runs before the work: modules, the virtual environment.
    prologue: list[str] = field(default_factory=list)


@dataclass
class DataConfig:
    """The training store, its splits, and how windows are read."""

    # Path of the training store (Zarr v3), written by `slams prepare`.
    store: str = "stores/demo.zarr"
    source: SourceConfig = field(default_factory=SourceConfig)
    # Several sources in the place of `data.source`, joined on their days. The grid of the store
    # is the one that the first names; each is regridded to it by its own `regrid`.
    sources: list[SourceConfig] = field(default_factory=list)
    # Channels as `variable@level` (hPa) or `variable`.
    channels: list[str] = field(default_factory=list)
    # First and last day taken from the source (ISO dates, both inside), empty for all there are; a
    # later last day extends a finished store.
    period: list[str] = field(default_factory=list)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    # Annual harmonics of the seasonal climatology.
    harmonics: int = 3
    # Floor of the standard deviation at a grid point, as a share of its channel's.
    sd_floor: float = 0.3
    # Lags (days) for which damped persistence is fitted in the training period.
    lags: list[int] = field(default_factory=lambda: [1, 2, 3, 4])
    # Store whose climatology, standard deviations and persistence are used in place of its own
    # ("" for its own): a window of few days cannot have statistics.
    statistics_from: str = ""
    # Days in a window.
    window: int = 1
    # Days that are analysed at once, composed from windows of `window` days, an odd number; 0
    # takes the window. Networks are trained on windows cut out of this many days.
    trajectory: int = 0
    # Cases (windows) a batch.
    batch_size: int = 16
    # DataLoader workers; 0 reads in the main process.
    num_workers: int = 0
    # Number of verifying dates, evenly spaced over the test split; 0 takes every date.
    test_cases: int = 24
    # Fields uncompressed, to read windows at the speed of memory: `memory` holds the channels in
    # use in memory (small stores, no workers), `mmap` maps a file that is written once, `none`
    # decompresses each window anew.
    cache: str = "memory"
    # Where the file of `mmap` lies; "" puts it beside the store.
    cache_directory: str = ""
    # Batches that are read ahead: by a thread without workers, by each worker otherwise; 0 reads
    # a batch when it is asked for.
    ahead: int = 2
    prepare: PrepareConfig = field(default_factory=PrepareConfig)

    @property
    def inputs(self) -> list[tuple[str, SourceConfig]]:
        """Gives the sources in use, each with its key in the recipe."""
        if not self.sources:
            return [("data.source", self.source)]
        return [(f"data.sources.{i}", source) for i, source in enumerate(self.sources)]

    @property
    def days(self) -> int:
        """Gives the days that are analysed at once."""
        return self.trajectory or self.window


@dataclass
class StationVariableConfig:
    """One quantity that every station observes."""

    # Channel observed, as in `data.channels`.
    channel: str = "2m_temperature"
    # Standard deviation of the observation error (channel units: K, log(1 + mm day-1)).
    error: float = 1.0
    # Standard deviation of the representativeness error, added in quadrature.
    representativeness: float = 0.0
    # Grid spacing (km) that `representativeness` is stated for: it grows with the cube root of the
    # model's spacing at each station. 0 takes it as it is everywhere.
    representativeness_km: float = 0.0
    # `gaussian`; `censored`: a Gaussian that reads 0 for all that is below, as a rain gauge does;
    # `auto`: censored for precipitation, Gaussian for anything else.
    likelihood: str = "auto"


@dataclass
class StationQualityConfig:
    """Checks of station reports while they are prepared; what they reject is counted."""

    # Reject values that the variable cannot have.
    range: bool = True
    # Reject a temperature that differs from the ones before and after by more than this (K), twice
    # that where they are more than 6 hours apart; 0 switches the check off.
    step: float = 15.0
    # Reject a daily value whose departure from the climatology differs from the median of at least
    # three neighbours' within this distance (km) by more than `buddy_limit` standard deviations; 0
    # switches the check off.
    buddy_km: float = 500.0
    buddy_limit: float = 4.0


@dataclass
class StationSourceConfig:
    """A public archive of station reports, prepared into the training store."""

    # Layout: `ghcn_daily`, `isd`, `isd_lite`, `igra2`, `metar` or `arm_column`; "" has none, and
    # station values are drawn from the fields.
    kind: str = ""
    # A file, a directory of files, or a pattern with *.
    path: str = ""
    # The archive's own list of stations (ghcnd-stations.txt, isd-history.csv,
    # igra2-station-list.txt).
    station_list: str = ""
    # Elements (GHCN-Daily) or columns (METAR) read; empty for all that give a channel observed.
    elements: list[str] = field(default_factory=list)
    # GHCN-Daily's morning observations: `as_dated`, or `day_before`.
    morning: str = "as_dated"
    # Quarters of the UTC day with a report that a daily mean near the surface needs.
    quarters: int = 4
    # Soundings that a daily mean on a level needs.
    soundings: int = 1
    # Share of the day that reports of precipitation must cover.
    coverage: float = 1.0
    # A station that is listed at places further apart than this (km) has moved, and becomes two.
    moved_km: float = 1.0
    # Stations closer together than this (km) are one; the one with more values stays.
    same_place_km: float = 0.1
    # Largest difference (m) between a station's elevation and the model's terrain for 2 m
    # temperature; 0 sets no limit.
    height_difference: float = 0.0
    # Smallest distance (km) between two stations; those with more values stay. 0 keeps all.
    thinning_km: float = 0.0
    qc: StationQualityConfig = field(default_factory=StationQualityConfig)


@dataclass
class StationsConfig:
    """In-situ observations at irregular points."""

    # Number of stations, drawn from real airport (METAR) sites by thinning.
    count: int = 400
    # Explicit stations as a CSV file (id,latitude,longitude,elevation) in place of airports.
    file: str = ""
    # Real reports in place of values drawn from the fields; needs observations.source: store.
    source: StationSourceConfig = field(default_factory=StationSourceConfig)
    variables: list[StationVariableConfig] = field(
        default_factory=lambda: [StationVariableConfig()]
    )
    # Lapse rate of the elevation correction (K m-1); used where both elevations are known.
    lapse_rate: float = 0.0065
    # Share of station reports that are missing at random.
    missing: float = 0.0
    # Share of the stations that no method is given; they verify the analyses. 0 holds none out.
    held_out: float = 0.0


@dataclass
class OrbitConfig:
    """A satellite on a circular orbit whose ground track repeats."""

    # Days after which the track repeats, and revolutions in that time: 233 in 16 is 705 km.
    repeat_days: int = 16
    revolutions: int = 233
    # Local mean time (hours) at which it crosses the equator northwards.
    crossing_time: float = 13.5
    # Width of the swath (km).
    swath_km: float = 2330.0
    # Inclination (degrees); 0 takes the sun-synchronous one, which follows from the period.
    inclination: float = 0.0


@dataclass
class SatelliteConfig:
    """Satellite imagery of outgoing longwave radiation."""

    channel: str = "outgoing_longwave_radiation"
    # Footprint in grid cells each way (block mean).
    footprint: int = 2
    # Share of the globe inside the moving swaths of `geometry: slanted`.
    coverage: float = 0.5
    # Standard deviation of the observation error (W m-2), of one pass.
    error: float = 5.0
    # `slanted`: bands of which `coverage` says how wide; `orbit`: the passes of `orbit`.
    geometry: str = "slanted"
    orbit: OrbitConfig = field(default_factory=OrbitConfig)
    # Diameter (km) of circular footprints about the centres of the blocks, weighted by the area
    # shared with each grid cell; 0 takes the blocks themselves.
    footprint_km: float = 0.0
    # What several passes of a day make: `latest`, or their `mean`, whose error variance is less.
    composite: str = "latest"


@dataclass
class DegradationConfig:
    """SLAMS's degradations: direct observations of a channel, coarse, noisy, sparse."""

    # Channels observed directly; empty switches the degradation off.
    channels: list[str] = field(default_factory=list)
    # Block mean over r x r cells.
    block: int = 1
    # Keep every gap-th cell each way.
    gap: int = 1
    # Standard deviation of the noise, as a share of the channel's mean standard deviation.
    noise: float = 0.1


@dataclass
class ObservationsConfig:
    """What is observed: which modalities, and with which `H` and `R`."""

    # Modalities in use: any of `stations`, `satellite`, `degraded`; empty observes nothing.
    use: list[str] = field(default_factory=lambda: ["stations", "satellite"])
    # Values drawn from the truth when read (`truth`), or streamed from the training store's
    # stations and satellite arrays (`store`).
    source: str = "truth"
    stations: StationsConfig = field(default_factory=StationsConfig)
    satellite: SatelliteConfig = field(default_factory=SatelliteConfig)
    degraded: DegradationConfig = field(default_factory=DegradationConfig)
    # Days of the window (0 the first) on which anything is observed; empty for all of them.
    days: list[int] = field(default_factory=list)
    # Reject observations further than this many standard deviations from the background.
    gross_error: float = 5.0


@dataclass
class BackgroundConfig:
    """The background, which never sees the verifying truth."""

    # `damped_persistence` or `climatology` or `file`.
    kind: str = "damped_persistence"
    # Days between the state that persists and the first day of the window.
    lag: int = 2
    # Training store that holds background states (kind `file`).
    path: str = ""
    # Re-centre the climatology on this many real days before the verifying day; 0 keeps it.
    recentre_days: int = 0
    # Error variance, as a share of the climatology's, that the state which persists is given in
    # the training period: that of an analysis, where backgrounds are cycled; 0 for the truth.
    analysis_error: float = 0.0


@dataclass
class OptimizerConfig:
    """One optimiser for every trained stage: AdamW, warm-up, cosine decay."""

    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    # Optimiser steps of the whole training, rounded to whole validated epochs.
    steps: int = 3600
    warmup_steps: int = 100
    # Batches, on each process, whose gradients are added up to one step.
    accumulate: int = 1
    # Largest norm of the gradient.
    clip: float = 1.0
    # Decay of the exponential moving average of the weights; 0 switches it off.
    ema: float = 0.998


@dataclass
class VAEConfig:
    """The variational autoencoder of all modalities."""

    latent_channels: int = 32
    # Fewer grid points each way.
    factor: int = 4
    # Width and number of residual blocks of the convolutional paths.
    hidden: int = 128
    blocks: int = 3
    kl_weight: float = 1e-3
    # Probability that a modality is hidden from the encoder in a training sample.
    modality_dropout: float = 0.15
    batch_size: int = 16
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=2e-3, steps=2000)
    )


@dataclass
class ScoreConfig:
    """The denoiser of latent windows, or of the fields themselves."""

    # What the denoiser learns: `latent`, encodings of the VAE, or `pixel`, the normalised fields
    # (method `pixel_diffusion`); each has a run directory of its own.
    space: str = "latent"
    # Widths of the U-Net, one a resolution.
    channels: list[int] = field(default_factory=lambda: [64, 96])
    blocks: int = 2
    embedding: int = 128
    # Networks whose mean is the denoiser. Each sample of a batch trains one of them: give as many
    # times more steps or larger batches.
    ensemble: int = 1
    # Probability that the background is hidden in a training sample.
    condition_dropout: float = 0.4
    # Ages (days) of further backgrounds that the denoiser is trained with beside
    # `background.lag`; it is told how old each is. More pairs of states where training days are
    # few; it is validated and used with `background.lag` alone.
    lags: list[int] = field(default_factory=list)
    # Cells of longitude, either way, by which turned copies of the training days are added, fields
    # and background alike: weather a little to the east is weather that could have been.
    shifts: int = 0
    # What the training loss weighs errors by: `latent`, all standardised channels alike, or
    # `decoded`, each by the variance of the fields that the decoder makes of it.
    loss: str = "latent"
    # Log-normal training noise: mean and standard deviation of log sigma.
    noise_mean: float = 0.3
    noise_sd: float = 1.5
    dropout: float = 0.1
    batch_size: int = 16
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class SamplerConfig:
    """The sampler of the reverse diffusion."""

    # `adams_bashforth` (deterministic, multistep), `ddim`, `heun`, `ancestral` or
    # `predictor_corrector`.
    kind: str = "adams_bashforth"
    # Order of `adams_bashforth`, at one evaluation a step whatever it is: 1 is `ddim`, 2 is
    # DPM-Solver++ 2M. With 16 steps and 1, 2, 3 the spread of a Gaussian half as wide as the data
    # or wider comes out 12 % too small, 3 % and 0.5 % too large.
    order: int = 3
    # Noise levels, log-spaced; `heun` and `predictor_corrector` evaluate the denoiser twice at
    # each.
    steps: int = 16
    sigma_max: float = 60.0
    sigma_min: float = 0.03
    # Remove the mean over the members from the noise: the ensemble's mean is then the analysis,
    # as it is with the classical methods, and not a sample of it.
    centred: bool = True
    # Factor on all noise that members are drawn from, and so on the spread of a Gaussian posterior
    # (1: as sampled). Below 1 it narrows an ensemble as the filters' inflation widens theirs.
    inflation: float = 1.0
    # Langevin corrections a level of `predictor_corrector`, and the share of the noise's variance
    # that each draws anew.
    corrections: int = 1
    correction: float = 0.3
    # Let two corrections that follow one another share half of their noise: they then keep the
    # variance of a Gaussian whatever their size, of which they lose some otherwise.
    averaged: bool = False
    # Precision in which `decg` evaluates denoiser and decoder: `32-true`, `bf16-mixed`, or `auto`,
    # which takes bfloat16 where the hardware computes in it. Guidance itself is never in bfloat16.
    precision: str = "32-true"


@dataclass
class GuidanceConfig:
    """How observations enter the reverse diffusion."""

    # `decg` (denoising-error-covariance guidance), `mmps` (moment matching, GMRES), or, to compare
    # with and known to be uncalibrated, `sda` (gamma rule), `dps` or `pgdm` (pseudo-inverse).
    kind: str = "decg"
    # Where observations are compared with the state: `decoder`, in their own units through decoder
    # and `H`, or `latent`, as encodings of what was observed (the original's, to compare with).
    likelihood: str = "decoder"
    # Training days in the archive of denoising errors.
    archive: int = 240
    # Gaspari-Cohn half-width (km) of the localisation.
    localisation: float = 3000.0
    # Width (days) of the Gaussian by which archive days count less, the further their day of year
    # is from the case's (`decg`); 0 lets all count alike.
    season: float = 0.0
    # How the background enters: as `condition` of the denoiser, as `observation` of the latent
    # state with the covariance of its error, as `both`, or not at all (`neither`).
    background: str = "condition"
    # Latent points, the nearest ones, whose background corrects a point (`observation`, `both`).
    background_points: int = 1
    # Give decoded precipitation the distribution that it has over training days (quantile
    # mapping of the members): the decoder blurs, so that too few points are dry.
    calibrated: bool = False
    # Solver iterations of `mmps` and `pgdm`; the noise level below which all but `decg` guide.
    iterations: int = 3
    below_sigma: float = 8.0
    # Times that `mmps` linearises the operator at a noise level, each with its own iterations: one
    # is enough where decoder and `H` are near to linear.
    linearisations: int = 1
    # Variance that `sda` gives the state at noise level one (its authors' 0.01 needs hundreds of
    # steps), and the length of the steps of `dps`.
    gamma: float = 0.2
    zeta: float = 1.0


@dataclass
class OptimalInterpolationConfig:
    """The classical baseline."""

    # Gaspari-Cohn half-width (km), the best on the demo's validation period.
    localisation: float = 3000.0
    # Days from the verifying day of year within which training days enter the archive.
    season: int = 75
    # Cells of longitude, either way, by which turned copies of the archive's errors are added.
    shifts: int = 0


@dataclass
class ThreeDVarConfig:
    """Variational assimilation (`3dvar`) with the covariances of optimal interpolation."""

    # Gaspari-Cohn half-width (km).
    localisation: float = 3000.0
    # Days from the verifying day of year within which training days enter the archive.
    season: int = 75
    # Largest number of linearisations of `H`; no more than one is made where `H` is linear.
    outer_loops: int = 8
    # Cells of longitude, either way, by which turned copies of the archive's errors are added.
    shifts: int = 0


@dataclass
class Latent3DVarConfig:
    """Variational assimilation in the latent space (`latent_3dvar`), the decoder inside `H`."""

    # Gaspari-Cohn half-width (km).
    localisation: float = 3000.0
    # Days from the verifying day of year within which training days enter the archive.
    season: int = 75
    # Largest number of linearisations of decoder and `H`.
    outer_loops: int = 4
    # Largest number of training days that the covariance is made from: each costs a derivative of
    # the decoder in each outer loop.
    archive: int = 320


@dataclass
class PixelDiffusionConfig:
    """Diffusion of the fields themselves (`pixel_diffusion`); the rest is `latent_diffusion`'s."""

    # Factor on the noise levels of `assimilation.sampler`. The mean of n x n points hides under
    # n times as much noise as each of them: where the VAE has n times fewer points each way, n.
    noise_scale: float = 4.0


@dataclass
class EnsembleKalmanConfig:
    """An ensemble Kalman filter (`enkf` or `letkf`) of past background errors."""

    # Members of the prior ensemble, at most the training days of the season; of them,
    # `assimilation.members` are given as the analysis.
    ensemble: int = 320
    # Gaspari-Cohn half-width (km): of covariances (`enkf`), of observation error (`letkf`).
    localisation: float = 3000.0
    # Days from the verifying day of year within which the members' days are drawn.
    season: int = 75
    # Factor on the prior's perturbations.
    inflation: float = 1.0
    # Share of the spread lost by the update that is given back (relaxation to prior spread).
    rtps: float = 0.2


@dataclass
class LinearInverseModelConfig:
    """The first guess `linear_inverse_model`: penalised regression on EOFs of the background."""

    # Largest number of EOFs, the best on the demo's training blocks.
    eofs: int = 200
    # Penalties to choose from by cross-validation, a channel, in units of a score's mean variance.
    ridges: list[float] = field(default_factory=lambda: [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0])
    # Blocks of the cross-validation, and the days next to a block that its model does not see.
    folds: int = 5
    gap: int = 10


@dataclass
class ScoreMeanConfig:
    """The first guess `score_mean`: the score model's mean for the background."""

    # Noise level of the denoiser, the best on the demo's validation period, and the draws of noise
    # that are averaged over.
    sigma: float = 8.0
    draws: int = 8


@dataclass
class AssimilationConfig:
    """Which methods are compared, and how."""

    # Names as in the results table; `METHOD@FIRST_GUESS` starts a method from `climatology`,
    # `linear_inverse_model` or `score_mean` in the place of the background.
    methods: list[str] = field(
        default_factory=lambda: [
            "climatology",
            "background",
            "optimal_interpolation",
            "latent_diffusion",
        ]
    )
    # Name of the setting, the second column of the results table and the name of its directory.
    setting: str = "default"
    members: int = 16
    batch_size: int = 4
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
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
    linear_inverse_model: LinearInverseModelConfig = field(
        default_factory=LinearInverseModelConfig
    )
    score_mean: ScoreMeanConfig = field(default_factory=ScoreMeanConfig)
    # Test dates on which every smaller subset of `observations.use` is tried too, to see what each
    # modality brings; 0 for none.
    modality_study: int = 0
    # Dates a block of the block bootstrap, and the number of resamples.
    bootstrap_block: int = 3
    bootstrap_samples: int = 1000
    # Consecutive days over which each method is cycled from the first test day: its analysis of a
    # day gives its background of the next, by persistence; 0 for separate test dates.
    cycle_days: int = 0
    # Factor on the error variance of a cycled background.
    cycle_inflation: float = 1.0
    # Cases whose ensembles are kept in analysis.zarr.
    keep_cases: int = 4


@dataclass
class TrainerConfig:
    """The one Trainer of all stages."""

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    # Lightning precision of training: `auto` takes `bf16-mixed` where the hardware computes in
    # bfloat16, else `32-true`. Assimilation runs in float32.
    precision: str = "auto"
    # Threads a process on the CPU; 0 leaves torch's choice.
    threads: int = 0
    # Time after which a training saves and ends, to be continued by the same command, as SLURM
    # writes it: 90 (minutes), 12:00:00, 2-12:00:00; "" for no limit.
    max_time: str = ""
    # Compute activations again in the backward pass and keep fewer of them: less memory for long
    # windows, about a third more time.
    checkpoint_activations: bool = False
    # Compile the networks with torch.compile: pays on a GPU in long trainings.
    compile: bool = False
    # Steps between two validations and checkpoints, rounded to whole epochs.
    validate_every_epochs: int = 5
    # Optimiser steps between two checkpoints inside of epochs, besides those at validations; 0 for
    # none. A run continues from any of them with the windows that it has not seen.
    checkpoint_every_steps: int = 0
    # Seconds between two progress lines in logs.
    log_every_seconds: float = 10.0


@dataclass
class TrackingConfig:
    """MLflow."""

    enabled: bool = True
    # Tracking server; "" is sqlite in the run directory's root.
    uri: str = ""
    # Log to sqlite all the same, where no server can be reached; `slams sync` copies it to `uri`.
    offline: bool = False
    # Log use of processor, memory, disk, network and GPU of the machine that logs.
    system_metrics: bool = True
    # Seconds between two such measurements.
    system_seconds: float = 10.0
    # MLflow experiment; "" takes the recipe's `experiment`.
    experiment: str = ""


@dataclass
class ReportConfig:
    """The report."""

    # Case (number in the order of test dates) shown on the maps.
    case: int = 0
    # Level (hPa) shown on the maps.
    level: int = 850
    # Dots a inch of the figures.
    dpi: int = 150


@dataclass
class SimulateConfig:
    """A nature run made with jcm (extra `simulate`)."""

    output: str = "stores/nature_run.zarr"
    start: str = "1980-01-01"
    # Months kept, after the spin-up.
    months: int = 12
    spinup_days: int = 184
    truncation: int = 31


@dataclass
class AblationConfig:
    """A sweep of `slams ablate`: its settings are grid x zip x list, each over the recipe."""

    # Name of the sweep, its directory in the experiment's; "" takes the name of the recipe's file.
    name: str = ""
    # What may be run for a setting: `assimilate` alone, which uses the networks there are, or
    # `train score` or `train vae` and `train score` before it. Settings that need the same network
    # train it once.
    stages: list[str] = field(default_factory=lambda: ["assimilate"])
    # Setting, or method, that `slams compare` holds the others against; "" is the first setting.
    baseline: str = ""
    # Table of published figures (CSV: key,value,method,metric,result), beside the recipe, shown
    # next to ours; what differs is said in a file of the same name ending in .md.
    published: str = ""
    # Every combination of values: {key: [value, ...], other.key: [value, ...]}.
    grid: dict[str, Any] = field(default_factory=dict)
    # Values that change together: {key: [value, ...], other.key: [as many values]}.
    zip: dict[str, Any] = field(default_factory=dict)
    # Settings one by one: [{key: value, other.key: value}, ...]; `name` names one of them.
    list: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Config:
    """A recipe."""

    # Name of the experiment: directory under `runs` and MLflow experiment.
    experiment: str = "demo"
    # Directory of all run directories.
    runs: str = "runs"
    seed: int = 0
    # What to do with a run directory that exists: `auto` continues a killed run, keeps a finished
    # one and refuses one of another recipe; `never` refuses; `overwrite` starts over.
    resume: str = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    observations: ObservationsConfig = field(default_factory=ObservationsConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    # Experiment whose trained VAE and score are used ("" for this one's own).
    trained_in: str = ""
    assimilation: AssimilationConfig = field(default_factory=AssimilationConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
