"""`slams bench kolmogorov`: trajectories, score network, and posteriors for three operators.

Trajectories and network are stored in the output directory and reused as long as the settings with
which they were made are unchanged.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.table import Table
from torch import Tensor

from slams.config.loading import to_yaml
from slams.diffusion.backend import KarrasDenoiser
from slams.diffusion.training import make_denoiser
from slams.runtime.atomic import write_text
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say
from slams.warmups.figures import draw_kolmogorov
from slams.warmups.kept import reuse
from slams.warmups.kolmogorov_assimilation import BAND, assimilate
from slams.warmups.kolmogorov_data import Climatology, climatology, simulate, transformed
from slams.warmups.kolmogorov_operators import OPERATORS
from slams.warmups.kolmogorov_score import FlowBackbone, window_covariance
from slams.warmups.recipes import KolmogorovConfig
from slams.warmups.training import fit_denoiser

__all__ = ["bench_kolmogorov", "make_trajectories", "train_score"]


def bench_kolmogorov(config: KolmogorovConfig, output: Path) -> None:
    """Run the warm-up, print its table and write table and figure.

    Args:
        config: The recipe.
        output: Directory, created if missing.

    Raises:
        UserError: The output is not a directory.
    """
    make_output(output)
    write_text(output / "config.yaml", to_yaml(config))
    velocity = make_trajectories(config, output)
    clim = climatology(velocity["train"], config.flow.wave_number)
    denoiser = train_score(config, velocity["train"], clim, output)
    rows, cases = [], []
    for kind in OPERATORS:
        for number, truth in enumerate(velocity["test"]):
            found = assimilate(config, kind, number, truth, clim, denoiser)
            rows += found.rows
            if number == 0:
                cases.append(found)
            ratios = ", ".join(
                f"{row['method']} {row['residual_sd'] / row['target']:.3f}" for row in found.rows
            )
            say(f"{kind} {number + 1}/{config.cases}: residual / noise: {ratios}")
    table = summary(pd.DataFrame(rows))
    draw_kolmogorov(cases, output / "kolmogorov.png")
    publish(output, {"results": table}, _page(table, config), number_format="%.4f")


def make_trajectories(config: KolmogorovConfig, output: Path) -> dict[str, Tensor]:
    """Return velocities `(B, L, 2, N, N)` for `train` and `test`, computed once."""
    flow = config.flow
    made_with = {"seed": config.seed, "flow": dataclasses.asdict(flow)}
    tested = made_with | {"cases": config.cases, "length": config.length}

    def stored(name: str, settings: dict[str, Any], count: int, length: int) -> Tensor:
        def make() -> Tensor:
            say(f"integrating {count} trajectories of {length} states ({name})")
            return simulate(flow, count, length, config.seed, name)

        return reuse(output / f"{name}.pt", "the trajectories", settings, make)

    return {
        "train": stored("train", made_with, flow.trajectories, flow.length),
        "test": stored("test", tested, config.cases, config.length),
    }


def train_score(
    config: KolmogorovConfig, velocity: Tensor, clim: Climatology, output: Path
) -> KarrasDenoiser:
    """Return the denoiser of windows `(B, T, 2, N, N)`, trained once.

    Args:
        config: The recipe.
        velocity: `(B, L, 2, N, N)` velocities of the training.
        clim: Climatology of the training.
        output: Directory of the weights.
    """
    score, flow, waves = config.score, config.flow, config.flow.wave_number
    anomalies = clim.anomalies(velocity)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = FlowBackbone(
            window_covariance(anomalies, score.window),
            waves,
            score.channels,
            score.blocks,
            score.embedding,
            clim.mean / clim.sd,
            float(clim.sd) * flow.interval * flow.grid / (2 * math.pi),
        )
    denoiser = make_denoiser(backbone)
    starts = anomalies.shape[1] - score.window + 1

    def batch(draw: torch.Generator) -> Tensor:
        size = (score.batch_size,)
        which = torch.randint(len(anomalies), size, generator=draw).tolist()
        first = torch.randint(starts, size, generator=draw).tolist()
        windows = [anomalies[i, j : j + score.window] for i, j in zip(which, first, strict=True)]
        return transformed(torch.stack(windows), waves, draw)

    def train() -> dict[str, Tensor]:
        count = sum(p.numel() for p in backbone.parameters())
        say(f"training the score network, {count / 1e6:.2f} million parameters")
        averaged = fit_denoiser(
            denoiser,
            batch,
            score,
            config.seed,
            say,
            # Training starts from a linear filter, whose error is small at low noise: without this
            # weight nearly all of the loss would be at levels where most of the noise remains.
            backbone.filter.error,
        )
        return averaged.backbone.state_dict()

    made_with = {"seed": config.seed, "flow": dataclasses.asdict(config.flow)}
    made_with["score"] = dataclasses.asdict(score)
    backbone.load_state_dict(reuse(output / "score.pt", "the weights", made_with, train))
    return denoiser.requires_grad_(False).eval()


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over cases, with roots averaged as squares, and sum counts.

    Args:
        rows: Columns operator, method, values (number observed per case), target, residual_sd,
            rmse, spread, members, diverged, seconds; one row per case.

    Returns:
        One row per operator and method, with the additional columns `residual_ratio` (relative to
        the target), `spread_skill` (with the factor `sqrt((M + 1) / M)`) and `cases`.
    """
    squares = ["residual_sd", "rmse", "spread"]
    groups = rows.assign(**{name: rows[name] ** 2 for name in squares}).groupby(
        ["operator", "method"], sort=False
    )
    table = groups[["values", "target", *squares, "members", "seconds"]].mean()
    table[squares] **= 0.5
    table["values"] = table["values"].astype(int)
    table.insert(3, "residual_ratio", table["residual_sd"] / table["target"])
    larger = ((table["members"] + 1) / table["members"]) ** 0.5
    table.insert(6, "spread_skill", larger * table["spread"] / table["rmse"])
    table["diverged"] = groups["diverged"].sum()
    table["cases"] = groups.size()
    return table.drop(columns="members").reset_index()


def _page(table: pd.DataFrame, config: KolmogorovConfig) -> Table:
    rows = []
    for row in table.itertuples():
        ratio = f"{row.residual_ratio:.3f}"
        if abs(row.residual_ratio - 1) < BAND:
            ratio = f"[green]{ratio}[/green]"
        if row.diverged:
            ratio += f" ({row.diverged} diverged)"
        spread = (row.spread, row.spread_skill)
        spread = ("-", "-") if pd.isna(row.spread) else (f"{number:.3f}" for number in spread)
        numbers = (row.values, f"{row.target:g}", ratio, f"{row.rmse:.3f}", *spread)
        rows.append((row.operator, row.method, *numbers, f"{row.seconds:.0f}"))
    names = ("values", "noise", "residual", "rmse", "spread", "spread-skill", "s per case")
    return make_table(
        f"Kolmogorov flow, {config.cases} trajectories of {config.length} states, "
        f"{config.members} members",
        ("operator", "method", *names),
        rows,
        "residual: standard deviation of y - A(x) over that of the noise, green within "
        f"{BAND:.0%}; rmse of the ensemble mean and spread in units of the velocity",
        texts=2,
    )
