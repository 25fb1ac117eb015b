"""`slams bench scaling`: cost of guidance, of a member and of training against their parameters.

Tables of the first recipe, those of the key `tables`: guidance of synthetic cases against reports,
grid, members and archive days (`slams.benchmarks.analysis_scaling`), which needs no network; one
evaluation of the denoiser against days of the window and size of the latent grid, with untrained
networks of the recipe's widths; sampling against the sampler's steps and the members of an
ensemble; and training of the score model on different numbers of processes, each by the real
command in a separate process.

Prints the tables and writes `analysis.csv`, `exponents.csv`, `denoiser.csv`, `sampling.csv`,
`ranks.csv`, and the figures `analysis.png` and `scaling.png`, the latter with all of the others.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from slams.benchmarks.analysis_scaling import analysis_table, exponents
from slams.benchmarks.cost import device_of, load_contenders, timed
from slams.benchmarks.figures import draw_analysis, draw_scaling
from slams.benchmarks.recipes import CostConfig
from slams.config.schema import Config
from slams.errors import UserError
from slams.nn.blocks import BlockGrid
from slams.nn.unet import LatentUNet
from slams.runs.record import RunRecord
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say
from slams.stages.data import analysed_days
from slams.stages.methods import make_methods
from slams.stages.places import stage_directory

__all__ = ["bench_scaling", "denoiser_table", "ranks_table", "sampling_table"]

_EXPERIMENT = "bench-scaling"
# Days of the window, and factors on the latent grid in each direction.
_WINDOWS = (1, 3, 5)
_GRIDS = (1, 2, 4)
# Members of the denoiser, and evaluations that are timed.
_MEMBERS, _TIMED = 4, 5
_SPEED = "samples_per_second"


def bench_scaling(config: CostConfig, output: Path) -> None:
    """Make the tables, print them and write them.

    Args:
        config: Recipes to time.
        output: Directory, made where it is missing.

    Raises:
        UserError: The recipe is refused, or its networks are missing.
    """
    make_output(output)
    name, recipe = next(iter(load_contenders(config, "assimilate").items()))
    make = {
        "analysis": partial(analysis_table, recipe, config.analysis),
        "denoiser": partial(denoiser_table, recipe),
        "sampling": partial(sampling_table, recipe, config),
        "ranks": partial(ranks_table, recipe, config),
    }
    tables = {title: table() for title, table in make.items() if title in config.tables}
    if "analysis" in tables:
        tables["exponents"] = exponents(tables["analysis"])
        draw_analysis(tables["analysis"], output / "analysis.png")
    if {"denoiser", "sampling", "ranks"} <= tables.keys():
        draw_scaling(tables, output / "scaling.png")
    pages = []
    for title, table in tables.items():
        headings = [column.replace("_", " ") for column in table]
        rows = (
            [f"{x:.3g}" if isinstance(x, float) else x for x in row]
            for row in table.itertuples(index=False)
        )
        texts = 2 if title in ("analysis", "exponents") else 0
        pages.append(make_table(f"{name}: {title}", headings, rows, texts=texts))
    publish(output, tables, *pages)


def ranks_table(recipe: Config, config: CostConfig) -> pd.DataFrame:
    """Train the score model for some steps on different numbers of processes.

    Returns:
        Columns ranks, samples_per_second, efficiency (per process, relative to the first row).
    """
    rows = []
    for ranks in config.ranks:
        experiment = f"{_EXPERIMENT}-{ranks}"
        words = {
            "experiment": experiment,
            "runs": recipe.runs,
            "data.store": recipe.data.store,
            "pretrained_experiment": recipe.pretrained_experiment or recipe.experiment,
            "trainer.devices": ranks,
            "score.optimizer.steps": config.scaling_steps,
            "tracking.enabled": "false",
            "resume": "overwrite",
        }
        path = next(iter(config.recipes.values()))
        command = [sys.executable, "-m", "slams", "train", "score", str(path)]
        command += [f"{key}={value}" for key, value in words.items()]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UserError(
                f"`slams train score` on {ranks} processes: {done.stderr.strip()[-500:]}"
            )
        trained = replace(recipe, experiment=experiment)
        speed = float(RunRecord.read(stage_directory(trained, "score")).summary[_SPEED])
        shutil.rmtree(Path(recipe.runs) / experiment)
        rows.append((ranks, speed))
        say(f"{ranks} processes: {speed:.1f} samples/s")
    table = pd.DataFrame(rows, columns=["ranks", _SPEED])
    each = table[_SPEED] / table.ranks
    return table.assign(efficiency=each / each.iloc[0])


def sampling_table(recipe: Config, config: CostConfig) -> pd.DataFrame:
    """Sample one date with different numbers of steps and of members.

    Returns:
        Columns steps, members, seconds_per_member.
    """
    data = analysed_days(recipe, batch_size=1)
    device = device_of(recipe.trainer)
    batch = data.on_after_batch_transfer(next(iter(data.test_dataloader())).to(device), 0)
    settings = recipe.assimilation
    cells = [(steps, [config.members]) for steps in config.sampler_steps]
    cells.append((settings.sampler.steps, config.sampler_members))
    rows = []
    for steps, sizes in cells:
        sampler = replace(settings.sampler, steps=steps)
        changed = replace(recipe, assimilation=replace(settings, sampler=sampler))
        method = make_methods(changed, [config.method], data)[0]
        with torch.no_grad():
            method.analyse(batch, 2)  # also measures what is stored for the network
            for members in sizes:
                total, _ = timed(device, partial(method.analyse, batch, members))
                rows.append((steps, members, total / members))
                say(f"{steps} steps, {members} members: {total / members:.2f} s per member")
    return pd.DataFrame(rows, columns=["steps", "members", "seconds_per_member"])


@torch.no_grad()
def denoiser_table(recipe: Config) -> pd.DataFrame:
    """Evaluate untrained denoisers of several windows and grids.

    Returns:
        Columns days, latitudes, longitudes (of the latent grid), milliseconds per member.
    """
    data = analysed_days(recipe, batch_size=1)
    score, channels = recipe.score, recipe.vae.latent_channels
    device = device_of(recipe.trainer)
    sizes = (score.channels, score.blocks, score.embedding)
    rows = []
    latents = BlockGrid(data.grid.shape, recipe.vae.factor).block_shape
    for days, factor in itertools.product(_WINDOWS, _GRIDS):
        shape = tuple(size * factor for size in latents)
        network = LatentUNet(channels, days, shape, *sizes).eval().to(device)
        x = torch.randn(_MEMBERS, days, channels, *shape, device=device)
        sigma = torch.zeros(_MEMBERS, device=device)
        network(x, sigma, x)
        seconds, _ = timed(device, partial(network, x, sigma, x), _TIMED)
        rows.append((days, *shape, 1000 * seconds / _TIMED / _MEMBERS))
    return pd.DataFrame(rows, columns=["days", "latitudes", "longitudes", "milliseconds"])
