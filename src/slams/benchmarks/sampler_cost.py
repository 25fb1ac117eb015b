"""`slams bench sampler`: cost per member, and its accuracy, of several recipes.

Every recipe analyses the same dates with the same observations and the same number of members, in
turn, date by date, so that a machine whose speed drifts slows all of them. Accuracy is scored in
the same run: a sampler can always be made cheaper by making it worse. What a method prepares once
for an observing network (archive of denoising errors) is timed separately.

Writes `sampler.csv` (one row per recipe and date) and `sampler.png`, and prints the table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.base import Assimilator
from slams.benchmarks.cost_recipe import CostConfig, load_contenders
from slams.benchmarks.cost_tables import spread_of
from slams.benchmarks.devices import device_of, synchronise
from slams.calendar.days import day_of
from slams.config.schema import Config
from slams.errors import UserError
from slams.fields import Batch, Ensemble
from slams.metrics.scores import spread_skill_ratio
from slams.metrics.statistics import case_statistics
from slams.runtime.console import print_tables
from slams.runtime.output import make_output
from slams.runtime.ranks import say
from slams.stages.data import analysed_days
from slams.stages.methods import make_methods

__all__ = ["bench_sampler", "sampler_table"]


@dataclass(frozen=True)
class _Contender:
    """One recipe ready to analyse."""

    name: str
    data: MultimodalDataModule
    method: Assimilator
    parameters: int
    device: torch.device


def bench_sampler(config: CostConfig, output: Path) -> None:
    """Time and score the recipes, print the table, and write the table and a figure.

    Args:
        config: Recipes to time.
        output: Directory, made where it is missing.

    Raises:
        UserError: A recipe is refused or its networks are missing.
    """
    directory = make_output(output)
    table = sampler_table(config)
    table.to_csv(directory / "sampler.csv", index=False, float_format="%.5g")
    print_tables(_page(table, config))
    from slams.benchmarks.cost_figure import draw_sampler

    draw_sampler(table, directory / "sampler.png")
    say(f"the table and the figure are in {directory}")


def sampler_table(config: CostConfig) -> pd.DataFrame:
    """Analyse every date with every recipe in turn.

    Args:
        config: Recipes to time.

    Returns:
        Columns recipe, date, parameters, setup_seconds, seconds_per_member, rmse, crps (of
        temperature, mean over levels, K) and spread_skill.
    """
    contenders = [
        _prepare(name, recipe, config)
        for name, recipe in load_contenders(config, "assimilate").items()
    ]
    first = contenders[0]
    batches = {c.name: _batches(c, config.cases) for c in contenders}
    for c in contenders:
        _check_same_truth(first, c, batches)
    rows = []
    setup: dict[str, float] = {}
    for number in range(config.cases):
        for c in contenders:
            batch = batches[c.name][number]
            if c.name not in setup:
                # The first analysis also measures what is stored for the network; two members
                # suffice.
                setup[c.name] = _timed(c, batch, 2)[0]
            seconds, ensemble = _timed(c, batch, config.members)
            scores = _scores(c, batch, ensemble)
            rows.append(
                {
                    "recipe": c.name,
                    "date": _date(batch),
                    "parameters": c.parameters,
                    "setup_seconds": setup[c.name],
                    "seconds_per_member": seconds / config.members,
                    **scores,
                }
            )
            say(
                f"{c.name}, {rows[-1]['date']}: {rows[-1]['seconds_per_member']:.2f} s per "
                f"member, CRPS {scores['crps']:.3f} K"
            )
    return pd.DataFrame(rows)


def _prepare(name: str, recipe: Config, config: CostConfig) -> _Contender:
    data = analysed_days(recipe, batch_size=1)
    method = make_methods(recipe, [config.method], data)[0]
    denoiser = getattr(method, "denoiser", None)
    count = 0 if denoiser is None else sum(p.numel() for p in denoiser.parameters())
    return _Contender(name, data, method, count, device_of(recipe.trainer))


def _batches(contender: _Contender, cases: int) -> list[Batch]:
    """Return evenly spaced test dates with their observations."""
    data = contender.data
    windows = list(data.test_dataloader())
    if len(windows) < cases:
        raise UserError(
            f"key 'cases': found {cases}, but recipe {contender.name!r} has {len(windows)} test "
            f"dates"
        )
    pick = [int((i + 0.5) * len(windows) / cases) for i in range(cases)]
    return [data.on_after_batch_transfer(windows[i].to(contender.device), 0) for i in pick]


def _check_same_truth(
    first: _Contender, other: _Contender, batches: dict[str, list[Batch]]
) -> None:
    for one, two in zip(batches[first.name], batches[other.name], strict=True):
        if one.fields.shape != two.fields.shape or not torch.equal(one.time, two.time):
            raise UserError(
                f"recipes {first.name!r} and {other.name!r} verify other dates or fields, "
                f"expected the same data, splits and window"
            )


@torch.no_grad()
def _timed(contender: _Contender, batch: Batch, members: int) -> tuple[float, Ensemble]:
    started = time.perf_counter()
    ensemble = contender.method.analyse(batch, members)
    synchronise(contender.device)
    return time.perf_counter() - started, ensemble


def _scores(contender: _Contender, batch: Batch, ensemble: Ensemble) -> dict[str, float]:
    data = contender.data
    truth = data.normaliser.to_physical(
        data.normaliser.denormalise(batch.fields, batch.climatology)
    )
    found = case_statistics(
        ensemble.members,
        truth,
        batch.mask,
        data.grid.weights,
        batch.case,
        data.channels,
        data.seed,
        centred=ensemble.centred,
    )
    count = ensemble.members.shape[1]
    levels = [i for i, spec in enumerate(data.channels) if spec.variable == "temperature"]
    mse, variance = found.mse[0, levels], found.variance[0, levels]
    return {
        "rmse": float(mse.sqrt().mean()),
        "crps": float(found.crps[0, levels].mean()),
        "spread_skill": float(spread_skill_ratio(variance, mse, count, ensemble.centred).mean()),
    }


def _date(batch: Batch) -> str:
    return str(day_of(float(batch.time[0, 0])))


def _page(table: pd.DataFrame, config: CostConfig) -> Table:
    first = next(iter(config.recipes))
    page = Table(
        title=f"{config.method}: cost and accuracy of {config.cases} dates, {config.members} "
        f"members each",
        caption="ratios date by date, median (least, most); temperature, mean over levels (K)",
    )
    for heading in ("recipe", "parameters", "s per member", f"times {first}", "set-up s"):
        page.add_column(heading, justify="left" if heading == "recipe" else "right")
    for heading in ("RMSE", "CRPS", "spread/skill"):
        page.add_column(heading, justify="right")
    reference = table[table.recipe == first].set_index("date").seconds_per_member
    for name, rows in table.groupby("recipe", sort=False):
        own = rows.set_index("date").seconds_per_member
        page.add_row(
            str(name),
            f"{rows.parameters.iloc[0] / 1e6:.2f} M",
            spread_of(own),
            spread_of(own / reference),
            f"{rows.setup_seconds.iloc[0]:.1f}",
            f"{rows.rmse.mean():.3f}",
            f"{rows.crps.mean():.3f}",
            f"{rows.spread_skill.mean():.2f}",
        )
    return page
