"""What a run was made with: versions, source revision, and the keys of the recipe it needs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from slams.config.difference import Difference, first_difference
from slams.config.loading import default_recipe
from slams.config.validation import is_inside
from slams.plugins.methods import check_method
from slams.runtime.version import package_version

__all__ = [
    "depends",
    "flatten",
    "inputs_fingerprint",
    "network_difference",
    "revision",
    "run_difference",
    "versions",
]

_PACKAGES = ("torch", "lightning", "torchmetrics", "azula", "zarr", "xarray", "mlflow")
# What a trained filter is used for.
_FILTER_USE = (
    "filter.output",
    "filter.start",
    "filter.lags",
    "filter.keep",
    "filter.compared_with",
)
# Keys that a trained network depends on.
_VAE = ("seed", "data", "vae")
_SCORE = (*_VAE, "score", "background")
_TRAINED = {
    "filter": ("seed", "data", "filter", "observations"),
    "vae": _VAE,
    "score": _SCORE,
    "score_pixel": ("seed", "data", "score", "background"),
}
# Keys that change how fast a run is, where it lies or how it is shown, but not its results.
_NEVER = (
    "data.num_workers",
    "data.in_memory",  # of recipes from before `data.cache`
    "data.cache",
    "data.cache_directory",
    "data.ahead",
    "data.source.origin",
    "data.prepare",
    # The days of the splits and the store's fingerprint stand for it.
    "data.period",
    # They restrict which days a run may read, but do not change the results for those days.
    "data.splits.reserved",
    "data.splits.final",
    # It decides whether an archive is refused; the store's fingerprint stands for its values.
    "observations.stations.source.left_out",
)
# What latent methods did before a key whose default does something else: a run of the version
# before is not continued with other numbers.
_LATENT_BEFORE = {"assimilation.residual.sample": False}
_NOT_TRAINING = (
    *_NEVER,
    "data.splits.test",
    "data.test_cases",
    "data.condition_only",
    *_FILTER_USE,
)
_NOT_ASSIMILATION = (
    *_NEVER,
    "experiment",
    "runs",
    "resume",
    "trainer",
    "tracking",
    "report",
    "simulate",
    "ablation",
    # An assimilation depends on the store that a filter has written, not on the filter.
    "filter",
)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys; lists are kept as values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if prefix + key == "data.sources":
            # Where a user obtains a source does not change its content (`_NEVER`).
            value = [{k: v for k, v in one.items() if k != "origin"} for one in value]
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def run_difference(
    stage: str, found: Mapping[str, Any], recipe: Mapping[str, Any]
) -> Difference | None:
    """Find the first key in which two recipes differ, of those that a stage depends on.

    Args:
        stage: `filter`, `vae`, `score`, `score_pixel` or `assimilation`.
        found: The recipe of an earlier run as a plain tree. A key that it lacks because it is
            older than the key counts as having the default value, or the one that stands for
            what was done before.
        recipe: The recipe at hand, as a plain tree.
    """
    return _first(found, recipe, lambda key: depends(stage, key))


def network_difference(
    stage: str, found: Mapping[str, Any], recipe: Mapping[str, Any]
) -> Difference | None:
    """Find the first key in which the network of a trained stage differs between two recipes.

    Data, seed and background may differ: one network serves many assimilations.
    """
    sections = () if stage in ("score_pixel", "filter") else ("vae",)
    if stage == "filter":
        sections = ("filter",)
    # A recipe describes one score model: that of its `score.space`.
    if stage == ("score_pixel" if recipe["score"]["space"] == "pixel" else "score"):
        sections = (*sections, "score")
    return _first(
        found, recipe, lambda key: _inside(key, sections) and not _inside(key, _FILTER_USE)
    )


def inputs_fingerprint(stage: str, recipe: Mapping[str, Any]) -> str:
    """Return a fingerprint of the keys that a stage depends on: equal for runs that can be shared.

    Args:
        stage: `vae`, `score` or `assimilation`.
        recipe: The recipe, as a plain tree.
    """
    keys = {k: v for k, v in flatten(recipe).items() if depends(stage, k)}
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"slams": package_version(), "python": ".".join(map(str, sys.version_info[:3]))}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def revision() -> str:
    """Return the commit of the source tree, with `+` if changed; empty outside of git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails for an installed copy
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _first(
    found: Mapping[str, Any], recipe: Mapping[str, Any], matters: Callable[[str], bool]
) -> Difference | None:
    specs = [check_method(name)[0] for name in recipe["assimilation"]["methods"]]
    latent = any("vae" in spec.needs for spec in specs)
    before = _LATENT_BEFORE if latent else {}
    earlier = flatten(default_recipe()) | before | flatten(found)
    wanted = {key: value for key, value in flatten(recipe).items() if matters(key)}
    return first_difference({key: earlier[key] for key in wanted}, wanted)


def depends(stage: str, key: str) -> bool:
    """Return whether the results of a stage depend on a key of the recipe."""
    if stage == "assimilation":
        return not _inside(key, _NOT_ASSIMILATION)
    return _inside(key, _TRAINED[stage]) and not _inside(key, _NOT_TRAINING)


def _inside(key: str, sections: tuple[str, ...]) -> bool:
    return any(is_inside(key, section) for section in sections)
