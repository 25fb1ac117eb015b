"""The recipes that `slams init` copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from slams.cli.main import main
from slams.cli.verb import recipe_schema
from slams.cli.verbs import VERBS
from slams.config.loading import load
from slams.config.shipped import copy_recipe, recipe_names
from slams.errors import UserError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
# Recipes with a schema of their own, by their folder or name.
_OTHER = {
    "kolmogorov/": "bench kolmogorov",
    "lorenz63/": "bench lorenz63",
    "benchmarks/climate": "bench climate",
    "benchmarks/cost": "bench sampler",
    "benchmarks/prepare": "bench prepare",
    "benchmarks/state": "bench state",
    "benchmarks/threads": "bench train",
}


@pytest.mark.parametrize("name", recipe_names())
def test_a_copy_can_be_read_without_the_clone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *rest = copy_recipe(name, Path("experiments"))
    assert first == Path("experiments", f"{name}.yaml")
    for copy in (first, *rest):
        original = EXPERIMENTS / copy.relative_to("experiments")
        assert copy.read_bytes() == original.read_bytes()
    schema = next(
        (VERBS[verb].schema for part, verb in _OTHER.items() if name.startswith(part)),
        recipe_schema,
    )
    load(first, [], *schema())


def test_every_recipe_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    listed = capsys.readouterr().out.split()
    expected = {p.relative_to(EXPERIMENTS).as_posix() for p in EXPERIMENTS.rglob("*.yaml")}
    assert {f"{name}.yaml" for name in listed} == expected


def test_a_file_of_the_users_is_not_replaced(tmp_path: Path) -> None:
    copy_recipe("demo", tmp_path)
    copy_recipe("demo", tmp_path)  # the same files again
    (tmp_path / "demo.yaml").write_text("experiment: mine\n")
    with pytest.raises(UserError, match=r"demo\.yaml exists and differs"):
        copy_recipe("cycling", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dmo"], "recipe: found 'dmo'; did you mean 'demo'?"),
        (["../demo"], "did you mean 'demo'?"),
        (["demo", "seed=1"], "takes no recipe and no overrides"),
        (["demo", "--output", "taken/below"], "taken"),
    ],
)
def test_wrong_words_are_refused_in_one_sentence(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("")
    assert main(["init", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
