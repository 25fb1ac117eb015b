"""What the verbs of the command line do: each stage composes the rooms, none computes."""

from __future__ import annotations

from slams.stages.ablation import ablate
from slams.stages.assimilation import assimilate
from slams.stages.methods import load
from slams.stages.reporting import report
from slams.stages.sources import prepare, simulate
from slams.stages.training import train_score, train_vae

__all__ = [
    "ablate",
    "assimilate",
    "load",
    "prepare",
    "report",
    "simulate",
    "train_score",
    "train_vae",
]
