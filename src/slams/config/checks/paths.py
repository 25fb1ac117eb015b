"""Check what the paths and names of a recipe make together; nothing is looked up on the disk.

What each of them may be is stated at its key, by rules of `slams.config.paths`.
"""

from __future__ import annotations

import os
from pathlib import Path

from slams.config.paths import check_path
from slams.config.schema import Config
from slams.errors import UserError

__all__ = ["check_paths"]

# Longest path of a database that sqlite opens (512 bytes) with its journal next to it.
_LONGEST_DATABASE = 500
_SQLITE = "sqlite:///"
# What every version of MLflow takes as the name of an experiment (characters).
_LONGEST_EXPERIMENT = 250


def check_paths(config: Config) -> None:
    """Refuse paths and names that a file system, sqlite or MLflow cannot hold.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    # Each of them may be short enough by itself.
    check_path("key 'experiment'", str(Path(config.runs, config.experiment)), written=True)
    tracking = config.tracking
    key = "tracking.experiment" if tracking.experiment else "experiment"
    name = tracking.experiment or config.experiment
    if len(name) > _LONGEST_EXPERIMENT or not name.isprintable():
        raise UserError(
            f"key {key!r}: found a name of {len(name)} characters, expected at most "
            f"{_LONGEST_EXPERIMENT} that can be printed, which is what MLflow takes"
        )
    check_path("key 'tracking.uri'", tracking.uri.removeprefix(_SQLITE))
    if not tracking.enabled:
        return
    if tracking.uri and not tracking.offline:
        if not tracking.uri.startswith(_SQLITE):
            return
        key, database = "tracking.uri", tracking.uri.removeprefix(_SQLITE)
    else:
        key, database = "runs", os.path.join(config.runs, "mlflow.db")
    size = len(os.fsencode(Path.cwd() / database))
    if size > _LONGEST_DATABASE:
        raise UserError(
            f"key {key!r}: the path of the tracking store has {size} bytes, expected at most "
            f"{_LONGEST_DATABASE}, which is what sqlite takes; choose a shorter path or set "
            f"tracking.enabled=false"
        )
