"""Comparisons of settings whose scores are made up, so that the answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from slams.cli.main import main
from slams.comparison.scores import degradation, read_settings, score_settings
from slams.comparison.tables import settings_table
from slams.errors import UserError
from slams.runs.record import RunRecord
from slams.runs.sweep_record import keep_failure
from slams.sweeps import expand
from tests.sweeps.test_sweeps import BASE

DAYS = [str(day) for day in np.arange("1982-07-10", "1982-08-03", dtype="datetime64[D]")]
LEVELS = ("850", "500")
METHODS = ("optimal_interpolation", "latent_diffusion", "optimal_interpolation@score_mean")


def crps(method: str, block: int, seed: int) -> np.ndarray:
    """Return CRPS by date: growing fastest from the forecast, slowest from the background."""
    weather = 1 + 0.3 * np.sin(np.arange(len(DAYS)))
    noise = 0.01 * np.random.default_rng([block, seed, len(method)]).standard_normal(len(DAYS))
    growth = dict(zip(METHODS, (0.02, 0.06, 0.09), strict=True))[method]
    first = dict(zip(METHODS, (1.0, 0.6, 0.7), strict=True))[method]
    return first * (1 + growth * (block - 4)) * weather + noise


def write_run(path: Path, name: str, block: int, seed: int) -> None:
    """Write a finished run directory of made-up scores."""
    path.mkdir(parents=True)
    cases, results = [], []
    for method in METHODS:
        values = crps(method, block, seed)
        for level in LEVELS:
            for statistic, series in (("crps", values), ("mse", values**2)):
                cases += [
                    (method, name, i, day, "temperature", level, statistic, value)
                    for i, (day, value) in enumerate(zip(DAYS, series, strict=True))
                ]
        row = (method, name, "temperature", "mean")
        results.append((*row, "crps", values.mean(), np.nan, np.nan, len(DAYS)))
        results.append((*row, "wasserstein", 0.01 * block, 0.009 * block, 0.02 * block, len(DAYS)))
    columns = ["method", "setting", "variable", "level", "metric", "value", "lower", "upper", "n"]
    pd.DataFrame(results, columns=columns).to_parquet(path / "results.parquet")
    columns = ["method", "setting", "case", "date", "variable", "level", "statistic", "value"]
    pd.DataFrame(cases, columns=columns).to_parquet(path / "cases.parquet")
    recipe = {
        "seed": seed,
        "observations": {"degraded": {"block": block}},
        "assimilation": {"setting": name, "bootstrap_block": 3, "bootstrap_samples": 200},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(recipe))
    RunRecord("id", "assimilation", "tiny", status="finished").write(path)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a recipe whose sweep has run for three blocks and two seeds, but for one setting."""
    base = BASE.replace("RUNS", str(tmp_path / "runs"))
    (tmp_path / "base.yaml").write_text(base + "tracking: {enabled: false}\n")
    path = tmp_path / "coarse.yaml"
    path.write_text(
        "extends: base.yaml\n"
        "ablation:\n"
        "  published: paper.csv\n"
        "  grid: {observations.degraded.block: [4, 8, 16], seed: [0, 1]}\n"
    )
    (tmp_path / "paper.csv").write_text(
        "key,value,method,metric,result\n"
        "observations.degraded.block,4,pixel,wasserstein,0.020\n"
        "observations.degraded.block,15,pixel,wasserstein,0.158\n"
    )
    (tmp_path / "paper.md").write_text("- Another atmosphere.\n")
    sweep = expand(path)
    for setting in sweep.settings[:-1]:
        block = setting.overrides["observations.degraded.block"]
        write_run(setting.directory, setting.name, block, setting.overrides["seed"])
    last = sweep.settings[-1]
    keep_failure(sweep.directory, last.name, "MemoryError: too much", "")
    return path


def test_seeds_are_averaged_and_settings_compared_date_by_date(recipe: Path) -> None:
    sweep = expand(recipe)
    paths = [s.directory for s in sweep.settings[:-1]]
    varied = {s.name: s.overrides for s in sweep.settings}
    settings = read_settings(paths, varied)
    assert [(s.name, len(s.seeds)) for s in settings] == [
        ("block_4", 2),
        ("block_8", 2),
        ("block_16", 1),
    ]
    rows = {(r.setting.name, r.method): r for r in score_settings(settings, "crps", "block_4")}
    row = rows["block_8", "latent_diffusion"]
    both = (crps("latent_diffusion", 8, 0) + crps("latent_diffusion", 8, 1)) / 2
    assert row.estimate.value == pytest.approx(both.mean())
    assert row.estimate.lower < both.mean() < row.estimate.upper
    means = [crps("latent_diffusion", 8, seed).mean() for seed in (0, 1)]
    assert row.seed_sd == pytest.approx(np.std(means, ddof=1))
    first = (crps("latent_diffusion", 4, 0) + crps("latent_diffusion", 4, 1)) / 2
    assert row.comparison.relative == pytest.approx(both.mean() / first.mean() - 1)
    assert row.verdict == "worse"
    assert np.isnan(rows["block_16", "latent_diffusion"].seed_sd)
    assert rows["block_4", "latent_diffusion"].verdict == "baseline"
    # Against a method: within each setting.
    rows = {(r.setting.name, r.method): r for r in score_settings(settings, "crps", METHODS[0])}
    assert rows["block_4", "latent_diffusion"].verdict == "better"
    assert rows["block_16", "latent_diffusion"].comparison.relative == pytest.approx(
        0.6 * 1.72 / 1.24 - 1, abs=0.02
    )
    # What the tables only give as a result has no paired difference.
    rows = score_settings(settings, "wasserstein", "block_4")
    assert {r.setting.name: r.estimate.value for r in rows} == pytest.approx(
        {"block_4": 0.04, "block_8": 0.08, "block_16": 0.16}
    )
    assert {r.verdict for r in rows} == {"baseline", ""}


def test_which_method_degrades_faster(recipe: Path) -> None:
    paths = [s.directory for s in expand(recipe).settings[:-1]]
    settings = read_settings(paths)
    assert [s.overrides for s in settings] == [
        {"observations.degraded.block": block} for block in (4, 8, 16)
    ]
    names = [s.name for s in settings]
    found = degradation(settings, METHODS[1], METHODS[0], "crps", names[0])
    own, other, excess = found[names[2]]
    assert own.relative == pytest.approx(0.72, abs=0.02)
    assert other.relative == pytest.approx(0.24, abs=0.02)
    assert excess.relative == pytest.approx(1.72 / 1.24 - 1, abs=0.02)
    assert excess.lower > 0
    same = degradation(settings, METHODS[0], METHODS[0], "crps", names[0])[names[2]][2]
    assert (same.relative, same.lower, same.upper) == pytest.approx((0, 0, 0), abs=1e-12)


def test_degradation_is_held_against_every_first_guess(recipe: Path) -> None:
    assert main(["compare", str(recipe)]) == 0
    text = (expand(recipe).directory / "comparison/crps.md").read_text(encoding="utf-8")
    verdicts = {}
    for table in text.split("**How ")[1:]:
        other = table.splitlines()[0].partition(" against ")[2].rstrip("*")
        rows = [line for line in table.splitlines() if line.startswith("| block_")]
        verdicts[other] = {row.split("|")[-2].strip() for row in rows}
    assert list(verdicts.values()) == [{"faster"}, {"slower"}]
    assert [" on score mean" in other for other in verdicts] == [False, True]


def test_compare_writes_every_format(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(recipe)]) == 0
    printed = capsys.readouterr().out
    assert "| block_16 | latent diffusion |" in printed
    assert "seed_1 is omitted: it failed, MemoryError: too much" in printed
    output = expand(recipe).directory / "comparison"
    assert {p.name for p in output.iterdir()} == {
        *(f"crps.{suffix}" for suffix in ("md", "csv", "tex", "html", "png")),
        "relative_crps.png",
    }
    assert "| faster |" in (output / "crps.md").read_text()
    table = pd.read_csv(output / "crps.csv")
    assert list(table["observations.degraded.block"]) == [
        block for block in (4, 8, 16) for _ in METHODS
    ]
    latex = (output / "crps.tex").read_text()
    assert r"block\_16 & latent diffusion" in latex
    assert r"\toprule" in latex
    page = (output / "crps.html").read_text()
    assert page.count("<img") == 2
    assert "http" not in page.replace("http-equiv", "")


def test_published_figures_stand_beside_ours(recipe: Path, tmp_path: Path) -> None:
    words = ["--metric", "wasserstein", "--format", "md", "--output", str(tmp_path / "out")]
    assert main(["compare", str(recipe), *words]) == 0
    text = (tmp_path / "out" / "wasserstein.md").read_text()
    assert "| 4 | 0.020 | 0.040 [" in text
    assert "| 15 | 0.158 | – | – |" in text
    assert "| 8 | – | 0.080 [" in text
    assert "- Another atmosphere." in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--metric", "crsp"], "--metric: found 'crsp', expected one of crps, wasserstein"),
        (["--baseline", "nothing"], "--baseline: found 'nothing', expected a setting"),
        (["--format", "markdown"], "--format: found 'markdown'"),
        (["--basline", "a"], "did you mean '--baseline'?"),
    ],
)
def test_comparisons_are_refused_in_one_sentence(
    recipe: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(recipe), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_run_directories_are_compared_without_a_recipe(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = expand(recipe)
    paths = [str(s.directory) for s in sweep.settings[:4:2]]
    assert main(["compare", *paths, "--format", "csv", "--output", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "crps.csv")
    assert list(table["observations.degraded.block"]) == [
        block for block in (4, 8) for _ in METHODS
    ]
    assert main(["compare", paths[0], "nowhere"]) == 2
    assert "nowhere is not a run directory" in capsys.readouterr().err


def test_scores_of_different_estimators_are_not_compared(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that does not say is from before they were numbered."""
    paths = [setting.directory for setting in expand(recipe).settings[:-1]]
    for path in paths:
        RunRecord("id", "assimilation", "tiny", status="finished", estimator=2).write(path)
    settings = read_settings(paths)
    assert {setting.estimator for setting in settings} == {2}
    table = settings_table(score_settings(settings, "crps"), "CRPS", "")
    assert any("estimators of version 2" in note for note in table.notes)
    record = json.loads((paths[1] / "run.json").read_text())
    del record["estimator"]
    (paths[1] / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"by estimators of version 1, .* by version 2"):
        read_settings(paths)
