"""`slams bench train`: cost per training step of several recipes, stage by stage.

Networks are made as the recipe describes them, untrained, and step on one batch of the recipe's
own data, in the precision, with the optimiser and the threads of a real run. Recipes take turns, a
few steps at a time: a machine whose speed drifts slows all of them. With other programs running
(`busy`), the table shows how much these slow the training. Loading is excluded (`slams bench data`
measures it).

Writes `train.csv` (one row per recipe, stage, number of other programs and repetition), and prints
the table.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table
from torch import Tensor

from slams.benchmarks.cost import device_of, load_contenders, millions, spread_of, timed
from slams.benchmarks.recipes import CostConfig
from slams.config.schema import Config, TrainerConfig
from slams.modules.base import TrainedModule
from slams.modules.score import LatentScore
from slams.modules.threads import set_threads
from slams.modules.trainer import check_machine
from slams.modules.vae import VAE
from slams.nn.blocks import BlockGrid
from slams.nn.latent_space import LatentBatch
from slams.nn.precision import natural_precision
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish
from slams.stages.data import reanalysis

__all__ = ["bench_train", "train_table"]

_COLUMNS = ["recipe", "stage", "busy", "repetition", "parameters", "samples_per_second"]


@dataclass(frozen=True)
class _Step:
    """One stage of one recipe, ready to step."""

    recipe: str
    stage: str
    trainer: TrainerConfig
    module: TrainedModule
    loss: Callable[[], Tensor]
    samples: int

    def run(self, count: int) -> float:
        """Return the seconds that some training steps take."""
        device, precision = device_of(self.trainer), self.trainer.precision
        if precision == "auto":
            precision = natural_precision(check_machine(self.trainer))
        set_threads(self.trainer, device.type)
        configured = self.module.configure_optimizers()
        optimizer = configured["optimizer"] if isinstance(configured, dict) else configured[0][0]

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, precision == "bf16-mixed"):
                loss = self.loss()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            optimizer.step()

        return timed(device, step, count)[0]


def bench_train(config: CostConfig, output: Path) -> None:
    """Time the recipes, print the table and write it.

    Args:
        config: Recipes to time.
        output: Directory, made where it is missing.

    Raises:
        UserError: A recipe is refused or its store is missing.
    """
    make_output(output)
    table = train_table(config)
    publish(output, {"train": table}, _page(table, config))


def train_table(config: CostConfig) -> pd.DataFrame:
    """Step every stage of every recipe in turn.

    Args:
        config: Recipes to time.

    Returns:
        Columns recipe, stage, busy, repetition, parameters, samples_per_second.
    """
    rows = []
    contenders = load_contenders(config, "train score")
    steps = [step for name, recipe in contenders.items() for step in _steps(name, recipe)]
    for step in steps:
        step.run(config.steps)  # memory is allocated and kernels are chosen
    for repetition, busy in itertools.product(range(1, config.repetitions + 1), config.busy):
        with _programs(busy):
            for step in steps:
                speed = step.samples * config.steps / step.run(config.steps)
                count = sum(p.numel() for p in step.module.parameters())
                rows.append((step.recipe, step.stage, busy, repetition, count, speed))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _steps(name: str, recipe: Config) -> Iterator[_Step]:
    data = reanalysis(recipe, batch_size=recipe.vae.batch_size)
    window = next(iter(data.train_dataloader()))
    device = device_of(recipe.trainer)
    batch = data.on_after_batch_transfer(window.to(device), 0)
    fields, mask = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
    torch.manual_seed(recipe.seed)
    vae = VAE(recipe.vae, data.channels, data.grid, data.normaliser.sd.cpu()).to(device)
    yield _Step(
        name, "vae", recipe.trainer, vae, lambda: vae.loss(fields, mask, mask)[0], len(fields)
    )
    size = recipe.score.batch_size
    shape = (recipe.data.window, recipe.vae.latent_channels)
    shape += BlockGrid(data.grid.shape, recipe.vae.factor).block_shape
    latents = torch.randn(size, *shape, device=device)
    zero, one = torch.zeros(shape[1]), torch.ones(shape[1])
    score = LatentScore(recipe.score, data.channels, data.grid, shape, zero, one, "").to(device)
    # Timing does not depend on the values: latents of an untrained encoder would be no more
    # realistic.
    drawn = LatentBatch(latents, torch.randn_like(latents), torch.rand(size, device=device))
    yield _Step(name, "score", recipe.trainer, score, lambda: score.loss(drawn).mean(), size)


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


def _page(table: pd.DataFrame, config: CostConfig) -> Table:
    first = next(iter(config.recipes))
    quiet = f"times {first}" + (f", {config.busy[0]} busy" if len(config.busy) > 1 else "")
    cells = []
    for stage, rows in table.groupby("stage", sort=False):
        parts = dict(list(rows.groupby(["recipe", "busy"], sort=False)))
        speeds = {
            cell: part.set_index("repetition").samples_per_second for cell, part in parts.items()
        }
        for (name, busy), speed in speeds.items():
            count = millions(parts[name, busy].parameters.iloc[0])
            ratio = speed / speeds[first, config.busy[0]]
            cells.append((stage, name, count, busy, spread_of(speed), spread_of(ratio)))
    return make_table(
        f"training steps, {config.repetitions} x {config.steps} per stage",
        ("stage", "recipe", "parameters", "busy", "samples/s", quiet),
        cells,
        "median (least, most); ratios repetition by repetition",
        texts=2,
    )
