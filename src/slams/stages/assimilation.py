"""The stage that analyses the test period with every method and scores the analyses."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.base import Assimilator
from slams.assimilators.own_errors import OwnErrors
from slams.calendar.days import day_number
from slams.calendar.steps import steps_per_day
from slams.cf import day_methods
from slams.config.schema import Config
from slams.config.time_axis import cycle_pieces
from slams.errors import UserError
from slams.metrics.printing import print_methods
from slams.modules.callbacks.evaluation_progress import EvaluationProgress
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.summary import RunSummary, peak_memory_gib
from slams.modules.cycling import CyclingEvaluator
from slams.modules.evaluator import AssimilationEvaluator
from slams.modules.trainer import EVALUATION_PRECISION, check_machine, make_trainer
from slams.observations.superobs import SuperobOperator
from slams.plugins.methods import Role, check_method, in_role
from slams.runs.directory import RunDirectory
from slams.runs.record import is_finished
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.kept_tensors import TensorFiles
from slams.runtime.ranks import is_rank_zero, say
from slams.runtime.signals import defer
from slams.stages.bundle import keep_model
from slams.stages.cycles import cycle_maker, fit_to_own_errors, one_day_persistence
from slams.stages.data import analysed_days, withholding
from slams.stages.headline import log_headline
from slams.stages.memory import assimilation_memory
from slams.stages.methods import error_scales, make_methods, say_times
from slams.stages.past_errors import past_errors
from slams.stages.places import data_request, error_directory
from slams.stages.reporting import report
from slams.stages.running import run_stage
from slams.stages.store_shape import StoreShape, store_shape
from slams.tracking.runs import Tracker

__all__ = ["assimilate", "modality_settings"]

# Methods that use observations, and the one that they start from.
_STUDIED = (Role.BACKGROUND, Role.YARDSTICK, Role.SUBJECT)


def assimilate(config: Config, dry_run: bool = False, report_after: bool = True) -> Path:
    """Analyse the test dates of a recipe, then those of its modality study, and write the report.

    Args:
        config: The recipe.
        dry_run: Whether only to build everything, analyse one case with two members, and print
            shapes, memory and time, without writing.
        report_after: Whether to write the model and the report at the end.

    Returns:
        The run directory.
    """
    settings = [config, *modality_settings(config)]
    seconds = config.trainer.log_every_seconds
    with Heartbeat("assimilate", seconds, "opening the training store"):
        datamodule = analysed_days(config)
        datamodule.check_test_days()
        if config.assimilation.cycle_days:
            _check_cycle(config, datamodule)
    for name, operator in datamodule.operators().items():
        if isinstance(operator, SuperobOperator):
            say(
                f"{name}: {len(operator.inner)} points, averaged in {len(operator)} cells "
                f"(observations.superob)"
            )
    requests = [data_request(one, "assimilation", datamodule) for one in settings]
    path = requests[0].path

    own: dict[str, OwnErrors] = {}

    @functools.cache
    def methods() -> list[Assimilator]:
        # Fitted once for all settings, and not at all where every setting has finished.
        store = datamodule.store
        shape = store_shape(config) or StoreShape(
            len(store.time), len(store.channels), *store.grid.shape
        )
        memory = assimilation_memory(config, shape)
        say(str(memory))
        if is_rank_zero():  # the processes that start after it would count its memory twice
            memory.check()
        with Heartbeat("assimilate", seconds) as heartbeat:
            names = config.assimilation.methods
            kept = TensorFiles(error_directory(config), writes=not dry_run)
            made = make_methods(config, names, datamodule, heartbeat.note, kept=kept)
            if config.assimilation.cycle_errors:
                own.update(fit_to_own_errors(config, made, heartbeat.note))
            return made

    if dry_run:
        _dry_run(config, methods(), datamodule)
        return path
    check_machine(config.trainer, EVALUATION_PRECISION)
    for request in requests:
        RunDirectory.check(request)
    if config.resume == "overwrite" or not all(is_finished(r.path) for r in requests):
        methods()  # before any directory is made, in case a method refuses
    for one, request in zip(settings, requests, strict=True):
        run_stage(one, request, functools.partial(_evaluate, one, config, methods, own))
        # A Trainer and its data refer to each other: free the cached fields of this setting now.
        gc.collect()
    if is_rank_zero() and report_after:
        keep_model(config, path)
        with Heartbeat("assimilate", seconds, "drawing the report"):
            report(config)
    return path


def modality_settings(config: Config) -> list[Config]:
    """List the recipes of the modality study: every proper subset of the modalities in use.

    Args:
        config: The recipe; `assimilation.modality_study` is the number of test dates.
    """
    count = config.assimilation.modality_study
    use = config.observations.use
    if count == 0:
        return []
    subsets = [s for n in range(len(use)) for s in itertools.combinations(use, n)]
    studied = [in_role(role).name for role in _STUDIED]
    names = [name for name in studied if name in config.assimilation.methods]
    return [
        replace(
            config,
            observations=replace(config.observations, use=list(subset)),
            data=replace(config.data, test_cases=count),
            assimilation=replace(
                config.assimilation,
                setting="+".join(subset) or "none",
                methods=names,
                modality_study=0,
                keep_cases=0,
            ),
        )
        for subset in subsets
    ]


def _evaluate(
    config: Config,
    everything: Config,
    methods: Callable[[], Sequence[Assimilator]],
    own: Mapping[str, OwnErrors],
    run: RunDirectory,
    tracker: Tracker,
) -> None:
    """Score one setting; observations that it does not use are withheld from all methods."""
    data = withholding(config, everything)
    used = [m for m in methods() if m.name in config.assimilation.methods]
    evaluator = _evaluator_of(config, data, own)(
        used,
        config.assimilation,
        data.normaliser,
        data.grid,
        data.channels,
        seed=config.seed,
        analysed=config.data.analysed,
        errors=past_errors(config, data),
    )
    # With fewer cases than ranks some ranks would be idle: ranks share the members instead.
    world = config.trainer.devices * config.trainer.num_nodes
    data.whole_test = len(data.splits["test"]) < world and not config.assimilation.cycle_days
    evaluator.share_members = data.whole_test
    evaluator.keep_in = run.progress / "cases"
    # Ranks that share members run in step: they start from the beginning.
    alone = not data.whole_test
    progress = EvaluationProgress(run.progress)
    summary = RunSummary()
    trainer = make_trainer(
        config.trainer,
        run_dir=run.path,
        logger=tracker.logger,
        callbacks=[
            *([progress] if alone else []),
            ProgressLines(config.trainer.log_every_seconds),
            summary,
        ],
        precision=EVALUATION_PRECISION,
    )
    with defer() if alone else contextlib.nullcontext():
        trainer.test(evaluator, datamodule=data, verbose=False)
    if trainer.interrupted:
        raise KeyboardInterrupt
    with Heartbeat("assimilate", config.trainer.log_every_seconds, "writing the analyses"):
        evaluator.write(run.path, day_methods(data.store.attributes), data.store.step)
    if is_rank_zero():
        progress.forget()
        run.update(summary={**summary.summary, "denoising_error_scale": error_scales(methods())})
        say_times(methods())
        if data.network is not None:
            data.network.write(run.path / "stations.csv")
        if data.held_out_network is not None:
            data.held_out_network.write(run.path / "stations_held_out.csv")
        tables = evaluator.tables()
        results = tables["results"]
        if config.assimilation.setting != everything.assimilation.setting:
            print_methods(results)
        tracker.log_metrics(_flat(results))
        log_headline(tracker, results)
        for name in tables:
            tracker.log_artifact(run.path / f"{name}.parquet")


def _evaluator_of(
    config: Config, data: MultimodalDataModule, own: Mapping[str, OwnErrors]
) -> Callable[..., AssimilationEvaluator]:
    """Choose how methods are evaluated: date by date, or cycled from day to day."""
    if not config.assimilation.cycle_days:
        return AssimilationEvaluator
    starts = [float(day_number(first)) for first, _ in cycle_pieces(config)]
    return functools.partial(CyclingEvaluator, cycle=cycle_maker(config, data, own), starts=starts)


def _check_cycle(config: Config, data: MultimodalDataModule) -> None:
    """Refuse cycles whose days or persistence the training store lacks.

    Raises:
        UserError: A day is missing, or no persistence of one day is fitted.
    """
    section, found = config.assimilation, len(data.splits["test"])
    expected = section.cycle_days * len(cycle_pieces(config)) * steps_per_day(data.store.step)
    if found != expected:
        words = "days" if data.store.step == 1 else "steps"
        raise UserError(
            f"assimilation.cycle_days: found {found} {words} with a background in training store "
            f"{data.store.path}, expected the {expected} {words} of the cycles"
        )
    if not all(check_method(name)[0].cycled for name in section.methods):
        one_day_persistence(data)


def _flat(results: pd.DataFrame) -> dict[str, float]:
    """Return each number of the results table by its MLflow name, which cannot have an `@`."""
    return {
        f"{row.method.replace('@', '.')}/{row.metric}/{row.variable}/{row.level}": row.value
        for row in results.itertuples()
    }


def _dry_run(
    config: Config, methods: Sequence[Assimilator], datamodule: MultimodalDataModule
) -> None:
    window = next(iter(datamodule.test_dataloader()))
    batch = datamodule.on_after_batch_transfer(window, 0).select(slice(0, 1))
    say(f"batch {tuple(batch.fields.shape)}; observations:")
    for observations in batch.observations:
        active = f"{int(observations.mask.sum())} of {observations.mask.numel()}"
        if observations.count is not None:
            active += f" superobservations, of {int(observations.count.sum())} reports"
        say(f"  {observations.name}: {active}")
    make = cycle_maker(config, datamodule) if config.assimilation.cycle_days else None
    for method in methods:
        started = time.perf_counter()
        with torch.no_grad():
            prepared = batch if make is None else make(method).prepare(batch)
            ensemble = method.analyse(prepared, 2)
        seconds = time.perf_counter() - started
        say(f"{method.name}: members {tuple(ensemble.members.shape)}, {seconds:.1f} s")
    say_times(methods)
    cases = len(datamodule.splits["test"])
    say(
        f"{cases} test cases, {config.assimilation.members} members each; peak memory "
        f"{peak_memory_gib():.2f} GiB"
    )
