"""How stages run: devices, tracking, report, simulation, sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slams.config.paths import PATH, WRITTEN_PATH
from slams.config.splits import DAY
from slams.config.time_limits import TIME_LIMIT
from slams.plugins.keys import NOT_NEGATIVE, POSITIVE, at_least, key, one_of, optional

__all__ = [
    "AblationConfig",
    "ReportConfig",
    "SimulateConfig",
    "TrackingConfig",
    "TrainerConfig",
]


@dataclass
class TrainerConfig:
    """The one Trainer of all stages."""

    # Device that stages compute on; `auto` takes a GPU where there is one, and the CPU otherwise.
    accelerator: str = key("auto", one_of("auto", "cpu", "gpu"))
    # Processes per node: on GPUs one for each, on the CPU as many as you choose.
    devices: int = key(1, at_least(1))
    # Nodes (machines), each with `devices` processes.
    num_nodes: int = key(1, at_least(1))
    # Lightning precision of training: `auto` takes `bf16-mixed` where the hardware computes in
    # bfloat16, else `32-true`. Assimilation runs in float32.
    precision: str = key("auto", one_of("auto", "32-true", "16-mixed", "bf16-mixed"))
    # Threads per process on the CPU; 0 leaves one core free, so that other programs do not slow
    # every operation.
    threads: int = key(0, at_least(0))
    # Time after which a training saves and ends, to be continued by the same command, as SLURM
    # writes it: 90 (minutes), 12:00:00, 2-12:00:00; "" for no limit.
    max_time: str = key("", optional(TIME_LIMIT))
    # Compute activations again in the backward pass and keep fewer of them: less memory for long
    # windows, about a third more time.
    checkpoint_activations: bool = False
    # Keep the channels of a point next to each other in memory, in weights and activations:
    # convolutions are faster, results the same to rounding.
    channels_last: bool = True
    # Compile the networks with torch.compile: pays on a GPU in long trainings.
    compile: bool = False
    # Epochs between two validations, each with a checkpoint.
    validate_every_epochs: int = key(5, at_least(1))
    # Optimiser steps between two checkpoints inside of epochs, besides those at validations; 0 for
    # none. A run continues from any of them with the windows that it has not seen.
    checkpoint_every_steps: int = key(0, at_least(0))
    # Seconds between two progress lines in logs.
    log_every_seconds: float = key(10.0, NOT_NEGATIVE)


@dataclass
class TrackingConfig:
    """MLflow."""

    # Whether runs are logged to MLflow; run directories are written in either case.
    enabled: bool = True
    # Tracking server; "" is sqlite in the run directory's root.
    uri: str = ""
    # Log to sqlite where no server can be reached; `slams sync` copies it to `uri` later.
    offline: bool = False
    # Log use of processor, memory, disk, network and GPU of the machine that logs.
    system_metrics: bool = True
    # Seconds between two such measurements.
    system_seconds: float = key(10.0, POSITIVE)
    # MLflow experiment; "" takes the recipe's `experiment`.
    experiment: str = ""


@dataclass
class ReportConfig:
    """The report."""

    # Case (number in the order of test dates) shown on maps, profiles at stations and the section.
    case: int = key(0, at_least(0))
    # Level (hPa) shown on the maps.
    level: int = key(850, at_least(1))
    # Resolution of the figures (dots per inch).
    dpi: int = key(150, at_least(20))


@dataclass
class SimulateConfig:
    """A nature run made with jcm (extra `simulate`)."""

    # Zarr directory; until it is finished, `<output>.partial` is next to it, from which the same
    # command continues.
    output: str = key("stores/nature_run.zarr", WRITTEN_PATH)
    # First day that is kept.
    start: str = key("1980-01-01", DAY)
    # Months kept, after the spin-up.
    months: int = key(12, at_least(1))
    # Days simulated before the first that is kept.
    spinup_days: int = key(184, at_least(0))
    # Largest total wave number of the model: 31 is a grid of 48 x 96 points.
    truncation: int = key(31, at_least(1))
    # What is kept: `daily_means`, or `instants` every 6 hours, at 0, 6, 12 and 18 h.
    sampling: str = key("daily_means", one_of("daily_means", "instants"))


@dataclass
class AblationConfig:
    """A sweep of `slams ablate`: its settings are grid x zip x list, each over the recipe."""

    # Name of the sweep, its directory in the experiment's; "" takes the name of the recipe's file.
    name: str = ""
    # What may be run for a setting: `assimilate` alone, which uses the networks there are, or
    # `train score` or `train vae` and `train score` before it. Settings that need the same network
    # train it once.
    stages: list[str] = field(default_factory=lambda: ["assimilate"])
    # Setting, or method, that `slams compare` compares the others with; "" is the first setting.
    baseline: str = ""
    # Table of published figures (CSV: key,value,method,metric,result), next to the recipe, shown
    # next to ours; a file of the same name ending in .md states what differs.
    published: str = key("", PATH)
    # Every combination of values: {key: [value, ...], other.key: [value, ...]}.
    grid: dict[str, Any] = field(default_factory=dict)
    # Values that change together: {key: [value, ...], other.key: [as many values]}.
    zip: dict[str, Any] = field(default_factory=dict)
    # Settings one by one: [{key: value, other.key: value}, ...]; `name` names one of them.
    list: list[dict[str, Any]] = field(default_factory=list)
