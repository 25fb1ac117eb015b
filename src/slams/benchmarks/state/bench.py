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
from pathlib import Path
from typing import Any

import pandas as pd

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.network import network_names, train_networks
from slams.benchmarks.state.recipe import StateBenchConfig
from slams.benchmarks.state.regression import REFERENCES, regress, row_name
from slams.benchmarks.state.results import KeptResults, summarise
from slams.benchmarks.state.states import STATES
from slams.runtime.atomic import replacing, write_text
from slams.runtime.output import make_output
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
        if method == "regression":
            regress(config, store, kept)
            names = [row_name(row) for row in range(store.grid.shape[0])]
        else:
            train_networks(config, store, kept)
            names = network_names(config)
        _write_table(config, store, kept, names, method, output)


def _write_table(
    config: StateBenchConfig,
    store: TrainingStore,
    kept: KeptResults,
    names: list[str],
    method: str,
    output: Path,
) -> None:
    missing = [name for name in names if not kept.has(name)]
    # Without some of its rows, the globe would have another mean.
    if missing and method == "regression":
        say(f"regression: {len(missing)} of {len(names)} rows are not finished, no table yet")
        return
    if missing:
        say(f"network: {len(missing)} of {len(names)} trainings are not finished")
    results = kept.read(names)
    if not len(results):
        return
    table = summarise(results, store.grid.weights.numpy(), config.seed)
    with replacing(output / f"{method}.csv") as path:
        table.to_csv(path, index=False, float_format="%.4f")
    text = markdown(table, products=method == "regression")
    write_text(output / f"{method}.md", text)
    print(f"{method}: RMSE (K) of one-day forecasts of temperature\n\n{text}")
    say(f"the table is in {output / f'{method}.csv'}")


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
    order = [*REFERENCES, *STATES]
    groups = dict(list(table.groupby(["training", "state"], sort=False)))
    trainings = sorted(
        dict.fromkeys(training for training, _ in groups), key=lambda name: bool(name)
    )
    for training in trainings:
        for state in order:
            if (training, state) not in groups:
                continue
            rows = groups[training, state].set_index("level")
            label = STATES[state].label if state in STATES else state.replace("_", " ")
            label = label if products else label.replace(", products", "")
            numbers = " | ".join(f"{rows.rmse[level]:.3f}" for level in levels)
            low, high = rows.low["mean"], rows.high["mean"]
            lines.append(f"| {training} | {label} | {numbers} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines) + "\n"
