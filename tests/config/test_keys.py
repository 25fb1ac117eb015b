"""A key's rules stand at the key: refusals and help are made of them; old names are read."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from slams.cli.parser import parse
from slams.cli.verb import Verb
from slams.cli.verbs import VERBS
from slams.config.help import EXTENDS, format_help, list_keys
from slams.config.loading import load
from slams.config.paths import PATH
from slams.config.renamed import RENAMED
from slams.config.schema import Config
from slams.config.validation import dotted_keys
from slams.errors import UserError
from slams.plugins.keys import (
    DISTINCT,
    SHARE,
    at_least,
    check_keys,
    distinct,
    each,
    key,
    not_empty,
    one_of,
    optional,
    registered,
    that,
)
from slams.plugins.sources import SOURCES


@dataclass
class Entry:
    """An entry of a list."""

    share: float = key(0.5, SHARE)


@dataclass
class Section:
    """A section."""

    # Number of steps.
    steps: int = key(3, at_least(2), that(lambda v: v % 2 == 1, "an odd number"))
    kind: str = key("mean", one_of("mean", "latest", ""))
    widths: list[int] = key([8, 16], each(at_least(8)))
    levels: list[int] = key([850, 500], not_empty("levels (hPa)"), DISTINCT)
    entries: list[Entry] = key([Entry()], distinct("share"))
    days: list[int] = key([], DISTINCT)
    unit: str = key("", optional(one_of("km", "degrees")))
    sources: list[str] = key([], each(registered(SOURCES)))
    path: str = key("", PATH)


@dataclass
class Recipe:
    """A recipe."""

    section: Section = field(default_factory=Section)


def read(*overrides: str) -> Recipe:
    return load(None, overrides, Recipe, lambda _: None)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("section.steps=1", "key 'section.steps': found 1, expected at least 2"),
        ("section.steps=4", "key 'section.steps': found 4, expected an odd number"),
        ("section.kind=latets", "key 'section.kind': found 'latets'; did you mean 'latest'?"),
        ("section.widths=[8, 4]", "key 'section.widths.1': found 4, expected at least 8"),
        ("section.levels=[]", "key 'section.levels': found none, expected levels (hPa)"),
        ("section.levels=[5, 7, 5]", "key 'section.levels': 5 is listed twice"),
        (
            "section.entries=[{share: 0.1}, {share: 1}]",
            "key 'section.entries.1.share': found 1.0, expected at least 0 and less than 1",
        ),
        ("section.days=[3, 1, 3]", "key 'section.days': 3 is listed twice"),
        (
            "section.entries=[{share: 0.1}, {share: 0.1}]",
            "key 'section.entries': 0.1 is listed twice",
        ),
        ("section.unit=degree", "key 'section.unit': found 'degree'; did you mean 'degrees'?"),
        ("section.sources=[cf, cff]", "key 'section.sources.1': found 'cff'; did you mean 'cf'?"),
    ],
)
def test_what_breaks_a_rule_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        read(override)
    assert str(refused.value) == sentence


def test_the_path_of_a_key_is_checked_before_any_file_is_opened() -> None:
    with pytest.raises(UserError, match=r"key 'section.path': found the name 'aaa.*at most 255"):
        read(f"section.path={'a' * 300}")


def test_a_rule_made_of_another_keeps_its_registry() -> None:
    assert each(optional(registered(SOURCES))).registry is SOURCES
    assert each(at_least(1)).registry is None


def test_what_keeps_to_the_rules_is_read() -> None:
    recipe = read("section.steps=5", "section.kind=", "section.widths=[]", "section.unit=km")
    assert (recipe.section.steps, recipe.section.kind, recipe.section.widths) == (5, "", [])
    assert Section().widths == [8, 16]
    assert Section().widths is not Section().widths


def test_help_shows_the_rules() -> None:
    text = format_help(list_keys(schema=Recipe))
    assert "Number of steps. (at least 2; an odd number)" in text
    assert "(one of mean, latest, '')" in text
    assert "(empty, or one of km, degrees)" in text
    assert "section.path = ''\n\n" in text  # a path is not explained


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_no_key_is_without_help(verb: Verb) -> None:
    schema, _ = verb.schema()
    assert [key.path for key in list_keys(schema=schema) if not key.comment] == []


def test_help_explains_what_a_recipe_extends(capsys: pytest.CaptureFixture[str]) -> None:
    first = next(list_keys())
    assert first.path == "extends"
    assert EXTENDS in first.comment
    assert "extends" not in [key.path for key in list_keys(sections=("data",))]
    for verb in VERBS.values():
        with pytest.raises(SystemExit):
            parse([*verb.name.split(), "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert (f"recipe (YAML); {EXTENDS}" in shown) == (verb.takes != "nothing"), verb.name
        assert ("data.sources = []" in shown) == ("data" in verb.sections)


def test_every_default_keeps_to_its_rules() -> None:
    check_keys(Config())


def test_a_key_with_its_old_name_is_read_with_a_note(tmp_path, capsys) -> None:
    (tmp_path / "base.yaml").write_text("trained_in: other\nablation: {grid: {trained_in: [a]}}\n")
    (tmp_path / "recipe.yaml").write_text("extends: base.yaml\nseed: 1\n")
    recipe = load(tmp_path / "recipe.yaml")
    assert recipe.pretrained_experiment == "other"
    assert recipe.ablation.grid == {"pretrained_experiment": ["a"]}
    said = capsys.readouterr()
    assert said.err == (
        f"slams: key 'trained_in' in {tmp_path / 'base.yaml'} is now called "
        f"'pretrained_experiment'\n"
    )
    assert said.out == ""
    assert load(None, ["trained_in=another"]).pretrained_experiment == "another"
    assert "on the command line is now called" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["file", "grid", "command line"])
def test_an_old_name_beside_its_new_one_is_refused(tmp_path, where: str) -> None:
    both = {"trained_in": "a", "pretrained_experiment": "b"}
    lines = [f"{name}: {value}" for name, value in both.items()]
    text = {
        "file": "\n".join(lines),
        "grid": f"ablation: {{grid: {{{', '.join(f'{k}: [{v}]' for k, v in both.items())}}}}}",
        "command line": "",
    }[where]
    (tmp_path / "recipe.yaml").write_text(text)
    words = [f"{k}={v}" for k, v in both.items()] if where == "command line" else []
    with pytest.raises(UserError, match=r"'trained_in' and 'pretrained_experiment'.* found both"):
        load(tmp_path / "recipe.yaml", words)


def test_new_names_are_keys_and_old_ones_are_not() -> None:
    keys = set(dotted_keys())
    assert set(RENAMED.values()) <= keys
    assert not set(RENAMED) & keys
