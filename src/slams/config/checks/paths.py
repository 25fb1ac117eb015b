"""Check every key that is a path or becomes a part of one; nothing is looked up on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from slams.config.checks.rules import value_at
from slams.config.paths import check_path, check_text, shorten
from slams.config.schema import Config
from slams.errors import UserError

__all__ = ["check_paths", "is_directory_name"]

# Keys that are read, and keys below which or beside which the program writes.
_READ = (
    "data.statistics_from",
    "background.path",
    "observations.stations.file",
    "observations.stations.source.path",
    "observations.stations.source.station_list",
    "ablation.published",
)
_WRITTEN = ("runs", "data.store", "data.cache_directory", "simulate.output")
# Longest part of a name: a file system takes 255 bytes, locks and temporary names want some.
_LONGEST_NAME = 60
_LONGEST_NAME_BYTES = 200
# Longest path of a database that sqlite opens (512 bytes) with its journal beside it.
_LONGEST_DATABASE = 500
_SQLITE = "sqlite:///"
# What every version of MLflow takes as the name of an experiment (characters).
_LONGEST_EXPERIMENT = 250


def check_paths(config: Config) -> None:
    """Refuse paths and names that a file system, sqlite or MLflow cannot hold.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    _check_names(config)
    for key in _READ:
        check_path(f"key {key!r}", value_at(config, key))
    for key in _WRITTEN:
        check_path(f"key {key!r}", value_at(config, key), written=True)
    for key, source in config.data.inputs:
        for name in ("path", "grid"):
            check_path(f"key '{key}.{name}'", getattr(source, name))
        for position, path in enumerate(source.files):
            check_path(f"key '{key}.files.{position}'", path)
    for position, instrument in enumerate(config.observations.instruments):
        for name in ("file", "sites"):
            key = f"observations.instruments.{position}.{name}"
            check_path(f"key {key!r}", getattr(instrument, name))
    # Each of them may be short enough by itself.
    check_path("key 'experiment'", str(Path(config.runs, config.experiment)), written=True)
    _check_tracking(config)


def is_directory_name(part: str) -> bool:
    """Return whether a part of a name can be the name of a directory everywhere."""
    plain = part == part.strip() and part.isprintable() and set(part).isdisjoint('\\/:*?"<>|')
    fits = 0 < len(part) <= _LONGEST_NAME and len(os.fsencode(part)) <= _LONGEST_NAME_BYTES
    return plain and fits and not part.startswith(".")


def _check_names(config: Config) -> None:
    """Refuse names that would leave the runs directory or hide in it, and paths to nowhere."""
    names = {"experiment": config.experiment, "assimilation.setting": config.assimilation.setting}
    if config.pretrained_experiment:
        names["pretrained_experiment"] = config.pretrained_experiment
    for key, name in names.items():
        parts = name.split("/") if key != "assimilation.setting" else [name]
        for part in parts:
            if not is_directory_name(part):
                inside = f" with the part {shorten(part)!r}" if len(parts) > 1 else ""
                raise UserError(
                    f"key {key!r}: found {shorten(name)!r}{inside}, expected the name of a "
                    f"directory: at most {_LONGEST_NAME} characters, none of "
                    f'\\/:*?"<>|, no dot first'
                )
    for key, path in {"runs": config.runs, "data.store": config.data.store}.items():
        # A store takes the place of what had its name: never the working directory.
        nowhere = not path.strip() or (key == "data.store" and Path(path).name in ("", ".."))
        if nowhere or not path.isprintable():
            raise UserError(
                f"key {key!r}: found {shorten(path)!r}, expected the path of a directory"
            )


def _check_tracking(config: Config) -> None:
    """Refuse a tracking store that sqlite cannot open, and a name that MLflow does not take."""
    tracking = config.tracking
    key = "key 'tracking.experiment'"
    check_text(key, tracking.experiment)
    name = tracking.experiment or config.experiment
    if len(name) > _LONGEST_EXPERIMENT or not name.isprintable():
        key = key if tracking.experiment else "key 'experiment'"
        raise UserError(
            f"{key}: found a name of {len(name)} characters, expected at most "
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
