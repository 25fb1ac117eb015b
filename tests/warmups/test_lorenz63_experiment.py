"""`slams bench lorenz63`: the whole of it in small, and the recipes that it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from slams.cli import main
from slams.config.loading import load
from slams.errors import UserError
from slams.warmups.lorenz63_experiment import summarise
from slams.warmups.recipes import Lorenz63Config, check_lorenz63

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "lorenz63"
TINY = """
trajectories: 16
states: 24
spinup: 20
score: {blanket: 1, width: 16, blocks: 1, local_width: 4, batch_size: 32, optimizer: {steps: 30}}
cases: 1
length: 9
members: 6
batch_size: 4
particles: 64
backward_particles: 32
regimes:
  - {name: low, every: 4, error: 0.05}
  - {name: high, every: 1, error: 0.25}
sampler: {steps: 6, sigma_max: 10.0, sigma_min: 0.02}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_the_verb_prints_and_writes_everything(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "here"
    command = ["bench", "lorenz63", str(recipe), "--output", str(output)]
    assert main.main(command) == 0
    results = pd.read_csv(output / "results.csv")
    assert len(results) == 2 * 3
    methods = ["particle filter", "particle smoother", "guided diffusion"]
    assert list(results["method"][:3]) == methods
    numbers = ["w1_filter", "w1_smoother", "log_dynamics", "log_observations", "sd"]
    assert results[numbers].notna().all(axis=None)
    assert len(pd.read_parquet(output / "results.parquet")) == 6
    assert (output / "lorenz63.png").stat().st_size > 20_000
    printed = capsys.readouterr().out
    assert "loss" in printed
    row = pd.read_csv(output / "table.csv").iloc[2]
    assert f"{row.w1_filter:.2f} ({row.ratio_filter:.2f})" in printed
    # The weights are found again, members do not depend on how many are sampled at a time.
    assert main.main([*command, "batch_size=6"]) == 0
    assert "reusing the weights" in capsys.readouterr().out
    again = pd.read_csv(output / "results.csv")
    assert again[numbers].sub(results[numbers]).abs().max(axis=None) < 0.01
    # Another training is another network.
    assert main.main([*command, "score.optimizer.steps=29"]) == 0
    assert "reusing the weights" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("score.blanket=0", "'score.blanket': found 0"),
        ("score.local_width=-1", "'score.local_width': found -1"),
        ("score.precision=64-true", "'score.precision': found '64-true'"),
        ("length=2", "at least the 3 states of a window"),
        ("particles=5", "at least members, 6"),
        ("backward_particles=65", "1 to particles, 64"),
        ("regimes=[]", "'regimes': found none"),
        ("regimes.0.every=3", "a divisor of length - 1, 8"),
        ("regimes.1.error=0", "'regimes.1.error'"),
        ("regimes.1.name=low", "'regimes.0.name': found 'low'"),
        ("guidance.kind=decg", "'guidance.kind': found 'decg'"),
        ("sampler.kind=euler", "'sampler.kind'"),
        ("sampler.sigma_max=0.01", "more than sampler.sigma_min, 0.02"),
        ("score.optimizer.clip=0", "'score.optimizer.clip'"),
        ("score.blankets=2", "did you mean 'score.blanket'?"),
    ],
)
def test_recipes_that_are_refused(recipe: Path, override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(recipe, [override], Lorenz63Config, check_lorenz63)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["small.yaml", "full.yaml"])
def test_the_recipes_have_the_protocol_of_their_source(name: str) -> None:
    config = load(EXPERIMENTS / name, (), Lorenz63Config, check_lorenz63)
    assert (config.length, config.members, config.particles) == (65, 1024, 16384)
    assert [(r.every, r.error) for r in config.regimes] == [(8, 0.05), (1, 0.25)]


def test_ratios_are_to_the_floor_of_the_same_regime() -> None:
    columns = ["regime", "case", "method", "w1_filter", "w1_smoother"]
    rows = [
        ("a", 0, "particle filter", 2.0, 5.0),
        ("a", 0, "particle smoother", 3.0, 1.0),
        ("a", 0, "guided diffusion", 3.0, 2.0),
        ("a", 1, "particle filter", 4.0, 5.0),
        ("a", 1, "particle smoother", 3.0, 1.0),
        ("a", 1, "guided diffusion", 5.0, 4.0),
        ("b", 0, "particle filter", 1.0, 5.0),
        ("b", 0, "particle smoother", 3.0, 2.0),
        ("b", 0, "guided diffusion", 3.0, 2.0),
    ]
    results = pd.DataFrame(rows, columns=columns)
    for name in ("log_dynamics", "log_observations", "sd", "seconds", "survivors", "diverged"):
        results[name] = 1.0
    table = summarise(results).set_index(["regime", "method"])
    assert table.loc[("a", "guided diffusion"), "ratio_filter"] == pytest.approx(4 / 3)
    assert table.loc[("a", "guided diffusion"), "ratio_smoother"] == pytest.approx(3)
    assert table.loc[("b", "guided diffusion"), "ratio_filter"] == pytest.approx(3)
    assert table.loc[("b", "particle smoother"), "ratio_smoother"] == 1
