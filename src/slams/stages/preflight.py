"""Checks that everything a verb builds on exists, before anything heavy is imported.

Only file names, run records and small text files are read; the content of a store or a checkpoint
is checked when it is opened, with the same messages.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from glob import glob
from pathlib import Path

from slams.config.schema import Config
from slams.errors import UserError
from slams.observations.station_list import read_station_list
from slams.plugins.sources import SOURCES
from slams.runs.directory import RunDirectory
from slams.runtime.ranks import is_rank_zero
from slams.stages.places import finished_assimilations, run_request, stage_of, trained_inputs
from slams.tracking.database import database_of

__all__ = ["check_prerequisites"]


def check_prerequisites(config: Config, verb: str, dry_run: bool = False) -> None:
    """Refuse a command whose files, earlier stages or output directories are missing.

    Args:
        config: A recipe that `slams.config.checks` has accepted.
        verb: `prepare`, `train vae`, `train score`, `assimilate`, `limit`, `report` or
            `simulate`.
        dry_run: Whether nothing will be written: output directories are then not checked.

    Raises:
        UserError: One sentence: which file or directory, and what to do.
    """
    if not is_rank_zero():  # other ranks start when rank zero has begun to write
        return
    if verb == "prepare":
        _check_prepare(config, dry_run)
    elif verb == "report":
        finished_assimilations(config)
    elif verb == "limit":
        _check_store(config)
        _check_networks(config)
    elif stage := stage_of(config, verb):
        _check_store(config)
        if stage != "vae" and config.background.kind == "file":
            _check_is_store("background.path", config.background.store)
        if stage == "assimilation":
            _check_networks(config)
        inputs = trained_inputs(config, stage)
        if not dry_run:
            _check_run(config, stage, inputs)


def _check_prepare(config: Config, dry_run: bool) -> None:
    data = config.data
    if _is_url(data.store):
        raise UserError(
            f"key 'data.store': found the address {data.store}, expected a directory to prepare "
            f"the store in; copy it to a server afterwards"
        )
    if not dry_run:
        _check_writable("data.store", Path(data.store).parent)
        if Path(data.store).exists() and config.resume != "overwrite":
            return  # it is kept or refused, and the source is not read
    for key, source in data.inputs:
        spec = SOURCES.get(source.kind, f"{key}.kind")
        name = "files" if source.files else "path"
        for path in (source.files or [source.path]) if spec.has_files else ():
            there = path == "sample" or "://" in path or _matches(path)
            _check_there(f"{key}.{name}", path, there, spec.expected_at(key))
    if data.statistics_from:
        _check_is_store("data.statistics_from", data.statistics_from)
    archive = config.observations.stations.source
    if "stations" in config.observations.use and archive.kind:
        for name in ("path", "station_list"):
            path = getattr(archive, name)
            key = f"observations.stations.source.{name}"
            _check_there(key, path, not path or _matches(path), "the archive's files")


def _check_networks(config: Config) -> None:
    """Refuse lists of stations and files of instruments that are missing or damaged."""
    use = config.observations.use
    file = config.observations.stations.file
    if "stations" in use and file:
        expected = "a CSV file with the columns id,latitude,longitude[,elevation]"
        _check_there("observations.stations.file", file, Path(file).is_file(), expected)
        read_station_list(file)
    for position, instrument in enumerate(config.observations.instruments):
        for name in ("file", "sites") if instrument.name in use else ():
            path = getattr(instrument, name)
            key = f"observations.instruments.{position}.{name}"
            _check_there(key, path, not path or Path(path).is_file(), "a file")


def _check_store(config: Config) -> None:
    if _is_url(config.data.store):  # checked when it is opened
        return
    path = Path(config.data.store)
    if not path.exists():
        left = path.with_name(path.name + ".partial").exists()
        found = "only an unfinished preparation of it" if left else "no such directory"
        raise UserError(
            f"key 'data.store': training store {path}: found {found}; run `slams prepare` with "
            f"the recipe{_nearest(path)}"
        )


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _matches(path: str) -> bool:
    """Return whether a path exists or, as a pattern, has files."""
    return bool(glob(path)) or Path(path).exists()


def _check_is_store(key: str, path: str) -> None:
    _check_there(key, path, _is_url(path) or Path(path).exists(), "a training store")


def _check_there(key: str, path: str, there: bool, expected: str) -> None:
    """Refuse a path unless it is there, with what is there instead."""
    if not there:
        kind = "a directory" if Path(path).is_dir() else "no regular file"
        found = kind if Path(path).exists() else "no such file or directory"
        raise UserError(f"key {key!r}: {path}: found {found}, expected {expected}{_nearest(path)}")


def _check_run(config: Config, stage: str, inputs: Mapping[str, str]) -> None:
    """Refuse a run directory that belongs to another recipe, or is not writable."""
    request = run_request(config, stage, inputs)
    RunDirectory.check(request)
    _check_writable("runs", request.path.parent)
    database = database_of(config.tracking.uri)
    if config.tracking.enabled and not config.tracking.offline and database:
        _check_writable("tracking.uri", database.parent)


def _check_writable(key: str, directory: Path) -> None:
    there = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    if not there.is_dir():
        raise UserError(f"key {key!r}: {there} is a file, expected a directory to write into")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"key {key!r}: no permission to write into {there.absolute()}; choose another place"
        )


def _nearest(path: str | Path) -> str:
    """Return a hint with the file next to a missing path that has nearly the same name."""
    path = Path(path)
    try:
        names = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""
