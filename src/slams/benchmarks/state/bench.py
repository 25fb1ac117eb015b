"""`slams bench state`: what a state must carry to forecast temperature one day ahead.

Forecasts of temperature at all levels are made from the true state of the day, by local
regression (`slams.benchmarks.state.regression`) and by the score network's mean
(`slams.benchmarks.state.network`), with fewer or more variables in the state and with few or many
training days, and scored on the validation days. Writes `regression.csv` and `network.csv` (RMSE
in K per training days, state and level, with 95 % intervals) and the same as Markdown, which is
printed. Finished parts are kept below `regression/` and `network/`, one file per row of latitude
or training, and reused when the command is repeated.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pandas as pd

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.network import train_networks
from slams.benchmarks.state.recipe import STATES, StateBenchConfig
from slams.benchmarks.state.regression import REFERENCES, regress
from slams.benchmarks.state.results import KeptResults, summarise
from slams.runtime.atomic import write_text
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say

__all__ = ["bench_state", "markdown"]


def bench_state(config: StateBenchConfig, output: Path) -> None:
    """Measure what has not been measured, and print and write the tables.

    Args:
        config: The recipe.
        output: Directory, made where it is missing.

    Raises:
        UserError: The store is missing or lacks a channel or days, or the output holds results
            of other settings.
    """
    store = TrainingStore.open(config.store)
    make_output(output)
    for method in config.methods:
        kept = KeptResults.open(output / method, _settings(config, store, method))
        work = regress if method == "regression" else train_networks
        names = work(config, store, kept)
        missing = sum(not kept.has(name) for name in names)
        # Without some of its rows, the globe would have another mean.
        if missing and method == "regression":
            say(f"regression: {missing} of {len(names)} rows are not finished, no table yet")
            continue
        if missing:
            say(f"network: {missing} of {len(names)} trainings are not finished")
        results = kept.read(names)
        if not len(results):
            continue
        table = summarise(results, store.grid.weights.numpy(), config.seed)
        text = markdown(table, products=method == "regression")
        write_text(output / f"{method}.md", text)
        print(f"{method}: RMSE (K) of one-day forecasts of temperature\n\n{text}")
        publish(output, {method: table}, number_format="%.4f")


def _settings(config: StateBenchConfig, store: TrainingStore, method: str) -> dict[str, Any]:
    """Return what the results of a method depend on."""
    found = dataclasses.asdict(config)
    section = found[method]
    if method == "network":  # additional rows of the table do not change the others
        del section["states"], section["train"]
    else:  # settings that only bound memory
        del section["block"], section["band"]
    keys = ("train", "validation", "stride", "levels", "seed")
    return {"store": store.fingerprint, **{key: found[key] for key in keys}, method: section}


def markdown(table: pd.DataFrame, products: bool = True) -> str:
    """Return a table as Markdown: a line per training days and state, a column per level.

    Args:
        table: Result of `slams.benchmarks.state.results.summarise`.
        products: Whether states with winds also hold products of winds and gradients.
    """
    levels = list(dict.fromkeys(table["level"]))
    lines = [
        f"| training | the state holds | {' | '.join(levels)} | 95 % of the mean |",
        f"|---|---|{'---|' * len(levels)}---|",
    ]
    groups = dict(list(table.groupby(["training", "state"], sort=False)))
    # References without training days first.
    trainings = sorted(dict.fromkeys(training for training, _ in groups), key=bool)
    for cell in itertools.product(trainings, [*REFERENCES, *STATES]):
        if cell not in groups:
            continue
        training, state = cell
        rows = groups[cell].set_index("level")
        label = STATES[state].label if state in STATES else state.replace("_", " ")
        label = label if products else label.replace(", products", "")
        numbers = " | ".join(f"{rows.rmse[level]:.3f}" for level in levels)
        low, high = rows.low["mean"], rows.high["mean"]
        lines.append(f"| {training} | {label} | {numbers} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines) + "\n"
