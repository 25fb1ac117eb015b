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
from functools import cache
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
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish
from slams.runtime.ranks import say
from slams.runtime.seeds import generator
from slams.warmups.figures import draw_trajectories
from slams.warmups.kept import reuse
from slams.warmups.lorenz63 import Lorenz63, destandardise, standardise
from slams.warmups.particle_filter import Filtered, bootstrap_filter
from slams.warmups.recipes import Lorenz63Config, RegimeConfig
from slams.warmups.transport import wasserstein
from slams.warmups.window_denoiser import WindowDenoiser, train_windows

__all__ = ["Compared", "bench_lorenz63", "compare", "draw_posterior", "filter_posterior"]

# Accepted W1 to the particle filter, relative to that of a second filter (the floor).
BAND = 1.5
_GUIDED = "guided diffusion"
# Columns of the table: means over cases, and counts.
_NUMBERS = ["w1_filter", "w1_smoother", "log_dynamics", "log_observations", "sd", "seconds"]
_COUNTS = ["diverged", "survivors"]


@dataclass(frozen=True)
class Compared:
    """Result of one case: trajectories `(N, L, 3)` in the system's own coordinates.

    Attributes:
        truth: `(L, 3)`.
        y: `(K,)` standardised observations.
        guided: Trajectories of the guided diffusion.
        smoothed: Trajectories of a particle filter, by backward simulation.
        rows: Rows of the table.
    """

    truth: Tensor
    y: Tensor
    guided: Tensor
    smoothed: Tensor
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

    @cache
    def noise(stream: str) -> Tensor:
        keyed = generator(config.seed, "lorenz63", regime.name, case, stream)
        return torch.randn(config.members, config.length, 3, generator=keyed)

    parts, diverged = [], 0
    for members in torch.arange(config.members).split(config.batch_size):
        first = int(members[0])

        def draw(member: int, stream: str, first: int = first) -> Tensor:
            return noise(stream)[first + member]

        found = sample(guided, config.sampler, draw, len(members))
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
    lineages, smoothed = [], []
    for run in range(2):
        keyed = generator(config.seed, "lorenz63", "filter", regime.name, case, run)
        filtered = filter_posterior(config, regime, y, keyed)
        lineages.append(filtered.lineages(config.members, keyed))
        among = config.backward_particles
        smoothed.append(filtered.backward(config.members, system.log_transitions, keyed, among))
    reference_seconds = (time.perf_counter() - begun) / 2
    begun = time.perf_counter()
    guided, diverged = draw_posterior(denoiser, config, regime, y, case)
    seconds = time.perf_counter() - begun
    # Number of different states at the first time from which the lineages descend.
    survivors = int(filtered.survivors()[0])
    rows = []
    for name, x, taken, *counts in (
        ("particle filter", lineages[1], reference_seconds, 0, survivors),
        ("particle smoother", smoothed[1], reference_seconds, 0, -1),
        (_GUIDED, guided, seconds, diverged, -1),
    ):
        distances = (wasserstein(x, lineages[0]), wasserstein(x, smoothed[0]))
        innovation = standardise(x)[:, :: regime.every, 0] - y
        densities = (
            float(system.log_dynamics(x).mean()),
            float(_log_normal(innovation, regime.error).sum(dim=1).mean()),
        )
        sd = float(x.std(dim=0).square().mean().sqrt())
        rows.append(
            (regime.name, case, name, *distances, *densities, sd, round(taken, 1), *counts)
        )
    table = pd.DataFrame(rows, columns=["regime", "case", "method", *_NUMBERS, *_COUNTS])
    return Compared(truth, y, guided, smoothed[0], table)


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
            say(_line(compared.rows, config))
    results = pd.concat(tables, ignore_index=True)
    table = summarise(results)
    results.to_parquet(output / "results.parquet", index=False)
    draw_trajectories(
        [(regime, c.truth, c.y, c.smoothed, c.guided) for regime, c in shown],
        output / "lorenz63.png",
    )
    publish(output, {"results": results, "table": table}, _page(table, config))


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Average over cases, and add both distances relative to their floors.

    Args:
        results: Columns as in `compare`.

    Returns:
        One row per regime and method; `ratio_filter` is W1 to the filter over that of a second
        filter, `ratio_smoother` the same for smoothers.
    """
    grouped = results.groupby(["regime", "method"], sort=False)
    table = grouped[_NUMBERS].mean()
    table["survivors"] = grouped["survivors"].median()
    table["diverged"] = grouped["diverged"].sum()
    table = table.reset_index()
    for kind in ("filter", "smoother"):
        floor = table[table["method"] == f"particle {kind}"].set_index("regime")[f"w1_{kind}"]
        table[f"ratio_{kind}"] = table[f"w1_{kind}"] / table["regime"].map(floor)
    return table


def _trained(config: Lorenz63Config, path: Path) -> WindowDenoiser:
    """Train the denoiser, or read the weights of an earlier training with the same settings."""
    names = ("seed", "trajectories", "states", "spinup", "score")
    settings = {name: asdict(config)[name] for name in names}
    system = Lorenz63()
    keyed = generator(config.seed, "lorenz63", "data")

    def train() -> dict[str, Tensor]:
        start = system.spun_up(config.trajectories, config.spinup, keyed)
        x = standardise(system.trajectories(start, config.states, keyed))
        draws = generator(config.seed, "lorenz63", "train")
        return train_windows(x, config.score, draws, say).state_dict()

    wanted = json.dumps(settings, sort_keys=True)
    weights = reuse(path, "the weights", wanted, train, ("settings", "weights"))
    # Some windows: what the denoiser takes from them is among the weights.
    denoiser = WindowDenoiser(torch.randn(64, 2 * config.score.blanket + 1, 3), config.score)
    denoiser.load_state_dict(weights)
    return denoiser.eval().requires_grad_(False)


def _line(rows: pd.DataFrame, config: Lorenz63Config) -> str:
    floor, smoother, guided = rows.itertuples()
    return (
        f"{guided.regime}, case {guided.case + 1} of {config.cases}: W1 to the filter "
        f"{guided.w1_filter:.2f}, floor {floor.w1_filter:.2f}; to the smoother "
        f"{guided.w1_smoother:.2f}, floor {smoother.w1_smoother:.2f}; lineages from "
        f"{floor.survivors} first states, {guided.seconds:.0f} s"
    )


def _page(table: pd.DataFrame, config: Lorenz63Config) -> Table:
    rows = []
    for row in table.itertuples():
        cells = []
        for distance, ratio in (
            (row.w1_filter, row.ratio_filter),
            (row.w1_smoother, row.ratio_smoother),
        ):
            text = f"{distance:.2f} ({ratio:.2f})"
            good = row.method == _GUIDED and ratio <= BAND
            cells.append(f"[green]{text}[/green]" if good else text)
        numbers = (f"{row.log_dynamics:.1f}", f"{row.log_observations:.1f}", f"{row.sd:.3f}")
        rows.append((row.regime, row.method, *cells, *numbers, f"{row.seconds:.0f}"))
    return make_table(
        f"Lorenz 1963: {config.members} trajectories of {config.length} states, {config.cases} "
        f"cases, {config.particles} particles",
        ("regime", "method", "W1 filter", "W1 smoother", "log p(x)", "log p(y|x)", "sd", "s"),
        rows,
        "W1: earth mover's distance to a particle filter (its lineages) and to a particle "
        "smoother (backward simulation), in brackets over that of a second filter or smoother; "
        f"green: within {BAND} of it",
        texts=2,
    )


def _log_normal(error: Tensor, sd: float) -> Tensor:
    return -0.5 * (error / sd).square() - math.log(sd * math.sqrt(2 * math.pi))
