"""`slams bench sampler`, `train` and `scaling`: the same dates and scores as an evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from slams.benchmarks.recipes import CostConfig, check_cost
from slams.benchmarks.sampler_cost import sampler_table
from slams.cli.main import main
from slams.config.loading import to_yaml
from slams.errors import UserError
from slams.plugins.keys import check_keys
from tests.stages.conftest import Study


def cost_recipe(directory: Path, recipes: dict[str, Path], **keys: object) -> Path:
    lines = ["recipes:"] + [f"  {name}: {path}" for name, path in recipes.items()]
    lines += [f"{key}: {value}" for key, value in keys.items()]
    path = directory / "cost.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_scores_are_those_of_an_evaluation(
    finished: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = pd.read_parquet(finished.run("assimilation") / "results.parquet")
    mean = results[
        (results.method == "latent_diffusion")
        & (results.variable == "temperature")
        & (results.metric == "crps")
        & (results.level == "mean")
    ]
    count, members = int(mean.n.iloc[0]), finished.config.assimilation.members
    other = tmp_path / "other.yaml"
    sampler = replace(finished.config.assimilation.sampler, steps=7)
    settings = replace(finished.config.assimilation, sampler=sampler)
    other.write_text(to_yaml(replace(finished.config, assimilation=settings)))
    path = cost_recipe(
        tmp_path, {"ours": finished.recipe, "more": other}, cases=count, members=members
    )
    command = ["bench", "sampler", str(path), "--output", str(tmp_path / "here")]
    assert main(command) == 0
    table = pd.read_csv(tmp_path / "here/sampler.csv")
    assert list(table.recipe) == ["ours", "more"] * count
    ours = table[table.recipe == "ours"]
    assert ours.crps.mean() == pytest.approx(float(mean.value.iloc[0]), rel=1e-4)
    assert table[table.recipe == "more"].crps.mean() != pytest.approx(ours.crps.mean(), rel=1e-6)
    assert (table.seconds_per_member > 0).all()
    assert (table.parameters == table.parameters.iloc[0]).all()
    assert (tmp_path / "here/sampler.png").stat().st_size > 5_000
    assert "(least, most)" in capsys.readouterr().out


def test_recipes_of_other_dates_are_refused(finished: Study, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    first, last = finished.config.data.splits.test
    moved = str((pd.Timestamp(first) + pd.Timedelta(days=1)).date())
    splits = replace(finished.config.data.splits, test=[moved, last])
    other.write_text(
        to_yaml(replace(finished.config, data=replace(finished.config.data, splits=splits)))
    )
    config = CostConfig(recipes={"a": str(finished.recipe), "b": str(other)}, cases=2, members=2)
    with pytest.raises(UserError, match="'a' and 'b' verify other dates"):
        sampler_table(config)
    with pytest.raises(UserError, match=r"'cases': found 999.*recipe 'a' has"):
        sampler_table(replace(config, cases=999))


def test_training_steps_of_each_stage(finished: Study, tmp_path: Path) -> None:
    path = cost_recipe(tmp_path, {"ours": finished.recipe}, steps=1, repetitions=2, busy=[0, 1])
    assert main(["bench", "train", str(path), "--output", str(tmp_path / "here")]) == 0
    table = pd.read_csv(tmp_path / "here/train.csv")
    assert list(table.stage) == ["vae", "score"] * 4
    assert list(table.busy) == [0, 0, 1, 1] * 2
    assert (table.samples_per_second > 0).all()


@pytest.mark.slow
def test_scaling_trains_and_leaves_nothing(finished: Study, tmp_path: Path) -> None:
    path = cost_recipe(
        tmp_path,
        {"ours": finished.recipe},
        ranks=[1],
        scaling_steps=4,
        sampler_steps=[2, 4],
        sampler_members=[2, 3],
        analysis="{reports: [20, 40], fixed_reports: 20, grids: [12x24], members: [2], days: [9]}",
    )
    assert main(["bench", "scaling", str(path), "--output", str(tmp_path / "here")]) == 0
    ranks = pd.read_csv(tmp_path / "here/ranks.csv")
    assert ranks.efficiency.iloc[0] == 1
    sampling = pd.read_csv(tmp_path / "here/sampling.csv")
    assert list(sampling.steps) == [2, 4, 4, 4]
    assert len(pd.read_csv(tmp_path / "here/denoiser.csv")) == 9
    analysis = pd.read_csv(tmp_path / "here/analysis.csv")
    assert set(analysis.varied) >= {"reports", "grid", "members", "days"}
    assert (analysis.memory_mb > 0).all()
    assert "exponents.csv" in {path.name for path in (tmp_path / "here").iterdir()}
    for name in ("scaling.png", "analysis.png"):
        assert (tmp_path / "here" / name).stat().st_size > 10_000
    assert not list(Path(finished.config.runs).glob("bench-scaling*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"recipes": {}}, "'recipes': found none"),
        ({"recipes": {"a": "nowhere.yaml"}}, r"'recipes\.a': nowhere\.yaml is not there"),
        ({"recipes": {"a": 3}}, r"'recipes\.a': found 3"),
        ({"members": 1}, "'members'.*at least 2"),
        ({"ranks": []}, "'ranks': .* at least one entry"),
        ({"busy": [0, -1]}, r"'busy\.1': found -1, expected at least 0"),
    ],
)
def test_what_contradicts_itself_is_refused(
    words: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("")
    config = replace(CostConfig(recipes={"a": str(recipe)}), **words)

    def check() -> None:
        check_keys(config)
        check_cost(config)

    with pytest.raises(UserError, match=sentence):
        check()
