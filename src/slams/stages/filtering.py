"""The learned filter of a recipe: train it, and let it forecast every day of the splits."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_modules.multimodal import MultimodalDataModule
from data_modules.store.packed_store import write_states
from data_modules.store.packing import pack
from data_modules.store.training_store import TrainingStore
from data_modules.store.writing import canonical_json
from slams.config.schema import BackgroundConfig, Config
from slams.errors import UserError
from slams.metrics.scores import level_groups
from slams.modules.learned_filter import LearnedFilter
from slams.modules.trainer import EVALUATION_PRECISION, check_machine
from slams.observations.gridded import observed_channels
from slams.runs.directory import RunDirectory
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.ranks import say
from slams.stages.data import multimodal
from slams.stages.filter_cycles import cycle_forecasts, cycles_of, split_cycles
from slams.stages.filter_errors import filter_errors, open_compared, print_filter_errors
from slams.stages.fitting import dry_run_step, fit
from slams.stages.places import data_request, finished_run, trained_directory
from slams.stages.running import run_stage
from slams.stages.sequences import SequenceDataModule
from slams.stages.training import set_up
from slams.tracking.runs import Tracker

__all__ = ["filter_days", "train_filter"]

# Days of each cycle in a dry run.
_DRY_DAYS = 3


def train_filter(config: Config, dry_run: bool = False) -> Path:
    """Train the learned filter of a recipe; continue a killed run, keep a finished one.

    Args:
        config: The recipe.
        dry_run: Whether only to build everything, run one batch, print shapes, memory and time.

    Returns:
        The run directory.
    """
    settings = config.filter
    datamodule = SequenceDataModule(
        config.data,
        config.observations,
        config.seed,
        step=settings.days,
        stretch=settings.stretch,
        streams=settings.batch_size,
    )
    set_up(config, datamodule, settings.batch_size, stage="train filter", dry_run=dry_run)
    torch.manual_seed(config.seed)
    module = LearnedFilter(
        settings,
        datamodule.channels,
        datamodule.grid,
        datamodule.normaliser.sd,
        _observed(datamodule),
    )
    request = data_request(config, module.stage, datamodule)
    if dry_run:
        window = next(iter(datamodule.train_dataloader()))
        batch = datamodule.on_after_batch_transfer(window, 0)
        shape = batch.fields.shape
        dry_run_step(config.trainer, module, shape, lambda: module.batch_loss(batch).sum())
        return request.path
    RunDirectory.check(request)

    def work(run: RunDirectory, tracker: Tracker) -> None:
        fit(config, module, settings.optimizer, datamodule, run, tracker)
        errors = module.forecast_error.compute()
        for variable, index in level_groups(datamodule.channels).items():
            if bool(errors[index].isfinite().all()):
                say(f"validation, forecast of one day: {variable} {errors[index].mean():.3f}")

    return run_stage(config, request, work)


def filter_days(config: Config, dry_run: bool = False) -> list[Path]:
    """Forecast every day of the recipe's splits from the observations before, and write them.

    A finished store is kept; forecasts that were killed are made again. Their errors are printed
    by days since the start of a cycle, beside those of the forecasts in `filter.compared_with`.

    Each piece of a split is a cycle of its own that starts from `filter.start`. Reserved test days
    are left out unless the recipe declares a final measurement.

    Args:
        config: The recipe; `filter.output` is the store that is written.
        dry_run: Whether only to forecast the first days and print their cost, without writing.

    Returns:
        The stores, one per lag.

    Raises:
        UserError: An output has no name or holds something else, the filter has not been trained
            for these observations, or its forecasts cannot be compared with the others.
    """
    outputs = _outputs(config)
    other = config.filter.compared_with
    others = _of_lags("filter.compared_with", other, config.filter.lags) if other else {}
    run = finished_run(config, "filter")
    data = replace(config.data, window=1, trajectory=0, test_cases=0)
    climatology = BackgroundConfig(kind="climatology")
    datamodule = multimodal(replace(config, data=data, background=climatology))
    module = _load(config, datamodule)
    if check_machine(config.trainer, EVALUATION_PRECISION) == "gpu":
        module = module.to("cuda")
    store = datamodule.store
    kept = store.select(config.filter.keep) if config.filter.keep else store
    cycles = cycles_of(datamodule, final=config.data.splits.final)
    if "test" in datamodule.periods and datamodule.reserved and not config.data.splits.final:
        say("test days are left out: some are reserved (data.splits.final=true includes them)")
    made_of = [run.run_id, store.fingerprint, config.filter.start, config.seed]
    # A cycle that starts on another day makes other forecasts.
    made_of += [store.time[cycle[[0, -1]]].tolist() for cycle in cycles]
    made_of += [asdict(config.observations), [c.name for c in kept.channels]]
    identities = {lag: _identity(lag, *made_of) for lag in outputs}
    days = store.time[np.sort(np.concatenate(cycles))]
    compared = {
        lag: open_compared(path, outputs[lag], identities[lag], kept, days)
        for lag, path in others.items()
    }
    if dry_run:
        _dry_run(config, datamodule, module, cycles)
        return list(outputs.values())
    wanted = {lag: p for lag, p in outputs.items() if not _is_kept(config, p, identities[lag])}
    if wanted:
        made_by = {"stage": "filter", "run": run.run_id}
        _write(config, datamodule, module, cycles, kept, wanted, identities, made_by)
    pieces = split_cycles(datamodule, final=config.data.splits.final)
    days_of = {split: [store.time[c] for c in own] for split, own in pieces.items()}
    for lag, path in outputs.items():
        table = filter_errors(kept, TrainingStore.open(path), days_of, compared.get(lag))
        print_filter_errors(table, kept.channels, lag)
    return list(outputs.values())


def _write(
    config: Config,
    datamodule: MultimodalDataModule,
    module: LearnedFilter,
    cycles: Sequence[np.ndarray],
    kept: TrainingStore,
    wanted: Mapping[int, Path],
    identities: Mapping[int, str],
    made_by: Mapping[str, Any],
) -> None:
    """Forecast every day of the cycles, and write the wanted stores."""
    store = datamodule.store
    order = np.sort(np.concatenate(cycles))
    shape = (len(order), len(kept.channels), *store.grid.shape)
    channels = [store.channels.index(c) for c in kept.channels]
    states = {lag: _scratch(path, shape) for lag, path in wanted.items()}
    settings = replace(config.filter, lags=list(wanted))
    with Heartbeat("filter", config.trainer.log_every_seconds) as heartbeat:
        forecasts = cycle_forecasts(settings, datamodule, module, cycles)
        for number, (lag, positions, forecast) in enumerate(forecasts):
            packed = pack(forecast[:, channels].cpu().numpy())
            states[lag][np.searchsorted(order, positions)] = packed
            day = number // len(wanted)
            heartbeat.note(f"day {day} of {max(map(len, cycles))}, {len(cycles)} cycles")
        for lag, path in wanted.items():
            partial = path.with_name(path.name + ".partial")
            maker = {**made_by, "lag": lag}
            write_states(partial, kept, store.time[order], states[lag], identities[lag], maker)
            shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
            _scratch_file(path).unlink()
            say(f"{path}: forecasts of {len(order)} days, {lag} days ahead, {len(cycles)} cycles")


def _outputs(config: Config) -> dict[int, Path]:
    """Return the store of each lag.

    Raises:
        UserError: It has no name, or one that several lags share.
    """
    if not config.filter.output:
        raise UserError(
            "key 'filter.output': found nothing, expected the training store to write, which "
            "recipes name in background.path with background.kind=file"
        )
    paths = _of_lags("filter.output", config.filter.output, config.filter.lags)
    return {lag: Path(path) for lag, path in paths.items()}


def _of_lags(key: str, path: str, lags: Sequence[int]) -> dict[int, str]:
    """Return the path of each lag.

    Raises:
        UserError: Several lags share one path.
    """
    if len(lags) > 1 and "{lag}" not in path:
        raise UserError(
            f"key {key!r}: found {path!r} for {len(lags)} lags, expected a path with {{lag}}, to "
            f"tell their stores apart"
        )
    return {lag: path.replace("{lag}", str(lag)) for lag in lags}


def _identity(*made_of: Any) -> str:
    return hashlib.sha256(canonical_json(made_of).encode()).hexdigest()


def _is_kept(config: Config, path: Path, identity: str) -> bool:
    """Return whether a store is there and holds the forecasts that would be written.

    Raises:
        UserError: Something else is at its path.
    """
    if not path.exists():
        return False
    if config.resume == "never":
        raise UserError(f"key 'filter.output': {path} exists and resume=never; name another store")
    there = TrainingStore.open(path)
    if "made_by" not in there.attributes:
        raise UserError(
            f"key 'filter.output': {path} is a training store that no filter has written; name "
            f"another store"
        )
    if config.resume == "overwrite":
        return False
    if there.fingerprint != identity:
        raise UserError(
            f"key 'filter.output': {path} holds other states than this recipe's forecasts; name "
            f"another store, or replace this one with resume=overwrite"
        )
    say(f"{path}: finished before, kept")
    return True


def _load(config: Config, datamodule: MultimodalDataModule) -> LearnedFilter:
    """Load the trained filter.

    Raises:
        UserError: A channel is observed that it was not trained with, see `LearnedFilter.load`.
    """
    directory = trained_directory(config, "filter")
    checkpoint = directory / "checkpoints" / "best.ckpt"
    module = LearnedFilter.load(checkpoint, datamodule.channels, datamodule.grid)
    names = [c.name for c in datamodule.channels]
    known = [names[i] for i in module.observed]
    strange = [names[i] for i in _observed(datamodule) if names[i] not in known]
    if strange:
        raise UserError(
            f"key 'observations': found observations of {', '.join(strange)}, but the filter in "
            f"{directory} was trained with those of {', '.join(known)}; expected some of these, "
            f"or a filter that is trained again"
        )
    return module


def _scratch_file(path: Path) -> Path:
    return path.with_name(path.name + ".partial.npy")


def _scratch(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Make the file that holds forecasts until all are there; they may not fit into memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(path.with_name(path.name + ".partial"), ignore_errors=True)
    return np.lib.format.open_memmap(_scratch_file(path), "w+", np.int16, shape)


def _dry_run(
    config: Config,
    datamodule: MultimodalDataModule,
    module: LearnedFilter,
    cycles: Sequence[np.ndarray],
) -> None:
    """Forecast a few days of each cycle and print their cost."""
    short = [cycle[:_DRY_DAYS] for cycle in cycles]
    started = time.perf_counter()
    for _ in cycle_forecasts(config.filter, datamodule, module, short):
        pass
    seconds = (time.perf_counter() - started) / sum(map(len, short))
    total = sum(map(len, cycles))
    say(
        f"dry run of filter: {total} days in {len(cycles)} cycles, {seconds:.3f} s per day; all "
        f"of them would take about {seconds * total / 60:.0f} min"
    )


def _observed(datamodule: MultimodalDataModule) -> list[int]:
    shape = (len(datamodule.channels), *datamodule.grid.shape)
    return observed_channels(datamodule.operators().values(), shape)
