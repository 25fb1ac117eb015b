"""Registries: what is built in, installed or admitted, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from slams.errors import UserError
from slams.plugins.registry import Registry


@dataclass(frozen=True)
class Colour:
    name: str


PLUGIN = """
from colours.kind import Colour

class Green:
    spec = Colour("green")

class Red:
    spec = Colour("red")

NUMBER = 3
SLASH = Colour("a/b")
DOTS = Colour("../../up")
EMPTY = Colour("")
AT = Colour("a@b")
"""
KIND = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Colour:
    name: str
"""


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """A package of two built-in colours, and a module outside of it with more."""
    package = tmp_path / "colours" / "built_in"
    package.mkdir(parents=True)
    (tmp_path / "colours" / "__init__.py").write_text("")
    (tmp_path / "colours" / "kind.py").write_text(KIND)
    (package / "__init__.py").write_text("")
    for name in ("red", "blue"):
        text = f"from colours.kind import Colour\nSPEC = Colour({name!r})\n"
        (package / f"{name}.py").write_text(text)
    text = (
        "from colours.kind import Colour\nBLUE = Colour('blue')\nRED = Colour('red')\nLIGHT = 3\n"
    )
    (tmp_path / "colours" / "all.py").write_text(text)
    (tmp_path / "paint.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    from colours.kind import Colour

    yield Colour
    for name in [m for m in sys.modules if m.partition(".")[0] in ("colours", "paint")]:
        del sys.modules[name]


def make(kind: type, package: str = "colours.built_in") -> Registry:
    return Registry("colour", kind, "test.colours", package)


@pytest.mark.parametrize("package", ["colours.built_in", "colours.all"])
def test_built_in_specifications_are_in_modules_or_in_one(colours: type, package: str) -> None:
    registry = make(colours, package)
    assert registry.names() == ("blue", "red")
    assert registry.get("red", "paint.colour") == colours("red")
    assert [spec.name for spec in registry.built_in()] == ["blue", "red"]


def test_names_are_known_without_an_import(colours: type) -> None:
    assert make(colours).names() == ("blue", "red")
    assert "colours.built_in.red" not in sys.modules


def test_an_unknown_name_is_refused_with_the_nearest(colours: type) -> None:
    with pytest.raises(UserError, match=r"key 'paint.colour': found 'bleu'; did you mean 'blue'"):
        make(colours).get("bleu", "paint.colour")


def test_a_reference_is_never_imported_by_asking_for_it(colours: type) -> None:
    registry = make(colours)
    with pytest.raises(UserError, match=r"which is not allowed.*--allow-plugin paint:Green"):
        registry.get("paint:Green", "paint.colour")
    assert registry.find("paint:Green") is None
    assert "paint" not in sys.modules


def test_an_admitted_reference_is_found_by_both_its_names(colours: type) -> None:
    registry = make(colours)
    spec = registry.admit("paint:Green", "paint")
    assert spec == colours("green")
    assert registry.get("paint:Green", "k") is registry.get("green", "k") is spec
    assert registry.admit("paint:Green", "paint") is spec
    assert registry.names() == ("blue", "red", "green")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("paint:Red", "is called 'red', as another colour is"),
        ("paint:NUMBER", "is no colour; expected a Colour"),
        ("paint:SLASH", "calls itself 'a/b'; expected a name"),
        ("paint:DOTS", "calls itself '../../up'; expected a name"),
        ("paint:EMPTY", "calls itself ''; expected a name"),
        ("paint:AT", "calls itself 'a@b'; expected a name"),
        ("paint:Purple", "cannot import the plug-in 'paint:Purple'"),
        ("nowhere.at.all:Purple", "cannot import the plug-in"),
        (":", "cannot import the plug-in ':'"),
        ("paint:", "cannot import the plug-in 'paint:'"),
    ],
)
def test_a_reference_to_something_else_is_refused(
    colours: type, reference: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        make(colours).admit(reference, "paint.colour")


def test_installed_packages_register_by_entry_point(
    colours: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [
        metadata.EntryPoint("green", "paint:Green", "test.colours"),
        metadata.EntryPoint("red", "paint:Green", "test.colours"),  # a built-in name stays ours
        metadata.EntryPoint("violet", "paint:Green", "test.colours"),
        metadata.EntryPoint("broken", "paint:Nothing", "test.colours"),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    registry = make(colours)
    assert registry.names() == ("blue", "red", "green", "violet", "broken")
    assert "paint" not in sys.modules
    assert registry.get("green", "k") == colours("green")
    assert registry.get("red", "k") == colours("red")
    with pytest.raises(UserError, match="registered as 'violet' and calls itself 'green'"):
        registry.get("violet", "k")
    with pytest.raises(UserError, match=r"cannot import paint:Nothing, which an installed"):
        registry.get("broken", "k")
    # Results that name it are still results.
    assert registry.find("broken") is None
    assert registry.find("violet") is None


def test_what_results_hold_may_be_unknown_here(colours: type) -> None:
    registry = make(colours)
    assert registry.find("mauve") is None
    assert registry.find("red") == colours("red")
