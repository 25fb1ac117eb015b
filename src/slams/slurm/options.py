"""Options of `slams submit` on the command line."""

from __future__ import annotations

import argparse
from typing import Any

from slams.slurm.submit import STAGES, Request

__all__ = ["OPTIONS", "request_of"]

# Option -> default, placeholder of its value, help.
_VALUES: dict[str, tuple[int | str, str, str]] = {
    "--nodes": (1, "N", "nodes of each job (default: %(default)s)"),
    "--gpus-per-node": (0, "G", "GPUs per node, one rank each; 0, the default, for the CPU"),
    "--cpus-per-task": (0, "C", "CPUs per rank (default: 1 + data.num_workers)"),
    "--at-once": (0, "K", "settings of a sweep that may run at once (default: all)"),
    "--time": ("", "T", "time limit of each job, such as 90 or 1-12:00:00"),
    "--partition": ("", "NAME", "partition"),
    "--account": ("", "NAME", "account"),
    "--stages": ("", "LIST", f"some of {','.join(STAGES)} (default: those that are missing)"),
}
# Option -> what argparse takes beside its name.
OPTIONS: dict[str, dict[str, Any]] = {
    name: {"type": type(default), "default": default, "metavar": metavar, "help": text}
    for name, (default, metavar, text) in _VALUES.items()
} | {
    "--sweep": {
        "action": "store_true",
        "help": "run the settings of the sweep as a job array",
    },
    "--sbatch": {
        "action": "append",
        "default": [],
        "metavar": "OPTION",
        "help": "one more option of sbatch, such as --sbatch=--qos=long; may be repeated",
    },
}


def request_of(arguments: argparse.Namespace) -> Request:
    """Build the request from the parsed arguments."""
    return Request(
        recipe=arguments.recipe,
        overrides=arguments.overrides,
        nodes=arguments.nodes,
        gpus=arguments.gpus_per_node,
        cpus=arguments.cpus_per_task,
        time=arguments.time,
        partition=arguments.partition,
        account=arguments.account,
        stages=arguments.stages,
        sweep=arguments.sweep,
        at_once=arguments.at_once,
        extra=arguments.sbatch,
    )
