"""Stages that make data: the training store, and nature runs."""

from __future__ import annotations

import time
from pathlib import Path

from slams.config.schema import Config
from slams.runtime.ranks import say

__all__ = ["prepare", "simulate", "verify"]


def prepare(config: Config, dry_run: bool = False) -> Path:
    """Write the training store of a recipe.

    Args:
        config: The recipe.
        dry_run: Whether only to open and check the source, and print what would be written.
    """
    from data_modules.preparation import prepare as preparation

    if dry_run:
        say(preparation.describe(config.data, config.observations))
        return Path(config.data.store)
    started = time.perf_counter()
    path = preparation.prepare(
        config.data,
        config.observations,
        config.seed,
        resume=config.resume,
        reads={"background.path": config.background.store},
    )
    say(f"training store {path} is ready ({time.perf_counter() - started:.0f} s)")
    return path


def verify(config: Config) -> None:
    """Read the whole training store of a recipe and compare it with its checksums.

    The caches next to it are read as well.

    Raises:
        UserError: The store is missing, or has changed; the message names the first wrong file.
    """
    from data_modules.store import manifest
    from data_modules.stream.field_cache import verify_caches

    started = time.perf_counter()
    whole = manifest.verify(config.data.store)
    caches = verify_caches(Path(config.data.store))
    seconds = time.perf_counter() - started
    say(
        f"training store {config.data.store} is as prepared: {whole}, attributes and "
        f"fingerprint{f', {caches} caches of fields' if caches else ''} ({seconds:.0f} s)"
    )


def simulate(config: Config, dry_run: bool = False) -> Path:
    """Make a nature run with the general circulation model jcm.

    Args:
        config: The recipe, whose section `simulate` is used.
        dry_run: Whether only to print what would be simulated.
    """
    from data_modules.nature_run import simulate as simulation

    return simulation.simulate(config.simulate, resume=config.resume, dry_run=dry_run)
