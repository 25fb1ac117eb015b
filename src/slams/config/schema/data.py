"""Where the data come from, how they are prepared and how they are read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from slams.calendar.steps import STEPS, step_days, whole_days
from slams.config.memory import MEMORY
from slams.config.paths import PATH, REPLACED, WRITTEN_PATH
from slams.config.splits import DAYS
from slams.plugins.keys import (
    DISTINCT,
    NOT_NEGATIVE,
    Rule,
    at_least,
    distinct,
    each,
    key,
    one_of,
    registered,
    that,
)
from slams.plugins.sources import SOURCES
from slams.variables import UNITS, check_channel

__all__ = [
    "DataConfig",
    "PrepareConfig",
    "SourceConfig",
    "SourceDimensionsConfig",
    "SourceVariableConfig",
    "SplitsConfig",
]

_CHANNEL = Rule("variable@level or variable", check_channel)
_WALLTIME = that(
    re.compile(r"(\d+-)?\d{1,3}:[0-5]\d:[0-5]\d").fullmatch, "a time such as 02:00:00"
)


@dataclass
class SourceVariableConfig:
    """How a file of kind `cf` holds a variable, where it does not say so itself."""

    # The variable, as in `data.channels` without its level.
    variable: str = key("", one_of(*UNITS))
    # Its name in the file; "" finds it by the variable's own or by its CF standard name.
    name: str = ""
    # Its units, whatever the file states; "" takes those of the file.
    units: str = ""
    # What values are multiplied by besides their units: -1 for a downward flux.
    factor: float = key(1.0, that(lambda v: math.isfinite(v) and v != 0, "a number not 0"))
    # Hours that a value covers, a mean or an accumulation: 0 for an instant, -1 as the file says.
    hours: float = key(-1.0, that(lambda v: 0 <= v <= 24 or v == -1, "0 to 24 hours, or -1"))
    # Where the time stamp lies in them: `start`, `middle` or `end`; "" as the file says.
    stamp: str = key("", one_of("", "start", "middle", "end"))


@dataclass
class SourceDimensionsConfig:
    """Names of the dimensions of a file of kind `cf`; "" finds the usual ones by themselves."""

    # Name of the dimension of days or instants; "" finds it by its `standard_name`, its `axis` or
    # a usual name.
    time: str = ""
    # Name of the dimension of pressure levels; "" finds it likewise.
    level: str = ""
    # Name of the dimension of latitudes; "" finds it likewise.
    latitude: str = ""
    # Name of the dimension of longitudes; "" finds it likewise.
    longitude: str = ""


@dataclass
class SourceConfig:
    """Where the fields come from."""

    # Layout of the source: `nature_run` (CF Zarr), `weatherbench2`, `arco_era5`, `chaosbench`,
    # `anemoi` (Zarr), `era5_cds` (NetCDF or GRIB of the Climate Data Store), `noaa_psl`,
    # `cpc_gauge` (NetCDF), `cf`, anything that follows the CF conventions, or `no_fields`, days
    # with observations alone; its path is FIRST/LAST.
    kind: str = key("nature_run", registered(SOURCES))
    # Path, pattern with `*`, or address (gs://, s3://, https://; extra `cloud`) of the source;
    # `sample` is the nature run embedded in the package.
    path: str = key("sample", PATH)
    # Files that follow one another in time, instead of `path` (NetCDF, GRIB).
    files: list[str] = key([], each(PATH))
    # Value of a step (`data.step`) of a source with several instants in it: the `instant` at its
    # beginning (00 UTC for a day), or their `mean`. Accumulations and mean fluxes are combined to
    # whole steps in either case.
    daily: str = key("instant", one_of("instant", "mean"))
    # How a file of kind `cf` holds variables and dimensions, where it does not say so itself.
    variables: list[SourceVariableConfig] = key([], distinct("variable"))
    dimensions: SourceDimensionsConfig = field(default_factory=SourceDimensionsConfig)
    # In `data.sources`: the channels taken from it, each as in `data.channels` or as the name of a
    # variable, for all its levels there.
    channels: list[str] = field(default_factory=list)
    # Where a user gets the source (documentation, goes into the store's attributes).
    origin: str = ""
    # Target grid: `native`, or a training store or source whose grid is taken, or `LATxLON`.
    grid: str = key("native", PATH)
    # Regridding to the target grid: `conservative` or `bilinear`.
    regrid: str = key("conservative", one_of("conservative", "bilinear"))
    # Channels the source does not have: stored as missing throughout.
    absent: list[str] = field(default_factory=list)
    # Channels that may have missing values here and there; in any other, one missing value on a
    # training day is an error.
    gaps: list[str] = field(default_factory=list)


@dataclass
class SplitsConfig:
    """Days (ISO dates) of each split, with a gap between splits.

    First and last day, both inside. A split of several pieces has them one after the other: first,
    last, first, last, and so on in order of time; no window leaves the piece it begins in.
    """

    # Days (ISO dates) for training, the climatology and other statistics, and archives of errors:
    # first and last day, both inclusive, or several such pairs in order of time.
    train: list[str] = field(default_factory=list)
    # Days on which the training loss is validated, to choose the best checkpoint, and errors of
    # trained models are measured; in pairs as `train`.
    validation: list[str] = field(default_factory=list)
    # Days that are analysed and scored; in pairs as `train`.
    test: list[str] = field(default_factory=list)
    # Days that no training, validation, statistic, tuning or selection reads, in pairs as above; a
    # test split has days of them in a final measurement only (`final`). `slams prepare` writes
    # them into the store, and other recipes on that store must respect them.
    reserved: list[str] = field(default_factory=list)
    # Whether this is a final measurement, whose test split may have reserved days.
    final: bool = False
    # Smallest number of days between two splits.
    gap: int = key(5, at_least(0))


@dataclass
class PrepareConfig:
    """How `slams prepare` works through a source: where, and within which memory."""

    # Where the work is done: `threads` of this process, `distributed` (processes of
    # dask.distributed on this machine) or `slurm` (jobs through dask-jobqueue); the last two need
    # the extra `cluster`.
    scheduler: str = key("threads", one_of("threads", "distributed", "slurm"))
    # Largest number of threads, processes or jobs at a time, which the memory may reduce; 0 for
    # the number of cores (one job on SLURM).
    workers: int = key(0, at_least(0))
    # Bound on the memory of each process that works: all threads together, one process of
    # dask.distributed, one job; with its unit, MB or GB.
    memory: str = key("2 GB", MEMORY)
    # Partition of the SLURM jobs ("" for the cluster's own).
    partition: str = ""
    # Account that the SLURM jobs are billed to ("" for the cluster's own).
    account: str = ""
    # Time limit of a SLURM job; one that reaches it is replaced, and what it has finished is kept.
    walltime: str = key("02:00:00", _WALLTIME)
    # Lines that a SLURM job runs before the work: modules, the virtual environment.
    prologue: list[str] = field(default_factory=list)


@dataclass
class DataConfig:
    """The training store, its splits, and how windows are read."""

    # Path of the training store (Zarr v3), written by `slams prepare`.
    store: str = key("stores/demo.zarr", WRITTEN_PATH, REPLACED)
    # Step of the store's time axis: the UTC day (`24h`), `12h` or `6h` from 00 UTC on. An instant
    # is that at the time of its step; a mean or a total covers the step that begins then.
    # `data.window`, `data.trajectory`, `data.lags`, `background.lag`, `score.lags` and
    # `observations.days` count steps; splits, gaps and cycles are in days.
    step: str = key("24h", one_of(*STEPS))
    source: SourceConfig = field(default_factory=SourceConfig)
    # Several sources instead of `data.source`, each with its keys, joined on their days. The grid
    # of the store is the one that the first names; each is regridded to it by its own `regrid`.
    sources: list[SourceConfig] = field(default_factory=list)
    # Channels as `variable@level` (hPa) or `variable`.
    channels: list[str] = key([], each(_CHANNEL), DISTINCT)
    # Channels that only condition, each as in `channels` or as the name of a variable, for all its
    # levels there. They are prepared, encoded and in the background as any other, so that what is
    # known of them informs the analysis of the rest (and a cycle hands them on to the next day);
    # but they are not observed, not scored, not in the results and not written.
    condition_only: list[str] = key([], DISTINCT)
    # First and last day taken from the source (ISO dates, both inside), empty for all there are; a
    # later last day extends a finished store.
    period: list[str] = key([], DAYS)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    # Annual harmonics of the seasonal climatology.
    harmonics: int = key(3, at_least(0))
    # Floor of the standard deviation at a grid point, as a share of its channel's.
    sd_floor: float = key(0.3, NOT_NEGATIVE)
    # Lags (steps) for which damped persistence is fitted in the training period.
    lags: list[int] = key([1, 2, 3, 4], each(at_least(1)), DISTINCT)
    # Store whose climatology, standard deviations and persistence are used instead of its own
    # ("" for its own): a store of few days cannot have statistics.
    statistics_from: str = key("", PATH)
    # Steps in a window: days for `data.step: 24h`.
    window: int = key(1, at_least(1))
    # Steps that are analysed at once, composed from windows of `window` steps, an odd number; 0
    # takes the window. Networks are trained on windows cut out of this many steps.
    trajectory: int = key(0, at_least(0))
    # Cases (windows) per batch.
    batch_size: int = key(16, at_least(1))
    # DataLoader workers; 0 reads in the main process.
    num_workers: int = key(0, at_least(0))
    # Number of verifying dates, evenly spaced over the test split; 0 takes every date.
    test_cases: int = key(24, at_least(0))
    # Fields uncompressed, to read windows at the speed of memory: `memory` holds the channels in
    # use in memory (small stores, no workers), `mmap` maps a file that is written once, `none`
    # decompresses each window anew.
    cache: str = key("memory", one_of("none", "memory", "mmap"))
    # Where the file of `mmap` lies; "" puts it next to the store.
    cache_directory: str = key("", WRITTEN_PATH)
    # Batches that are read ahead: by a thread without workers, by each worker otherwise; 0 reads
    # a batch when it is needed.
    ahead: int = key(2, at_least(0))
    prepare: PrepareConfig = field(default_factory=PrepareConfig)

    @property
    def inputs(self) -> list[tuple[str, SourceConfig]]:
        """Return the sources in use, each with its key in the recipe."""
        if not self.sources:
            return [("data.source", self.source)]
        return [(f"data.sources.{i}", source) for i, source in enumerate(self.sources)]

    @property
    def analysed(self) -> list[str]:
        """Return the channels that are scored and written: all but `condition_only`."""
        left_out = set(self.condition_only)
        return [c for c in self.channels if not left_out & {c, c.partition("@")[0]}]

    @property
    def days(self) -> int:
        """Return the steps that are analysed at once: days, unless `step` is shorter."""
        return self.trajectory or self.window

    @property
    def step_days(self) -> float:
        """Return the length of a step in days."""
        return step_days(self.step)

    @property
    def window_days(self) -> int:
        """Return the fewest days that hold a window."""
        return whole_days(self.window, self.step_days)
