"""Kill every verb at random moments, run it again, and compare what it ends with.

    python -m tests.faults.kills [--kills 110] [--seed N] [--minutes 30] [--only NAME ...]

Each verb runs once without interruption. Then, in copies of what it started from, it is killed up
to three times at moments drawn over its run time, by SIGKILL, SIGTERM, SIGINT, SIGUSR1 or two of
them at once, and run to its end: stores, weights, tables, analyses and figures must be those of
the first time, no MLflow run lost or doubled, and nothing left behind. Exit code 1 where one of
this failed; the seed and the directory of each failure are printed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import digests, forks
from tests.faults.forks import Outcome

# Exit codes of a command that was stopped in good order, and of one that could finish.
_STOPPED = {0, 75, 128 + signal.SIGINT, 128 + signal.SIGTERM}
_MOST_KILLS = 3


@dataclass
class Scenario:
    """A verb, what it starts from, and what it must end with.

    Attributes:
        name: For the table.
        words: Verb, recipe and overrides.
        results: Patterns of what must be the same.
        stages: Run directories whose MLflow runs are looked at.
        copies: Look at the copies on a server instead.
        base: Directory that it starts from.
        expected: The results of the uninterrupted run.
        seconds: How long that took.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    stages: tuple[str, ...] = ()
    copies: bool = False
    base: Path = Path()
    expected: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    kills: int = 0
    tries: int = 0


_TRAINED = ("checkpoints/*.ckpt", "metrics.csv", "*.parquet")
_ANALYSED = ("*.parquet", "analysis.zarr", "stations*.csv")
_SWEEP = tuple(f"runs/tiny/fewer/**/{name}" for name in _ANALYSED)
# In this order each starts from what the one before has left.
SCENARIOS = (
    Scenario("simulate", ("simulate", "recipe.yaml"), ("simulated.zarr",)),
    Scenario("prepare", ("prepare", "recipe.yaml"), ("store.zarr",)),
    Scenario(
        "store's birth",
        ("train", "vae", "recipe.yaml", "experiment=born", "vae.optimizer.steps=9"),
        tuple(f"runs/born/vae/{name}" for name in _TRAINED),
        ("born/vae",),
    ),
    Scenario(
        "train vae",
        ("train", "vae", "recipe.yaml"),
        tuple(f"runs/tiny/vae/{name}" for name in _TRAINED),
        ("tiny/vae",),
    ),
    Scenario(
        "train score",
        ("train", "score", "recipe.yaml"),
        (*(f"runs/tiny/score/{name}" for name in _TRAINED), "runs/tiny/vae/latents*.zarr"),
        ("tiny/score",),
    ),
    Scenario(
        "train filter",
        ("train", "filter", "recipe.yaml"),
        tuple(f"runs/tiny/filter/{name}" for name in _TRAINED),
        ("tiny/filter",),
    ),
    Scenario("filter", ("filter", "recipe.yaml"), ("forecasts.zarr",)),
    Scenario(
        "assimilate",
        ("assimilate", "recipe.yaml"),
        tuple(f"runs/tiny/assimilation/{name}" for name in _ANALYSED),
        ("tiny/assimilation",),
    ),
    Scenario(
        "report",
        ("report", "recipe.yaml"),
        ("runs/tiny/assimilation/report/figures/*.png",),
        ("tiny/assimilation",),
    ),
    Scenario(
        "export",
        ("export", "runs/tiny/assimilation", "--output", "bundle"),
        ("bundle/*.safetensors", "bundle/config.yaml", "bundle/store.zarr"),
    ),
    Scenario(
        "analyse",
        ("analyse", "bundle", "--time", "2001-03-30", "--members", "2"),
        ("analysis.nc",),
    ),
    Scenario(
        "cycle",
        ("cycle", "bundle", "--start", "2001-03-28", "--days", "6", "--members", "2"),
        ("cycle/*",),
    ),
    Scenario("ablate", ("ablate", "fewer.yaml"), _SWEEP),
    Scenario(
        "compare",
        ("compare", "fewer.yaml"),
        ("runs/tiny/fewer/comparison/*.csv", "runs/tiny/fewer/comparison/*.md"),
    ),
    Scenario(
        "sync",
        ("sync", "recipe.yaml", "tracking.uri=sqlite:///server/mlflow.db"),
        (),
        copies=True,
    ),
)


def main() -> int:
    """Make all kills; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=110)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", nargs="*", default=[s.name for s in SCENARIOS])
    arguments = parser.parse_args()
    started = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="slams-kills-"))
    print(f"seed {arguments.seed}, in {root}", flush=True)
    forks.import_everything()
    _stand_in()
    forks.call(_write_recipes, root / "base")
    print(f"{time.monotonic() - started:.0f} s: imported", flush=True)
    chosen = _references(root, arguments.only)
    rng = random.Random(arguments.seed)
    failures: list[str] = []
    number = 0
    while sum(s.kills for s in chosen) < arguments.kills:
        if time.monotonic() - started > 60 * arguments.minutes:
            failures.append(f"only {sum(s.kills for s in chosen)} kills in the time there was")
            break
        # Where fewest kills were made, weighed so that short verbs come as often as long ones.
        scenario = min(chosen, key=lambda s: (s.kills, rng.random()))
        number += 1
        failure = _trial(scenario, root / f"try-{number}", rng)
        if failure:
            failures.append(failure)
            print(failure, flush=True)
    for scenario in chosen:
        print(f"{scenario.name:14} {scenario.kills:3} kills in {scenario.tries} tries, "
              f"{scenario.seconds:.1f} s uninterrupted")  # fmt: skip
    minutes = (time.monotonic() - started) / 60
    kills = sum(s.kills for s in chosen)
    print(f"{kills} kills, {len(failures)} failures, {minutes:.1f} min, seed {arguments.seed}")
    for failure in failures:
        print(failure)
    if not failures:
        shutil.rmtree(root)
    return 1 if failures else 0


def _references(root: Path, only: list[str]) -> list[Scenario]:
    """Run every verb once, and keep what each started from."""
    here = root / "base"
    last = max(i for i, s in enumerate(SCENARIOS) if s.name in only)
    for position, scenario in enumerate(SCENARIOS[: last + 1]):
        scenario.base = root / f"from-{position}"
        shutil.copytree(here, scenario.base, symlinks=True)
        outcome = forks.run(scenario.words, here)
        if outcome.code:
            raise SystemExit(f"{scenario.name} fails uninterrupted:\n{outcome.output}")
        scenario.expected = forks.call(digests.digest, here, scenario.results)
        scenario.seconds = outcome.seconds
        wrong = _wrong(scenario, here)
        if wrong or not (scenario.expected or scenario.copies):
            raise SystemExit(f"{scenario.name}, uninterrupted: {wrong}, {scenario.results}")
        print(f"{scenario.name}: {outcome.seconds:.1f} s uninterrupted", flush=True)
    return [s for s in SCENARIOS if s.name in only]


def _trial(scenario: Scenario, directory: Path, rng: random.Random) -> str:
    """Kill a verb some times and let it finish; return what is wrong then."""
    shutil.copytree(scenario.base, directory, symlinks=True)
    scenario.tries += 1
    history, outputs = [], []
    for _ in range(_MOST_KILLS):
        # As far behind the start as in front of the end: what is done once is short.
        after = scenario.seconds * rng.betavariate(0.9, 0.9)
        signals = forks.choose_signals(rng)
        outcome = forks.run(scenario.words, directory, signals, after)
        names = "+".join(s.name for s in signals)
        history.append(f"{names if outcome.hit else 'none'} after {after:.2f} s: {outcome.code}")
        outputs.append(outcome.output)
        scenario.kills += outcome.hit
        fault = _fault(outcome, signals)
        if fault:
            break
        if not outcome.hit or outcome.code == 0:
            break
    else:
        fault = ""
    if not fault:
        outcome = forks.run(scenario.words, directory)
        outputs.append(outcome.output)
        if outcome.code:
            fault = f"the same command ends with {outcome.code}"
        else:
            fault = "; ".join(_wrong(scenario, directory))
    if not fault:
        shutil.rmtree(directory)
        return ""
    text = "\n-----\n".join(outputs)
    (directory / "outputs.txt").write_text(text)
    return f"{scenario.name}: {fault} ({', '.join(history)}; {directory}/outputs.txt)"


def _fault(outcome: Outcome, signals: list[signal.Signals]) -> str:
    """Say what is wrong with the end of a command that was sent signals."""
    if "Traceback" in outcome.output:
        return "it shows a traceback"
    if not outcome.hit and outcome.code:
        return f"it ends with {outcome.code} by itself"
    # A signal that comes before the program listens ends the process.
    allowed = _STOPPED | {-signum for signum in signals}
    return "" if outcome.code in allowed else f"it ends with {outcome.code}"


def _wrong(scenario: Scenario, directory: Path) -> list[str]:
    """Say what is not as after an uninterrupted command."""
    found = forks.call(digests.digest, directory, scenario.results)
    names = found.keys() | scenario.expected.keys()
    wrong = [n for n in sorted(names) if found.get(n) != scenario.expected.get(n)]
    wrong = [f"other bytes in {', '.join(wrong[:5])}"] if wrong else []
    left = digests.leftovers(directory)
    wrong += [f"left behind: {', '.join(left[:5])}"] if left else []
    wrong += digests.tracked(directory, scenario.stages)
    return wrong + (digests.synced(directory) if scenario.copies else [])


def _stand_in() -> None:
    """Put a small model in the place of jcm, whose pieces take minutes."""
    from data_modules.nature_run import speedy
    from tests.data_modules.nature_run import stand_in

    speedy.SpeedyModel = stand_in.StandIn
    speedy.model_versions = lambda: stand_in.VERSIONS
    speedy.forcing_digest = lambda: "f" * 64


def _write_recipes(base: Path) -> None:
    """Write a source and the recipes of all verbs, every path relative to their directory."""
    from slams.config.loading import to_yaml
    from slams.config.schema import FilterConfig, OptimizerConfig, SimulateConfig, TrackingConfig
    from tests.stages.commands import study
    from tests.synthetic import nature_run

    (base / "server").mkdir(parents=True)
    os.chdir(base)
    nature_run().to_zarr("nature.zarr", zarr_format=3, consolidated=False)
    config = study(Path("."), Path("nature.zarr"), test_cases=3)
    config.filter = FilterConfig(
        output="forecasts.zarr",
        channels=[8],
        blocks=1,
        embedding=8,
        hidden=8,
        stretch=20,
        batch_size=2,
    )
    for stage in (config.vae, config.score, config.filter):
        stage.optimizer = OptimizerConfig(steps=36, warmup_steps=5, ema=0.9)
    config.assimilation.modality_study = 0
    config.trainer.checkpoint_every_steps = 4
    config.tracking = TrackingConfig(system_metrics=False)
    config.simulate = SimulateConfig(
        output="simulated.zarr", start="1990-01-31", months=12, spinup_days=5
    )
    Path("recipe.yaml").write_text(to_yaml(config))
    Path("fewer.yaml").write_text(
        "extends: recipe.yaml\n"
        "assimilation: {methods: [background, optimal_interpolation]}\n"
        "ablation: {grid: {observations.stations.count: [10, 20]}}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
