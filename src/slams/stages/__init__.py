"""Stages behind the verbs of the command line: each composes other packages and computes nothing.

A stage is imported when it is first used: preparing data needs neither Lightning nor mlflow, whose
memory counts towards its bound.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slams.stages.assimilation import assimilate
    from slams.stages.methods import load
    from slams.stages.reporting import report
    from slams.stages.sources import prepare, simulate, verify
    from slams.stages.training import train_score, train_vae

__all__ = [
    "assimilate",
    "load",
    "prepare",
    "report",
    "simulate",
    "train_score",
    "train_vae",
    "verify",
]

_MODULES = {
    "assimilate": "assimilation",
    "load": "methods",
    "prepare": "sources",
    "report": "reporting",
    "simulate": "sources",
    "train_score": "training",
    "train_vae": "training",
    "verify": "sources",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
