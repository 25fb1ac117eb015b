"""The documents describe the registries correctly."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from slams import plugins
from slams.cli.verbs import GROUPS, VERBS
from slams.plugins.admission import REGISTRIES
from slams.plugins.methods import FIRST_GUESSES, METHODS, Role

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
)
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


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    files = re.findall(r"\b((?:src|data_modules|tests|experiments)/[\w/]+\.\w+)", text)
    assert [name for name in files if not (ROOT / name).is_file()] == []
    targets = re.findall(r"^([a-z0-9-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE)) <= set(targets)
    for line in re.findall(r"(?:^|`)slams ([a-z][^`\n]*)", text, re.MULTILINE):
        words = line.split()
        assert {words[0], " ".join(words[:2])} & (set(VERBS) | set(GROUPS)), line


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
