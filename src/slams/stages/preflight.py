"""Checks that everything a verb builds on exists, before anything heavy is imported.

Only file names, run records and small text files are read; the content of a store or a checkpoint
is checked when it is opened, with the same messages.
"""

from __future__ import annotations

import difflib
import os
from glob import glob
from pathlib import Path

from slams.config.schema import Config, SourceConfig
from slams.errors import UserError
from slams.observations.station_list import read_station_list
from slams.plugins.sources import SOURCES
from slams.runs.directory import RunDirectory
from slams.runs.record import is_finished
from slams.runtime.ranks import is_rank_zero
from slams.stages.places import finished_run, run_request, stage_directory, trained_inputs

__all__ = ["check_prerequisites"]

_SQLITE = "sqlite:///"


def check_prerequisites(config: Config, verb: str, dry_run: bool = False) -> None:
    """Refuse a command whose files, earlier stages or output directories are missing.

    Args:
        config: A recipe that `slams.config.checks` has accepted.
        verb: `prepare`, `train vae`, `train score`, `assimilate`, `report` or `simulate`.
        dry_run: Whether nothing will be written: output directories are then not checked.

    Raises:
        UserError: One sentence: which file or directory, and what to do.
    """
    if not is_rank_zero():  # other ranks start when rank zero has begun to write
        return
    if verb == "prepare":
        _check_prepare(config, dry_run)
    elif verb == "train vae":
        _check_store(config)
        _check_run(config, "vae", dry_run)
    elif verb == "train score":
        _check_store(config)
        _check_background(config)
        if config.score.space == "pixel":
            _check_run(config, "score_pixel", dry_run)
        else:
            vae = finished_run(config, "vae").run_id
            _check_run(config, "score", dry_run, vae=vae)
    elif verb == "assimilate":
        _check_assimilate(config, dry_run)
    elif verb == "report":
        first = stage_directory(config, "assimilation")
        root = Path(config.runs) / config.experiment
        if not any(is_finished(d) for d in (first, *root.glob("assimilation*"))):
            raise UserError(
                f"{first}: expected a finished assimilation; run `slams assimilate` first"
            )


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
        _check_source(key, source)
    if data.statistics_from:
        _check_is_there("data.statistics_from", data.statistics_from)
    if "stations" in config.observations.use:
        _check_station_archive(config)


def _check_station_archive(config: Config) -> None:
    source = config.observations.stations.source
    for name in ("path", "station_list") if source.kind else ():
        path = getattr(source, name)
        if path and not (glob(path) or Path(path).exists()):
            raise UserError(
                f"key 'observations.stations.source.{name}': {path} is not there, expected the "
                f"archive's files{_nearest(path)}"
            )


def _check_source(key: str, source: SourceConfig) -> None:
    spec = SOURCES.get(source.kind, f"{key}.kind")
    if not spec.has_files:
        return
    for path in source.files or [source.path]:
        there = path == "sample" or "://" in path or glob(path) or Path(path).exists()
        if not there:
            raise UserError(
                f"key '{key}.{'files' if source.files else 'path'}': {path} is not there, "
                f"expected {spec.expected_at(key)}{_nearest(path)}"
            )


def _check_assimilate(config: Config, dry_run: bool) -> None:
    _check_store(config)
    _check_background(config)
    stations = config.observations.stations
    if "stations" in config.observations.use and stations.file:
        if not Path(stations.file).is_file():
            found = "a directory" if Path(stations.file).is_dir() else "no such file"
            raise UserError(
                f"key 'observations.stations.file': {stations.file}: found {found}, expected a "
                f"CSV file with the columns id,latitude,longitude[,elevation]"
                f"{_nearest(stations.file)}"
            )
        read_station_list(stations.file)
    for position, instrument in enumerate(config.observations.instruments):
        for name in ("file", "sites") if instrument.name in config.observations.use else ():
            path = getattr(instrument, name)
            if path and not Path(path).is_file():
                there = "a directory" if Path(path).is_dir() else "no regular file"
                found = there if Path(path).exists() else "no such file"
                raise UserError(
                    f"key 'observations.instruments.{position}.{name}': {path}: found {found}, "
                    f"expected a file{'' if Path(path).exists() else _nearest(path)}"
                )
    _check_run(config, "assimilation", dry_run, **trained_inputs(config))


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


def _check_background(config: Config) -> None:
    if config.background.kind == "file":
        _check_is_there("background.path", config.background.path)


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _check_is_there(key: str, path: str) -> None:
    if not _is_url(path) and not Path(path).exists():
        raise UserError(
            f"key {key!r}: {path}: found no such directory, expected a training store"
            f"{_nearest(path)}"
        )


def _check_run(config: Config, stage: str, dry_run: bool, **inputs: str) -> None:
    """Refuse a run directory that belongs to another recipe, or is not writable."""
    if not dry_run:
        request = run_request(config, stage, inputs)
        RunDirectory.check(request)
        _check_writable("runs", request.path.parent)
        uri = config.tracking.uri
        used = config.tracking.enabled and not config.tracking.offline
        if used and uri.startswith(_SQLITE):
            _check_writable("tracking.uri", Path(uri.removeprefix(_SQLITE)).parent)


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
        beside = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""
