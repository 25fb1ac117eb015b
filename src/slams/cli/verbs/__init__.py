"""The verbs of the command line: every public `Verb` of this package's modules, in `VERBS`."""

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
_FOUND = [
    value
    for module in pkgutil.iter_modules(__path__)
    for name, value in vars(importlib.import_module(f"{__name__}.{module.name}")).items()
    if isinstance(value, Verb) and not name.startswith("_")
]
_NAMES = [verb.name for verb in _FOUND]
for _verb in _FOUND:
    _group = _verb.name.rpartition(" ")[0]
    if _NAMES.count(_verb.name) > 1 or (_group and _group not in GROUPS) or not _verb.description:
        raise ValueError(
            f"verb {_verb.name!r}: expected a name of its own, a group in `GROUPS` and a docstring"
        )
VERBS = {verb.name: verb for verb in sorted(_FOUND, key=lambda verb: verb.order)}
