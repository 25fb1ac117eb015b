"""The documents describe the registries correctly."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slams import plugins
from slams.cli.verbs import GROUPS, VERBS
from slams.methods.specifications import LETKF_PERFECT_MODEL
from slams.plugins.admission import REGISTRIES
from slams.plugins.methods import FIRST_GUESSES, METHODS, Role

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "docs/tutorials/*.py")
    for path in ROOT.glob(pattern)
)
# Pages that docs/hooks makes when the site is built.
MADE = {"reference/keys.md", "reference/verbs.md"}
BESIDE = {"changelog.md", "contributing.md", "security.md"}
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


def read(page: Path) -> str:
    """Return the text of a page; of a tutorial, that of its Markdown cells."""
    text = page.read_text()
    if page.suffix != ".py":
        return text
    cells = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", text, re.MULTILINE)
    return re.sub(r"^# ?", "", "\n".join(cells), flags=re.MULTILINE)


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = read(page)
    # A section that is included from another page brings its heading.
    for name, anchor in re.findall(r"^<!-- include: (\S+)#(\S+) -->$", text, re.MULTILINE):
        assert anchor in headings(ROOT / name)
        text += f"\n# {anchor}"
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_made(target: Path) -> bool:
    """Return whether a page is made of the code: that of a module, of all verbs or all keys."""
    docs = ROOT / "docs"
    if not target.is_relative_to(docs) or target.suffix != ".md":
        return False
    name = target.relative_to(docs).as_posix()
    module = name.removeprefix("reference/api/").removesuffix(".md").removesuffix("/index")
    places = (ROOT / "src" / module, ROOT / module)
    return name in MADE or any(p.is_dir() or p.with_suffix(".py").is_file() for p in places)


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(path)):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            assert is_made(file), target
            continue
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


def entries(navigation: Any) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(navigation, str):
        yield navigation
    for entry in navigation if isinstance(navigation, list) else ():
        yield from entries(entry if isinstance(entry, str) else next(iter(entry.values())))


class _Settings(yaml.SafeLoader):
    """Loader that leaves out what mkdocs alone can read."""


_Settings.add_multi_constructor("", lambda *_: None)


def test_every_page_is_in_the_navigation_once() -> None:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), _Settings)
    docs = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    pages = {page.removesuffix(".py") + ".md" if page.endswith(".py") else page for page in docs}
    assert sorted(entries(settings["nav"])) == sorted(pages | MADE | BESIDE | {"reference/api"})


def test_every_error_in_the_questions_is_one_of_the_program() -> None:
    """Dots stand for what differs; what is between them stands in one text of the program."""
    texts = [
        node.value
        for top in ("src", "data_modules")
        for path in (ROOT / top).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    found = re.findall(
        r"^```text\n(.+)\n```$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE
    )
    assert len(found) > 20
    for sentence in found:
        for part in filter(None, (part.strip(" .'") for part in sentence.split("..."))):
            assert any(part in text for text in texts), (part, sentence)


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
        if spec is LETKF_PERFECT_MODEL:  # reads files
            first = "analyses of `slams limit`"
        starts = ", ".join([first, *guesses])
        stages = ", ".join(f"`{stage}`" for stage in spec.needs) or "–"
        lines.append(f"| `{spec.name}` | {spec.label} | {starts} | {stages} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(methods_table())
