"""`slams bench scaling`: samples per second against processes, and the cost of a member.

Three tables of the first recipe: training of the score model on different numbers of processes,
each by the real command in a separate process; sampling against the sampler's steps and the
members of an ensemble; and one evaluation of the denoiser against days of the window and size of
the latent grid, with untrained networks of the recipe's widths.

Writes `ranks.csv`, `sampling.csv`, `denoiser.csv` and `scaling.png`, and prints the tables.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table

from slams.benchmarks.cost_recipe import CostConfig, load_contenders
from slams.benchmarks.devices import device_of, synchronise
from slams.config.schema import Config
from slams.errors import UserError
from slams.nn.unet import LatentUNet
from slams.runs.record import RunRecord
from slams.runtime.console import print_tables
from slams.runtime.output import make_output
from slams.runtime.ranks import say
from slams.stages.data import analysed_days
from slams.stages.methods import make_methods
from slams.stages.places import stage_directory

__all__ = ["bench_scaling", "denoiser_table", "ranks_table", "sampling_table"]

_EXPERIMENT = "bench-scaling"
# Days of the window, and factors on the latent grid in each direction.
_WINDOWS = (1, 3, 5)
_GRIDS = (1, 2, 4)
_TIMED = 5


def bench_scaling(config: CostConfig, output: Path) -> None:
    """Make the three tables, print them and write them.

    Args:
        config: Recipes to time.
        output: Directory, made where it is missing.

    Raises:
        UserError: The recipe is refused, or its networks are missing.
    """
    directory = make_output(output)
    name, recipe = next(iter(load_contenders(config, "assimilate").items()))
    tables = {
        "denoiser": denoiser_table(recipe),
        "sampling": sampling_table(recipe, config),
        "ranks": ranks_table(recipe, config),
    }
    for title, table in tables.items():
        table.to_csv(directory / f"{title}.csv", index=False, float_format="%.5g")
        page = Table(title=f"{name}: {title}")
        for column in table:
            page.add_column(str(column).replace("_", " "), justify="right")
        for row in table.itertuples(index=False):
            page.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row))
        print_tables(page)
    from slams.benchmarks.cost_figure import draw_scaling

    draw_scaling(tables, directory / "scaling.png")
    say(f"the tables and the figure are in {directory}")


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
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
        if done.returncode:
            raise UserError(
                f"`slams train score` on {ranks} processes: {done.stderr.strip()[-500:]}"
            )
        trained = replace(recipe, experiment=experiment)
        summary = RunRecord.read(stage_directory(trained, "score")).summary
        shutil.rmtree(Path(recipe.runs) / experiment)
        rows.append({"ranks": ranks, "samples_per_second": float(summary["samples_per_second"])})
        say(f"{ranks} processes: {rows[-1]['samples_per_second']:.1f} samples/s")
    table = pd.DataFrame(rows)
    each = table.samples_per_second / table.ranks
    return table.assign(efficiency=each / each.iloc[0])


def sampling_table(recipe: Config, config: CostConfig) -> pd.DataFrame:
    """Sample one date with different numbers of steps and of members.

    Returns:
        Columns steps, members, seconds_per_member.
    """
    data = analysed_days(recipe, batch_size=1)
    device = device_of(recipe.trainer)
    batch = data.on_after_batch_transfer(next(iter(data.test_dataloader())).to(device), 0)
    own = recipe.assimilation.sampler.steps
    cells = [(steps, config.members) for steps in config.sampler_steps]
    cells += [(own, members) for members in config.sampler_members]
    rows = []
    for steps, group in itertools.groupby(cells, key=lambda cell: cell[0]):
        settings = recipe.assimilation
        changed = replace(
            recipe,
            assimilation=replace(settings, sampler=replace(settings.sampler, steps=steps)),
        )
        method = make_methods(changed, [config.method], data)[0]
        with torch.no_grad():
            method.analyse(batch, 2)  # also measures what is stored for the network
            for _, members in group:
                started = time.perf_counter()
                method.analyse(batch, members)
                synchronise(device)
                seconds = (time.perf_counter() - started) / members
                rows.append({"steps": steps, "members": members, "seconds_per_member": seconds})
                say(f"{steps} steps, {members} members: {seconds:.2f} s per member")
    return pd.DataFrame(rows)


def denoiser_table(recipe: Config) -> pd.DataFrame:
    """Evaluate untrained denoisers of several windows and grids.

    Returns:
        Columns days, latitudes, longitudes (of the latent grid), milliseconds per member.
    """
    data = analysed_days(recipe, batch_size=1)
    base = [size // recipe.vae.factor for size in data.grid.shape]
    score, members = recipe.score, 4
    device = device_of(recipe.trainer)
    rows = []
    for days, factor in itertools.product(_WINDOWS, _GRIDS):
        shape = (base[0] * factor, base[1] * factor)
        network = LatentUNet(
            recipe.vae.latent_channels,
            days,
            shape,
            score.channels,
            score.blocks,
            score.embedding,
            0.0,
        )
        network.eval().to(device)
        x = torch.randn(members, days, recipe.vae.latent_channels, *shape, device=device)
        sigma = torch.zeros(members, device=device)
        with torch.no_grad():
            network(x, sigma, x)
            synchronise(device)
            started = time.perf_counter()
            for _ in range(_TIMED):
                network(x, sigma, x)
            synchronise(device)
        milliseconds = 1000 * (time.perf_counter() - started) / _TIMED / members
        rows.append(
            {
                "days": days,
                "latitudes": shape[0],
                "longitudes": shape[1],
                "milliseconds": milliseconds,
            }
        )
    return pd.DataFrame(rows)
