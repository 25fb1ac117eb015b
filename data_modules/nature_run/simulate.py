"""Simulation of nature runs with a general circulation model, resumable (extra `simulate`).

The output has the layout of the embedded sample with winds and humidity, plus the model's
terrain, so that station values can be corrected for elevation. Each piece of `PIECE_STEPS` steps
is written when it is done, together with the model's state: a simulation that was killed at any
point is resumed by the same command, and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import xarray as xr

from data_modules.nature_run import speedy
from data_modules.nature_run.finished import (
    is_nature_run,
    read_identity,
    write_attributes,
    year_digests,
)
from data_modules.nature_run.layout import (
    HUMIDITY_LEVELS,
    LEVELS,
    PIECE_STEPS,
    VARIABLES,
    create_nature_run,
    write_piece,
)
from data_modules.nature_run.period import Period
from data_modules.nature_run.unfinished import Identity, Unfinished, partial_path
from slams.config.schema import SimulateConfig
from slams.errors import UserError
from slams.runtime import directories
from slams.runtime.failures import FULL, refused_write
from slams.runtime.ranks import say
from slams.runtime.signals import defer

__all__ = ["simulate"]

# Keys of the section that determine the numbers.
_DECISIVE = ("start", "months", "spinup_days", "truncation", "sampling")


def simulate(settings: SimulateConfig, *, resume: str = "auto", dry_run: bool = False) -> Path:
    """Simulate a nature run, or the part of it that is missing.

    Args:
        settings: The recipe's section `simulate`.
        resume: How to treat an existing or unfinished output: `auto` keeps a finished one and
            resumes an unfinished one if they have the same settings, `never` refuses, `overwrite`
            starts over.
        dry_run: Only report what would be simulated.

    Returns:
        Path of the nature run, ready for `slams prepare` as a source of kind `nature_run`.

    Raises:
        UserError: jcm is not installed, the output exists or was begun with other settings,
            another version of the model or other boundary conditions, another process is
            writing it, the model becomes unstable, or the disk is full.
    """
    path, period = Path(settings.output), Period.of(settings)
    identity = _identity(settings)
    if _is_kept(path, identity, resume):
        _remove_leftovers(path, identity)
        say(f"nature run {path} is finished and has these settings: kept")
        return path
    what = "instants every 6 hours" if period.instants else "days"
    say(
        f"nature run of {period.steps} {what} from {period.first} at T{settings.truncation} "
        f"after {settings.spinup_days} days of spin-up, to {path}"
    )
    if dry_run:
        return path
    made = directories.make(path.parent)
    lock = directories.lock(path, lambda: "another simulation")
    try:
        if directories.has_backup(path) and not path.exists():
            directories.restore(path)  # killed before the new store was renamed
        # The process that held the lock may have finished it.
        if not _is_kept(path, identity, resume):
            run = _resume_or_begin(path, identity, resume)
            with _report_refused_write(run, period):
                _continue_run(settings, period, run, path)
    finally:
        directories.unlock(lock)
        directories.remove_created(made)
    return path


def _identity(settings: SimulateConfig) -> Identity:
    versions = speedy.model_versions()
    keys = asdict(settings)
    layout = repr((LEVELS, HUMIDITY_LEVELS, PIECE_STEPS, VARIABLES))
    return Identity(
        settings={key: keys[key] for key in _DECISIVE},
        versions=versions,
        forcing=speedy.forcing_digest(),
        layout=hashlib.sha256(layout.encode()).hexdigest(),
    )


def _is_kept(path: Path, identity: Identity, resume: str) -> bool:
    """Return whether an existing output stays as it is.

    Raises:
        UserError: The output may be neither kept nor replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    if not is_nature_run(path):
        raise UserError(
            f"simulate.output: {path} exists, is not a nature run and is left unchanged; move it "
            f"away or choose another output"
        )
    if resume == "overwrite":
        return False
    found = read_identity(path)
    changed = identity.difference(found) if found else "by an earlier version of slams"
    if resume == "auto" and not changed:
        return True
    run = Unfinished.read(partial_path(path))
    if resume == "auto" and run and run.replaces and not identity.difference(run.identity):
        return False  # begun with resume=overwrite, may be resumed without it
    made = f", made with {changed}" if changed else ""
    raise UserError(
        f"simulate.output: {path} exists{made}; choose another, or resume=overwrite to replace it"
    )


def _remove_leftovers(path: Path, identity: Identity) -> None:
    """Remove the files left by a process that was killed after its store was renamed."""
    run = Unfinished.read(partial_path(path))
    if run and not identity.difference(run.identity) and not run.store.exists():
        run.remove()


def _resume_or_begin(path: Path, identity: Identity, resume: str) -> Unfinished:
    """Return the unfinished simulation, or begin one.

    Raises:
        UserError: The directory belongs to a different simulation, or to none.
    """
    partial = partial_path(path)
    run = Unfinished.read(partial)
    if run is None or resume == "overwrite":
        return Unfinished.begin(partial, identity, replaces=path.exists())
    changed = identity.difference(run.identity)
    if changed or resume == "never":
        made = f" with {changed}" if changed else " and resume=never"
        raise UserError(
            f"simulate.output: {partial} was begun{made}; continue with the settings it was begun "
            f"with, choose another output, or set resume=overwrite to start over"
        )
    run.check()
    return run


def _continue_run(settings: SimulateConfig, period: Period, run: Unfinished, path: Path) -> None:
    """Simulate the missing steps, and rename the finished store to its final path."""
    if run.steps < period.steps:
        run = _simulate_rest(settings, period, run)
    digests = year_digests(run.store, period.times)
    for year, digest in digests.items():
        say(f"{year}: sha256 {digest}")
    write_attributes(run.store, run.identity, {**_attributes(settings), "digests": digests})
    with defer():
        directories.backup(path)
        run.store.rename(path)
        directories.drop_backup(path)
        run.remove()


def _simulate_rest(settings: SimulateConfig, period: Period, run: Unfinished) -> Unfinished:
    model = speedy.SpeedyModel(period, settings.truncation, settings.spinup_days)
    began = time.perf_counter()
    if run.state:
        model.load(run.state_path)
        say(f"resumed after {_progress(run.steps, period)}")
    else:
        model.spin_up()
        run = run.spun_up(model.save)
        say(f"spin-up of {settings.spinup_days} days: {time.perf_counter() - began:.0f} s")
    began, before, paced = time.perf_counter(), run.steps, False
    while run.steps < period.steps:
        start = run.steps
        fields = model.piece().isel(time=slice(0, period.steps - start))
        _check_stable(fields, settings)
        with defer():
            if not start:
                create_nature_run(run.store, fields, period.times, _attributes(settings))
            write_piece(run.store, fields, start)
            run = run.finished_piece(model.save)
        now = time.perf_counter()
        left = (now - began) / (run.steps - before) * max(period.steps - run.steps, 0)
        say(f"{_progress(run.steps, period)}, {_duration(left)} left")
        if not paced:  # the first piece includes compiling the model
            began, before, paced = now, run.steps, True
    return run


def _check_stable(fields: xr.Dataset, settings: SimulateConfig) -> None:
    if not np.isfinite(fields["temperature"].values).all():
        raise UserError(
            f"simulate: the model became unstable before {fields['time'].values[-1]:.10}; "
            f"simulate.truncation {settings.truncation} needs another time step"
        )


def _attributes(settings: SimulateConfig) -> dict[str, str]:
    jcm = speedy.model_versions()["jcm"]
    instants = settings.sampling == "instants"
    return {
        "title": (
            f"{'Instants, every 6 hours,' if instants else 'Daily means'} of a SPEEDY-physics "
            f"general circulation model (jcm {jcm}, T{settings.truncation}L{speedy.LAYERS}) "
            "driven by observed monthly sea surface temperatures; temperature, winds and humidity "
            "on pressure levels by log-p interpolation, constant below the lowest and above the "
            "highest model level"
        ),
        "source": (
            f"jcm {jcm} (Apache-2.0), time step {speedy.STEP_MINUTES:g} min, "
            f"{settings.spinup_days} days of spin-up"
        ),
        "license": "generated data, free to use",
    }


def _progress(steps: int, period: Period) -> str:
    done = min(steps, period.steps)
    year = 365.25 * 24 / period.hours
    until = "its beginning" if not done else f"{period.times[done - 1]:.10}"
    return f"{done / year:.2f} of {period.steps / year:.2f} years, until {until}"


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


@contextmanager
def _report_refused_write(run: Unfinished, period: Period) -> Iterator[None]:
    """Report a full disk or a file-size limit as a `UserError` that states what is kept."""
    try:
        yield
    except Exception as error:
        refused = refused_write(error)
        if refused is None:
            raise
        now = Unfinished.read(run.directory) or run
        remedy = "free some space" if refused == FULL else "raise the limit (`ulimit -f`)"
        raise UserError(
            f"simulate.output: {refused} while writing {run.directory}; "
            f"{_progress(now.steps, period)}, are kept there: {remedy}, then resume with the same "
            f"command"
        ) from error
