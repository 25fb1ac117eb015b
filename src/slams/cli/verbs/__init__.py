"""The verbs of the command line, a module each; `VERBS` has them by name, in their order."""

from __future__ import annotations

import importlib
import pkgutil

from slams.cli.verb import Verb

__all__ = ["GROUPS", "VERBS"]

GROUPS = {
    "train": "train a model: `vae`, then `score`",
    "bench": "measure parts: `posterior`, `data`, `prepare`, `sampler`, `train`, ...",
    "config": "show or check a recipe: `print`, `validate`",
}
_FOUND: list[Verb] = [
    importlib.import_module(f"{__name__}.{module.name}").VERB
    for module in pkgutil.iter_modules(__path__)
]
VERBS = {verb.name: verb for verb in sorted(_FOUND, key=lambda verb: verb.order)}
