"""`slams bench sampler`: cost per member, and its accuracy, of several recipes.

Every recipe analyses the same dates with the same observations and the same number of members, in
turn, date by date, so that a machine whose speed drifts slows all of them. Accuracy is scored in
the same run: a sampler can always be made cheaper by making it worse. What a method prepares once
for an observing network (archive of denoising errors) is timed separately.

Writes `sampler.csv` (one row per recipe and date) and `sampler.png`, and prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.base import Assimilator
from slams.benchmarks.cost import device_of, load_contenders, millions, spread_of, timed
from slams.benchmarks.figures import draw_sampler
from slams.benchmarks.recipes import CostConfig
from slams.calendar.days import day_of
from slams.config.schema import Config
from slams.errors import UserError
from slams.fields import Batch, Ensemble
from slams.metrics.scores import spread_skill_ratio
from slams.metrics.statistics import case_statistics
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say
from slams.stages.data import analysed_days
from slams.stages.methods import make_methods

__all__ = ["bench_sampler", "sampler_table"]

_SCORES = ["rmse", "crps", "spread_skill"]
_COLUMNS = ["recipe", "date", "parameters", "setup_seconds", "seconds_per_member", *_SCORES]


@dataclass(frozen=True)
class _Contender:
    """One recipe ready to analyse, and its dates with their observations."""

    name: str
    data: MultimodalDataModule
    method: Assimilator
    device: torch.device
    batches: list[Batch]

    @torch.no_grad()
    def analyse(self, batch: Batch, members: int) -> tuple[float, Ensemble]:
        """Return the seconds that an analysis takes, and its ensemble."""
        return timed(self.device, lambda: self.method.analyse(batch, members))

    @property
    def parameters(self) -> int:
        """Return the number of parameters of the denoiser, 0 where there is none."""
        denoiser = getattr(self.method, "denoiser", None)
        return 0 if denoiser is None else sum(p.numel() for p in denoiser.parameters())


def bench_sampler(config: CostConfig, output: Path) -> None:
    """Time and score the recipes, print the table, and write the table and a figure.

    Args:
        config: Recipes to time.
        output: Directory, made where it is missing.

    Raises:
        UserError: A recipe is refused or its networks are missing.
    """
    make_output(output)
    table = sampler_table(config)
    draw_sampler(table, output / "sampler.png")
    publish(output, {"sampler": table}, _page(table, config))


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
    for contender in contenders:
        _check_same_truth(contenders[0], contender)
    rows = []
    setup: dict[str, float] = {}
    for number in range(config.cases):
        for contender in contenders:
            name, batch = contender.name, contender.batches[number]
            if name not in setup:
                # The first analysis also measures what is stored for the network; two members
                # suffice.
                setup[name] = contender.analyse(batch, 2)[0]
            seconds, ensemble = contender.analyse(batch, config.members)
            seconds /= config.members
            scores = _scores(contender.data, batch, ensemble)
            date = str(day_of(float(batch.time[0, 0])))
            rows.append((name, date, contender.parameters, setup[name], seconds, *scores))
            say(f"{name}, {date}: {seconds:.2f} s per member, CRPS {scores[1]:.3f} K")
    return pd.DataFrame(rows, columns=_COLUMNS)


def _prepare(name: str, recipe: Config, config: CostConfig) -> _Contender:
    """Load the networks of a recipe, and evenly spaced test dates with their observations."""
    data = analysed_days(recipe, batch_size=1)
    method = make_methods(recipe, [config.method], data)[0]
    device, cases = device_of(recipe.trainer), config.cases
    windows = list(data.test_dataloader())
    if len(windows) < cases:
        raise UserError(
            f"key 'cases': found {cases}, but recipe {name!r} has {len(windows)} test dates"
        )
    chosen = [windows[int((i + 0.5) * len(windows) / cases)] for i in range(cases)]
    batches = [data.on_after_batch_transfer(window.to(device), 0) for window in chosen]
    return _Contender(name, data, method, device, batches)


def _check_same_truth(first: _Contender, other: _Contender) -> None:
    for one, two in zip(first.batches, other.batches, strict=True):
        if one.fields.shape != two.fields.shape or not torch.equal(one.time, two.time):
            raise UserError(
                f"recipes {first.name!r} and {other.name!r} verify other dates or fields, "
                f"expected the same data, splits and window"
            )


def _scores(
    data: MultimodalDataModule, batch: Batch, ensemble: Ensemble
) -> tuple[float, float, float]:
    """Return RMSE, CRPS (K) and spread over skill of temperature, means over its levels."""
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
    ratio = spread_skill_ratio(variance, mse, count, ensemble.centred)
    return (
        float(mse.sqrt().mean()),
        float(found.crps[0, levels].mean()),
        float(ratio.mean()),
    )


def _page(table: pd.DataFrame, config: CostConfig) -> Table:
    first = next(iter(config.recipes))
    scores = ("RMSE", "CRPS", "spread/skill")
    speeds = table.pivot(index="date", columns="recipe", values="seconds_per_member")
    return make_table(
        f"{config.method}: cost and accuracy of {config.cases} dates, {config.members} members "
        "each",
        ("recipe", "parameters", "s per member", f"times {first}", "set-up s", *scores),
        (
            (
                name,
                millions(rows.parameters.iloc[0]),
                spread_of(speeds[name]),
                spread_of(speeds[name] / speeds[first]),
                f"{rows.setup_seconds.iloc[0]:.1f}",
                f"{rows.rmse.mean():.3f}",
                f"{rows.crps.mean():.3f}",
                f"{rows.spread_skill.mean():.2f}",
            )
            for name, rows in table.groupby("recipe", sort=False)
        ),
        "ratios date by date, median (least, most); temperature, mean over levels (K)",
    )
