"""`slams bench train`: cost per training step of several recipes, stage by stage.

Networks are made as the recipe describes them, untrained, and step on one batch of the recipe's
own data, in the precision, with the optimiser and the threads of a real run. Recipes take turns, a
few steps at a time: a machine whose speed drifts slows all of them. Beside other programs (`busy`)
it shows what they cost. Loading is not in it (`slams bench data`).

Writes `train.csv` (one row per recipe, stage, number of other programs and repetition), and prints
the table.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table
from torch import Tensor

from slams.benchmarks.cost_recipe import CostConfig, load_contenders
from slams.benchmarks.cost_tables import spread_of
from slams.benchmarks.devices import device_of, synchronise
from slams.config.schema import Config, TrainerConfig
from slams.modules.base import TrainedModule
from slams.modules.score import LatentScore
from slams.modules.threads import set_threads
from slams.modules.trainer import check_machine
from slams.modules.vae import VAE
from slams.nn.latent_space import LatentBatch
from slams.nn.precision import natural_precision
from slams.runtime.console import print_tables
from slams.runtime.output import make_output
from slams.runtime.ranks import say
from slams.stages.data import reanalysis

__all__ = ["bench_train", "train_table"]


@dataclass(frozen=True)
class _Step:
    """One stage of one recipe, ready to step."""

    recipe: str
    stage: str
    module: TrainedModule
    trainer: TrainerConfig
    loss: Callable[[], Tensor]
    samples: int
    bfloat16: bool
    device: torch.device


def bench_train(config: CostConfig, output: Path) -> None:
    """Time the recipes, print the table and write it.

    Args:
        config: Recipes to time.
        output: Directory, made where it is missing.

    Raises:
        UserError: A recipe is refused or its store is missing.
    """
    directory = make_output(output)
    table = train_table(config)
    table.to_csv(directory / "train.csv", index=False, float_format="%.5g")
    print_tables(_page(table, config))
    say(f"the table is in {directory}")


def train_table(config: CostConfig) -> pd.DataFrame:
    """Step every stage of every recipe in turn.

    Args:
        config: Recipes to time.

    Returns:
        Columns recipe, stage, busy, repetition, parameters, samples_per_second.
    """
    rows = []
    steps = [
        step
        for name, recipe in load_contenders(config, "train score").items()
        for step in _steps(name, recipe)
    ]
    for step in steps:
        _run(step, config.steps)  # memory is allocated and kernels are chosen
    for repetition in range(1, config.repetitions + 1):
        for busy in config.busy:
            with _programs(busy):
                for step in steps:
                    seconds = _run(step, config.steps)
                    rows.append(
                        {
                            "recipe": step.recipe,
                            "stage": step.stage,
                            "busy": busy,
                            "repetition": repetition,
                            "parameters": sum(p.numel() for p in step.module.parameters()),
                            "samples_per_second": step.samples * config.steps / seconds,
                        }
                    )
    return pd.DataFrame(rows)


def _steps(name: str, recipe: Config) -> Iterator[_Step]:
    data = reanalysis(recipe, batch_size=recipe.vae.batch_size)
    window = next(iter(data.train_dataloader()))
    device = device_of(recipe.trainer)
    batch = data.on_after_batch_transfer(window.to(device), 0)
    fields, mask = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
    torch.manual_seed(recipe.seed)
    vae = VAE(recipe.vae, data.channels, data.grid, data.normaliser.sd.cpu()).to(device)
    bfloat16 = _in_bfloat16(recipe)

    def vae_loss() -> Tensor:
        return vae.loss(fields, mask, mask)[0]

    yield _Step(name, "vae", vae, recipe.trainer, vae_loss, len(fields), bfloat16, device)
    size = recipe.score.batch_size
    shape = (recipe.data.window, recipe.vae.latent_channels)
    shape += tuple(n // recipe.vae.factor for n in data.grid.shape)
    latents = torch.randn(size, *shape, device=device)
    zero, one = torch.zeros(shape[1]), torch.ones(shape[1])
    score = LatentScore(recipe.score, data.channels, data.grid, shape, zero, one, "").to(device)
    # Timing does not depend on the values: latents of an untrained encoder would be no more
    # realistic.
    drawn = LatentBatch(latents, torch.randn_like(latents), torch.rand(size, device=device))

    def score_loss() -> Tensor:
        return score.loss(drawn).mean()

    yield _Step(name, "score", score, recipe.trainer, score_loss, size, bfloat16, device)


def _in_bfloat16(recipe: Config) -> bool:
    precision = recipe.trainer.precision
    if precision == "auto":
        precision = natural_precision(check_machine(recipe.trainer))
    return precision == "bf16-mixed"


@contextmanager
def _programs(count: int) -> Iterator[None]:
    """Keep so many cores busy with other programs while the block lasts."""
    command = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _run(step: _Step, count: int) -> float:
    set_threads(step.trainer, step.device.type)
    configured = step.module.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured[0][0]
    synchronise(step.device)
    started = time.perf_counter()
    for _ in range(count):
        optimizer.zero_grad()
        with torch.autocast(step.device.type, torch.bfloat16, enabled=step.bfloat16):
            loss = step.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(step.module.parameters(), 1.0)
        optimizer.step()
    synchronise(step.device)
    return time.perf_counter() - started


def _page(table: pd.DataFrame, config: CostConfig) -> Table:
    first = next(iter(config.recipes))
    page = Table(
        title=f"training steps, {config.repetitions} x {config.steps} per stage",
        caption="median (least, most); ratios repetition by repetition",
    )
    texts = ("stage", "recipe")
    quiet = f"times {first}" + (f", {config.busy[0]} busy" if len(config.busy) > 1 else "")
    for heading in ("stage", "recipe", "parameters", "busy", "samples/s", quiet):
        page.add_column(heading, justify="left" if heading in texts else "right")
    for stage, rows in table.groupby("stage", sort=False):
        speeds = {
            names: part.set_index("repetition").samples_per_second
            for names, part in rows.groupby(["recipe", "busy"], sort=False)
        }
        for (name, busy), part in rows.groupby(["recipe", "busy"], sort=False):
            page.add_row(
                str(stage),
                str(name),
                f"{part.parameters.iloc[0] / 1e6:.2f} M",
                str(busy),
                spread_of(speeds[name, busy]),
                spread_of(speeds[name, busy] / speeds[first, config.busy[0]]),
            )
    return page
