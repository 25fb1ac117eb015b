"""The Trainer factory: fit, validate and test, CPU or GPU, one process or several.

It sets the options on which every stage relies:

* the samplers of the DataModule are not replaced (`use_distributed_sampler=False`), because
  padding a shard to equal length would count a case twice in an evaluation;
* gradients are available in evaluation (`inference_mode=False`), because guidance differentiates
  through the decoder;
* nothing is written without a callback for it, and never outside the run directory;
* Lightning handles no signals: with several ranks its SIGTERM handler broadcasts and its SIGUSR1
  handler saves a checkpoint immediately, which hangs if ranks are at different points of the
  program (upstream issue 21406). `StopOnSignal` and `slams.runtime.signals` handle them instead.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy

from slams.errors import UserError
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.rank_consistency import RankConsistencyCheck
from slams.modules.callbacks.summary import RunSummary
from slams.modules.threads import set_threads
from slams.nn.precision import natural_precision
from slams.plugins.keys import check_keys
from slams.runtime import slurm_job
from slams.runtime.ranks import say

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from slams.config.schema import TrainerConfig

__all__ = ["EVALUATION_PRECISION", "check_machine", "make_trainer", "quiet_lightning"]

EVALUATION_PRECISION = "32-true"

# Warnings of Lightning that do not apply here.
_SETTLED = (
    ".*does not have many workers.*",  # data.num_workers is the user's choice
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*Checkpoint directory .* exists and is not empty.*",  # resume is intended
    ".*The `srun` command is available on your system but is not used.*",
    ".*It is recommended to use `self.log.*sync_dist=True.*",  # sums are exact without it
    ".*No `test_dataloader\\(\\)` method defined.*",
    ".*The .*compute.* method of metric .* was called before the .*update.*",  # an empty rank
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*GPU available but not used.*",
)


def make_trainer(
    config: TrainerConfig,
    *,
    run_dir: str | Path,
    max_steps: int = -1,
    max_epochs: int | None = None,
    logger: Logger | None = None,
    callbacks: Sequence[Callback] = (),
    precision: str | None = None,
    gradient_clip: float = 0.0,
    accumulate: int = 1,
) -> Trainer:
    """Build the Trainer of a stage.

    A `ProgressLines` and a `RunSummary` are added unless `callbacks` contains them.

    Args:
        config: The recipe's `trainer`.
        run_dir: Directory of the run; becomes `default_root_dir`.
        max_steps: Optimiser steps of the training; -1 for no limit.
        max_epochs: Epochs of the training; without either limit the Trainer only evaluates.
        logger: Logger of the metrics, besides the callbacks; `None` for none.
        callbacks: Callbacks of the stage; without a checkpoint callback nothing is saved.
        precision: Lightning precision; `None` for that of the recipe. Evaluation passes
            `EVALUATION_PRECISION`.
        gradient_clip: Largest norm of the gradient; 0 for no limit.
        accumulate: Batches per rank whose gradients are accumulated for one step.

    Raises:
        UserError: The accelerator, the devices or the precision do not exist on this machine, or
            SLURM runs a different number of tasks.
    """
    precision = config.precision if precision is None else precision
    accelerator = check_machine(config, precision)
    if precision == "auto":
        precision = natural_precision(accelerator)
    quiet_lightning()
    world = config.devices * config.num_nodes
    chosen = set_threads(config, accelerator)
    if chosen:
        say(chosen)

    added: list[Callback] = [*([RankConsistencyCheck()] if world > 1 else []), *callbacks]
    if not any(isinstance(c, ProgressLines) for c in added):
        added.append(ProgressLines(config.log_every_seconds))
    if not any(isinstance(c, RunSummary) for c in added):
        added.append(RunSummary())

    if max_epochs is None:
        max_epochs = -1 if max_steps >= 0 else 0
    trainer = Trainer(
        accelerator=accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=_strategy(accelerator, world),
        precision=precision,
        max_steps=max_steps,
        max_epochs=max_epochs,
        check_val_every_n_epoch=config.validate_every_epochs,
        gradient_clip_val=gradient_clip or None,
        accumulate_grad_batches=accumulate,
        logger=logger or False,
        log_every_n_steps=10,
        callbacks=added,
        plugins=[SLURMEnvironment(auto_requeue=False)] if slurm_job.is_task() else None,
        # On the CPU determinism has no cost; on a GPU only the choice of kernels is fixed.
        deterministic="warn" if accelerator == "cpu" else None,
        benchmark=False,
        inference_mode=False,
        use_distributed_sampler=False,
        # Validate one batch before the first step, so that a wrong metric name fails at once.
        num_sanity_val_steps=1,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in added),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(run_dir),
    )
    # Lightning has no option for this; its handler would be called before ours.
    trainer._signal_connector.register_signal_handlers = _leave_signals_alone
    return trainer


def check_machine(config: TrainerConfig, precision: str | None = None) -> str:
    """Refuse devices or a precision that this machine does not have; return the accelerator.

    Args:
        config: The recipe's `trainer`.
        precision: Lightning precision; `None` for that of the recipe.

    Raises:
        UserError: A key has a value that is not allowed, the accelerator, the devices or the
            precision do not exist here, or SLURM runs a different number of tasks.
    """
    check_keys(config, "trainer")
    _check_tasks(config)
    accelerator = _accelerator(config)
    precision = config.precision if precision is None else precision
    if precision == "16-mixed" and accelerator == "cpu":
        raise UserError(
            "trainer.precision: found '16-mixed', which needs a GPU; on the CPU set "
            "trainer.precision=bf16-mixed or 32-true"
        )
    return accelerator


def quiet_lightning() -> None:
    """Suppress Lightning's tips and the warnings that do not apply here, but no errors."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _SETTLED:
        warnings.filterwarnings("ignore", message=message)


def _accelerator(config: TrainerConfig) -> str:
    """Resolve `auto` to a GPU if there is one, else the CPU (not MPS: metrics need float64)."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.accelerator == "cpu" or (config.accelerator == "auto" and gpus == 0):
        return "cpu"
    if gpus < config.devices:
        raise UserError(
            f"trainer.devices: found {config.devices}, but this machine has {gpus} GPUs; request "
            "fewer, or set trainer.accelerator=cpu"
        )
    return "gpu"


def _check_tasks(config: TrainerConfig) -> None:
    """Refuse a number of ranks that differs from the number of processes that SLURM started."""
    if not slurm_job.is_task():
        return
    tasks, nodes = _count("SLURM_NTASKS"), _count("SLURM_NNODES")
    if (tasks, nodes) != (config.devices * config.num_nodes, config.num_nodes):
        raise UserError(
            f"trainer.devices and trainer.num_nodes: found {config.devices} and "
            f"{config.num_nodes}, but SLURM runs {tasks} tasks on {nodes} nodes; start it with "
            f"srun --nodes={config.num_nodes} --ntasks-per-node={config.devices}, or let "
            f"`slams submit` write the script"
        )


def _count(variable: str) -> int:
    """Return the value of an environment variable set by SLURM, 1 if it is not set.

    Raises:
        UserError: The value is not a number.
    """
    text = os.environ.get(variable, "1")
    if not text.isdecimal():
        raise UserError(
            f"environment variable {variable}: found {text!r}, expected a number, as SLURM sets "
            f"it; start with srun, or unset it outside of a job"
        )
    return int(text)


def _strategy(accelerator: str, world: int) -> str | DDPStrategy:
    if world == 1:
        return "auto"
    if accelerator == "gpu":
        return DDPStrategy(process_group_backend="nccl")
    # Lightning destroys only groups of NCCL. Threads of gloo that outlive the interpreter may
    # abort the process (pytorch/pytorch#179291); Lightning then kills rank zero while it writes.
    atexit.unregister(_destroy_process_group)
    atexit.register(_destroy_process_group)
    return DDPStrategy(process_group_backend="gloo")


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _leave_signals_alone() -> None:
    """Do nothing; replaces the method that registers Lightning's handlers."""
