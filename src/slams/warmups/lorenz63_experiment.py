"""`slams bench lorenz63`: guided diffusion and a particle filter on the Lorenz (1963) system.

The benchmark trains a denoiser of windows, composes it to trajectories, guides it by observations
of one coordinate and compares the trajectories with those of a bootstrap particle filter (Rozet
and Louppe 2023, arXiv 2306.10574, section 4.1): earth mover's distance in the system's own
coordinates, log-density of the dynamics and of the observations. It writes `results.csv` and
`results.parquet` (one row per case, regime and method), `table.csv` (means over cases) and
`lorenz63.png`, and prints the table. Trained weights are stored in `denoiser.pt` and reused with
the same training settings.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from rich.table import Table
from torch import Tensor

from slams.diffusion.backend import Denoiser
from slams.diffusion.posterior.guided import guided_denoiser
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.diffusion.sampling import sample
from slams.diffusion.settings import GuidanceSettings
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.errors import UserError
from slams.runtime.atomic import replacing
from slams.runtime.console import print_tables
from slams.runtime.files import load_tensors
from slams.runtime.output import make_output
from slams.runtime.seeds import generator
from slams.warmups.lorenz63 import Lorenz63, destandardise, standardise
from slams.warmups.lorenz63_figure import draw_trajectories
from slams.warmups.particle_filter import Filtered, bootstrap_filter
from slams.warmups.recipes import Lorenz63Config, RegimeConfig
from slams.warmups.transport import wasserstein
from slams.warmups.window_denoiser import WindowDenoiser, train_windows

__all__ = ["Compared", "bench_lorenz63", "compare", "draw_posterior", "filter_posterior"]

# Accepted W1 to the particle filter, relative to that of a second filter (the floor).
BAND = 1.5


@dataclass(frozen=True)
class Compared:
    """Result of one case: trajectories `(N, L, 3)` in the system's own coordinates.

    Attributes:
        truth: `(L, 3)`.
        y: `(K,)` standardised observations.
        guided: Trajectories of the guided diffusion.
        lineages: Trajectories of two particle filters.
        smoothed: Trajectories of the same filters, by backward simulation.
        rows: Rows of the table.
    """

    truth: Tensor
    y: Tensor
    guided: Tensor
    lineages: tuple[Tensor, Tensor]
    smoothed: tuple[Tensor, Tensor]
    rows: pd.DataFrame


def filter_posterior(
    config: Lorenz63Config, regime: RegimeConfig, y: Tensor, keyed: torch.Generator
) -> Filtered:
    """Run the bootstrap particle filter on standardised observations `(K,)` of one case."""
    system = Lorenz63()

    def log_likelihood(observed: Tensor, x: Tensor) -> Tensor:
        return _log_normal(standardise(x)[:, :1] - observed, regime.error).sum(dim=1)

    # Like the prior of the truth: a Gaussian, followed by steps to the attractor.
    x = system.spun_up(config.particles, config.spinup, keyed)
    return bootstrap_filter(x, y[:, None], regime.every, system.step, log_likelihood, keyed)


def draw_posterior(
    denoiser: Denoiser, config: Lorenz63Config, regime: RegimeConfig, y: Tensor, case: int
) -> tuple[Tensor, int]:
    """Sample guided trajectories, and count members that had to be drawn again.

    Args:
        denoiser: Denoiser of trajectories `(M, L, 3)`, standardised.
        config: Members, guidance and sampler.
        regime: Times and error of the observations `y`.
        y: `(K,)` standardised observations.
        case: The case, on which the noise depends.

    Returns:
        `(M, L, 3)` in the system's own coordinates, and the number of members drawn again.
    """
    variance = torch.full_like(y, regime.error**2)
    guided = guided_denoiser(
        GuidanceProblem(
            GuidanceSettings(**asdict(config.guidance)),
            denoiser,
            lambda x: x[:, :: regime.every, 0],
            y,
            variance,
            variance,
            torch.ones_like(y),
        )
    )
    shape = (config.length, 3)

    @lru_cache(maxsize=2)
    def noise(stream: str) -> Tensor:
        keyed = generator(config.seed, "lorenz63", regime.name, case, stream)
        return torch.randn(config.members, *shape, generator=keyed)

    parts, diverged = [], 0
    for first in range(0, config.members, config.batch_size):
        count = min(config.batch_size, config.members - first)
        found = sample(
            guided,
            config.sampler,
            lambda member, stream, first=first: noise(stream)[first + member],
            count,
        )
        parts.append(found.members)
        diverged += found.diverged
    return destandardise(torch.cat(parts)), diverged


def compare(
    denoiser: Denoiser, config: Lorenz63Config, regime: RegimeConfig, case: int
) -> Compared:
    """Observe one truth, sample the posterior with every method, and compute the distances."""
    system = Lorenz63()
    keyed = generator(config.seed, "lorenz63", "truth", case)
    truth = system.trajectories(system.spun_up(1, config.spinup, keyed), config.length, keyed)[0]
    seen = standardise(truth)[:: regime.every, 0]
    keyed = generator(config.seed, "lorenz63", "observations", regime.name, case)
    y = seen + regime.error * torch.randn(seen.shape, generator=keyed)
    begun = time.perf_counter()
    filtered, lineages, smoothed = [], [], []
    for run in range(2):
        keyed = generator(config.seed, "lorenz63", "filter", regime.name, case, run)
        filtered.append(filter_posterior(config, regime, y, keyed))
        lineages.append(filtered[-1].lineages(config.members, keyed))
        smoothed.append(
            filtered[-1].backward(
                config.members, system.log_transitions, keyed, config.backward_particles
            )
        )
    reference_seconds = (time.perf_counter() - begun) / 2
    begun = time.perf_counter()
    guided, diverged = draw_posterior(denoiser, config, regime, y, case)
    seconds = time.perf_counter() - begun

    def row(name: str, x: Tensor, first: int, seconds: float) -> dict[str, float | str]:
        innovation = standardise(x)[:, :: regime.every, 0] - y
        return {
            "regime": regime.name,
            "case": case,
            "method": name,
            "w1_filter": wasserstein(x, lineages[first]),
            "w1_smoother": wasserstein(x, smoothed[first]),
            "log_dynamics": float(system.log_dynamics(x).mean()),
            "log_observations": float(_log_normal(innovation, regime.error).sum(dim=1).mean()),
            "sd": float(x.std(dim=0).square().mean().sqrt()),
            "seconds": round(seconds, 1),
        }

    rows = pd.DataFrame(
        [
            row("particle filter", lineages[1], 0, reference_seconds),
            row("particle smoother", smoothed[1], 0, reference_seconds),
            row("guided diffusion", guided, 0, seconds),
        ]
    )
    rows["diverged"] = [0, 0, diverged]
    # Number of different states at the first time from which the lineages descend.
    rows["survivors"] = [int(filtered[1].survivors()[0]), -1, -1]
    return Compared(truth, y, guided, tuple(lineages), tuple(smoothed), rows)


def bench_lorenz63(config: Lorenz63Config, output: Path) -> None:
    """Train or load the weights, compare all cases, print and write.

    Args:
        config: The recipe.
        output: Directory, created if missing.

    Raises:
        UserError: The output is not a directory.
    """
    make_output(output)
    windows = _trained(config, output / "denoiser.pt")
    denoiser = TrajectoryDenoiser(windows, 2 * config.score.blanket + 1)
    tables, shown = [], []
    for regime in config.regimes:
        for case in range(config.cases):
            compared = compare(denoiser, config, regime, case)
            tables.append(compared.rows)
            if case == 0:
                shown.append((regime, compared))
            print(_line(compared.rows, config), flush=True)
    results = pd.concat(tables, ignore_index=True)
    table = summarise(results)
    results.to_csv(output / "results.csv", index=False, float_format="%.5g")
    results.to_parquet(output / "results.parquet", index=False)
    table.to_csv(output / "table.csv", index=False, float_format="%.5g")
    draw_trajectories(
        [(regime, c.truth, c.y, c.smoothed[0], c.guided) for regime, c in shown],
        output / "lorenz63.png",
    )
    print_tables(_page(table, config))
    print(f"tables and figure are in {output}")


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Average over cases, and add both distances relative to their floors.

    Args:
        results: Columns as in `compare`.

    Returns:
        One row per regime and method; `ratio_filter` is W1 to the filter over that of a second
        filter, `ratio_smoother` the same for smoothers.
    """
    numbers = ["w1_filter", "w1_smoother", "log_dynamics", "log_observations", "sd"]
    grouped = results.groupby(["regime", "method"], sort=False)
    table = grouped[[*numbers, "seconds"]].mean()
    table["survivors"] = grouped["survivors"].median()
    table["diverged"] = grouped["diverged"].sum()
    table = table.reset_index()
    for kind in ("filter", "smoother"):
        floor = table[table["method"] == f"particle {kind}"].set_index("regime")[f"w1_{kind}"]
        table[f"ratio_{kind}"] = table[f"w1_{kind}"] / table["regime"].map(floor)
    return table


def _trained(config: Lorenz63Config, path: Path) -> WindowDenoiser:
    """Train the denoiser, or read the weights of an earlier training with the same settings."""
    settings = {
        "seed": config.seed,
        "trajectories": config.trajectories,
        "states": config.states,
        "spinup": config.spinup,
        "score": asdict(config.score),
    }
    wanted = json.dumps(settings, sort_keys=True)
    system = Lorenz63()
    keyed = generator(config.seed, "lorenz63", "data")
    if path.exists():
        try:
            kept = load_tensors(path)
        except Exception as error:  # a different type for each kind of damage
            raise UserError(
                f"{path} cannot be read ({type(error).__name__}); it is damaged: remove it"
            ) from error
        if kept["settings"] == wanted:
            print(f"reusing the weights of the same training in {path}", flush=True)
            windows = torch.randn(64, 2 * config.score.blanket + 1, 3, generator=keyed)
            denoiser = WindowDenoiser(windows, config.score)
            denoiser.load_state_dict(kept["weights"])
            return denoiser.eval().requires_grad_(False)
    start = system.spun_up(config.trajectories, config.spinup, keyed)
    x = standardise(system.trajectories(start, config.states, keyed))
    keyed = generator(config.seed, "lorenz63", "train")
    denoiser = train_windows(x, config.score, keyed, lambda line: print(line, flush=True))
    kept = {"settings": wanted, "weights": denoiser.state_dict()}
    with replacing(path) as temporary:
        torch.save(kept, temporary)
    return denoiser


def _line(rows: pd.DataFrame, config: Lorenz63Config) -> str:
    floor, smoother, guided = rows.itertuples()
    return (
        f"{guided.regime}, case {guided.case + 1} of {config.cases}: W1 to the filter "
        f"{guided.w1_filter:.2f}, floor {floor.w1_filter:.2f}; to the smoother "
        f"{guided.w1_smoother:.2f}, floor {smoother.w1_smoother:.2f}; lineages from "
        f"{floor.survivors} first states, {guided.seconds:.0f} s"
    )


def _page(table: pd.DataFrame, config: Lorenz63Config) -> Table:
    page = Table(
        title=f"Lorenz 1963: {config.members} trajectories of {config.length} states, "
        f"{config.cases} cases, {config.particles} particles",
        caption="W1: earth mover's distance to a particle filter (its lineages) and to a particle "
        "smoother (backward simulation), in brackets over that of a second filter or smoother; "
        f"green: within {BAND} of it",
    )
    for heading in ("regime", "method"):
        page.add_column(heading)
    for heading in ("W1 filter", "W1 smoother", "log p(x)", "log p(y|x)", "sd", "s"):
        page.add_column(heading, justify="right", no_wrap=True)
    for row in table.itertuples():
        cells = []
        for distance, ratio in [
            (row.w1_filter, row.ratio_filter),
            (row.w1_smoother, row.ratio_smoother),
        ]:
            text = f"{distance:.2f} ({ratio:.2f})"
            good = row.method == "guided diffusion" and ratio <= BAND
            cells.append(f"[green]{text}[/green]" if good else text)
        numbers = (f"{row.log_dynamics:.1f}", f"{row.log_observations:.1f}", f"{row.sd:.3f}")
        page.add_row(row.regime, row.method, *cells, *numbers, f"{row.seconds:.0f}")
    return page


def _log_normal(error: Tensor, sd: float) -> Tensor:
    return -0.5 * (error / sd).square() - math.log(sd * math.sqrt(2 * math.pi))
