"""Fit a module of a recipe with the shared Trainer, or run one step of it as a dry run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import Tensor

from slams.config.schema import Config, OptimizerConfig, TrainerConfig
from slams.config.time_limits import parse_limit
from slams.modules.base import TrainedModule, check_identity, read_checkpoint
from slams.modules.callbacks.checkpoints import Checkpoints
from slams.modules.callbacks.divergence import TerminateOnNaN
from slams.modules.callbacks.metrics_csv import MetricsCSV
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.seeding import StepSeed
from slams.modules.callbacks.stop_on_signal import StopOnSignal
from slams.modules.callbacks.summary import RunSummary, peak_memory_gib
from slams.modules.callbacks.weight_ema import WeightEMA
from slams.modules.trainer import make_trainer
from slams.nn.precision import natural_precision
from slams.runs.directory import RunDirectory
from slams.runtime.ranks import is_rank_zero, say
from slams.runtime.signals import defer
from slams.tracking.runs import Tracker

__all__ = ["dry_run_step", "fit"]


def fit(
    config: Config,
    module: TrainedModule,
    optimizer: OptimizerConfig,
    datamodule: LightningDataModule,
    run: RunDirectory,
    tracker: Tracker,
) -> None:
    """Train a module from the last checkpoint, or from the start.

    Args:
        config: The recipe.
        module: Module to train; it receives `optimizer`, with its steps rounded to whole epochs.
        optimizer: The recipe's section for this module.
        datamodule: Batches to train on and to validate on.
        run: The run directory, which receives checkpoints, `metrics.csv` and the summary.
        tracker: The tracked run.

    Raises:
        KeyboardInterrupt: The fit was interrupted; Lightning would have returned.
    """
    optimizer = replace(optimizer, steps=_whole_epochs(config, optimizer, datamodule))
    module.optimizer_config = optimizer
    module.configure_networks(config.trainer)
    summary = RunSummary()
    every = config.trainer.checkpoint_every_steps
    checkpoints = Checkpoints(run.checkpoints, monitor="validation/loss", every_steps=every)
    limit = config.trainer.max_time
    seconds = parse_limit("key 'trainer.max_time'", limit) if limit else float("inf")
    callbacks: list[Callback] = [
        StepSeed(config.seed, module.stage),
        TerminateOnNaN("validation/loss"),
        checkpoints,
        MetricsCSV(run.path / "metrics.csv"),
        StopOnSignal(checkpoints, seconds),
        ProgressLines(config.trainer.log_every_seconds),
        summary,
    ]
    if optimizer.ema > 0:
        callbacks.insert(1, WeightEMA(optimizer.ema))
    trainer = make_trainer(
        config.trainer,
        run_dir=run.path,
        max_steps=optimizer.steps,
        logger=tracker.logger,
        callbacks=callbacks,
        gradient_clip=optimizer.clip,
        accumulate=optimizer.accumulate,
    )
    last = run.last_checkpoint
    if last is not None:
        check_identity(read_checkpoint(last), module.identity, str(last))
        say(f"continuing from {last}")
    with defer():
        trainer.fit(module, datamodule=datamodule, ckpt_path=last, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if is_rank_zero():
        run.update(summary={**summary.summary, "loss_weights": module.loss_weights})
        tracker.log_metrics({f"run/{name}": x for name, x in summary.summary.items()})
        tracker.log_artifact(run.path / "metrics.csv")
        tracker.log_artifact(run.checkpoints / "best.ckpt", "checkpoints")


def dry_run_step(
    config: TrainerConfig,
    module: TrainedModule,
    shape: Sequence[int],
    loss: Callable[[], Tensor],
) -> None:
    """Run one training step on the CPU, after one to warm up, and print its cost.

    The networks are prepared as for training, except that they are not compiled.

    Args:
        config: The recipe's `trainer`.
        module: Module to train.
        shape: Shape of a batch.
        loss: Returns the loss of one batch, a scalar with a graph.
    """
    module.configure_networks(replace(config, compile=False))
    # Emulated, bfloat16 would take a hundred times as long.
    native = natural_precision("cpu") == "bf16-mixed"
    half = native and config.precision in ("auto", "bf16-mixed")
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=half)
    for _ in range(2):
        started = time.perf_counter()
        with mixed:
            value = loss()
        value.backward()
    seconds = time.perf_counter() - started
    count = sum(p.numel() for p in module.parameters())
    say(
        f"dry run of train {module.stage}: batch {tuple(shape)}, {count / 1e6:.2f} M parameters, "
        f"loss {value.item():.4f}, {seconds:.2f} s per step, peak memory {peak_memory_gib():.2f} "
        f"GiB; {module.optimizer_config.steps} steps would take about "
        f"{seconds * module.optimizer_config.steps / 60:.0f} min on this CPU in "
        f"{'bfloat16' if half else 'single precision'}"
    )


def _whole_epochs(
    config: Config, optimizer: OptimizerConfig, datamodule: LightningDataModule
) -> int:
    """Round steps to whole validated epochs, so that the last weights are validated too.

    The learning rate ends at zero: weights from before its end are never the best.
    """
    world = config.trainer.devices * config.trainer.num_nodes
    batches = len(datamodule.train_dataloader()) // world
    # The last step of an epoch takes the remaining batches.
    unit = math.ceil(batches / optimizer.accumulate) * config.trainer.validate_every_epochs
    steps = optimizer.steps
    return round(steps / unit) * unit if unit and steps >= unit else steps
