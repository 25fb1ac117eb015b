"""The documents describe the registries correctly."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from slams import plugins
from slams.plugins.admission import REGISTRIES
from slams.plugins.methods import FIRST_GUESSES, METHODS, Role

ROOT = Path(__file__).parents[1]
EXTENDING = (ROOT / "docs" / "extending.md").read_text()


def test_every_registry_is_in_the_table_of_extensions() -> None:
    rows = re.findall(r"^\| [^|]+ \| `(\w+Spec)` \| `([\w.]+)` \| .* \|$", EXTENDING, re.MULTILINE)
    assert sorted(rows) == sorted((r.kind.__name__, r.group) for r in REGISTRIES)
    assert {kind for kind, _ in rows} == set(plugins.__all__)
    for file in re.findall(r"`((?:slams|data_modules)/[\w/]+\.py)`", EXTENDING):
        assert (ROOT / file).is_file() or (ROOT / "src" / file).is_file()


def test_the_example_of_a_method_is_a_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", EXTENDING, re.DOTALL)
        if "MethodSpec(" in block
    )
    (tmp_path / "my_persistence.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(METHODS, "_found", dict(METHODS._found))
    assert METHODS.admit("my_persistence:Persistence", "here").label == "damped persistence"
    del sys.modules["my_persistence"]


def test_the_table_of_methods_is_that_of_the_registry() -> None:
    """Generated: `python -m tests.test_documents` prints it."""
    assert methods_table() in (ROOT / "docs" / "methods.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_what_the_first_pages_name_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    files = re.findall(r"\b((?:src|data_modules|tests|experiments)/[\w/]+\.\w+)", text)
    assert links
    assert [name for name in [*links, *files] if not (ROOT / name).is_file()] == []
    targets = re.findall(r"^([a-z0-9-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    typed = re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE)
    assert typed
    assert set(typed) <= set(targets)


def methods_table() -> str:
    """Return the registry of methods as a Markdown table."""
    lines = ["| name | label | starts from | built on |", "|---|---|---|---|"]
    for spec in sorted(METHODS.built_in(), key=lambda spec: spec.order):
        guesses = [
            f"`@{guess.name}`"
            for guess in sorted(FIRST_GUESSES.built_in(), key=lambda guess: guess.order)
            if guess.knows in spec.first_guesses
        ]
        first = "nothing" if spec.role is Role.CLIMATOLOGY else "the background"
        starts = ", ".join([first, *guesses])
        stages = ", ".join(f"`{stage}`" for stage in spec.needs) or "–"
        lines.append(f"| `{spec.name}` | {spec.label} | {starts} | {stages} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(methods_table())
