"""Request for a submission: each option of `slams submit`, with its help and default.

A field of `Request` that has metadata is an option on the command line; the metadata are what
argparse takes in addition to its name.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from slams.config.time_limits import parse_limit
from slams.slurm.scripts import signal_lead

__all__ = ["OPTIONS", "STAGES", "Request", "request_of"]

# Stage on the command line -> verb.
STAGES = {
    "prepare": "prepare",
    "vae": "train vae",
    "score": "train score",
    "assimilate": "assimilate",
}


def _option(default: int | str, metavar: str, text: str) -> Any:
    settings = {"type": type(default), "default": default, "metavar": metavar, "help": text}
    return field(default=default, metadata=settings)


@dataclass(frozen=True)
class Request:
    """Request for a submission, from the command line.

    Attributes:
        recipe: The recipe (YAML).
        overrides: Overrides `key=value`.
        nodes: Nodes of each job.
        gpus_per_node: GPUs per node, one rank each; 0 trains on the CPU with `trainer.devices`
            ranks per node.
        cpus_per_task: CPUs per rank; 0 for one, plus one for each worker of the DataLoader.
        at_once: Largest number of settings of a sweep that run at once; 0 for no limit.
        time: Time limit of each job, in SLURM's format; "" for the partition's.
        partition: Partition; "" for the default one.
        account: Account; "" for the user's own.
        stages: Stages separated by commas; "" for all that have not finished.
        sweep: Whether to run the settings of the recipe's sweep as a job array instead of stages.
        sbatch: More options of sbatch, for example `--qos=long`.
    """

    recipe: str
    overrides: Sequence[str] = ()
    nodes: int = _option(1, "N", "nodes of each job (default: %(default)s)")
    gpus_per_node: int = _option(
        0, "G", "GPUs per node, one rank each; 0, the default, for the CPU"
    )
    cpus_per_task: int = _option(0, "C", "CPUs per rank (default: 1 + data.num_workers)")
    at_once: int = _option(0, "K", "settings of a sweep that may run at once (default: all)")
    time: str = _option("", "T", "time limit of each job, such as 90 or 1-12:00:00")
    partition: str = _option("", "NAME", "partition")
    account: str = _option("", "NAME", "account")
    stages: str = _option(
        "", "LIST", f"some of {','.join(STAGES)} (default: those that are missing)"
    )
    sweep: bool = field(
        default=False,
        metadata={
            "action": "store_true",
            "help": "run the settings of the sweep as a job array",
        },
    )
    sbatch: Sequence[str] = field(
        default=(),
        metadata={
            "action": "append",
            "default": [],
            "metavar": "OPTION",
            "help": "one more option of sbatch, such as --sbatch=--qos=long; may be repeated",
        },
    )

    def directives(self, tasks: int) -> list[str]:
        """Return the options of sbatch for the resources of a job.

        Args:
            tasks: Ranks per node.

        Raises:
            UserError: The time limit is not in SLURM's format.
        """
        seconds = parse_limit("--time", self.time) if self.time else 0
        lines = [f"--nodes={self.nodes}", f"--ntasks-per-node={tasks}"]
        if self.gpus_per_node:
            lines.append(f"--gpus-per-node={self.gpus_per_node}")
        lines.append(f"--cpus-per-task={self.cpus_per_task}")
        for name in ("time", "partition", "account"):
            if value := getattr(self, name):
                lines.append(f"--{name}={shlex.quote(value)}")
        return [*lines, f"--signal=USR1@{signal_lead(seconds)}", *self.sbatch]


# Option -> what argparse takes in addition to its name.
OPTIONS: dict[str, dict[str, Any]] = {
    f"--{one.name.replace('_', '-')}": dict(one.metadata)
    for one in fields(Request)
    if one.metadata
}


def request_of(arguments: argparse.Namespace) -> Request:
    """Build the request from the parsed arguments."""
    return Request(**{one.name: getattr(arguments, one.name) for one in fields(Request)})
