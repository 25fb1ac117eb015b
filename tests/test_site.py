"""The pages of the site that docs/hooks makes of the code (extra `docs`)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slams.cli.verbs import VERBS
from slams.config.help import list_keys

ROOT = Path(__file__).parents[1]
pytest.importorskip("mkdocs", reason="the site is built with the extra `docs`")


def load(name: str) -> ModuleType:
    path = ROOT / "docs" / "hooks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"hooks_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return load("pages")


def test_every_key_is_shown_with_its_default_and_what_it_may_be(pages: ModuleType) -> None:
    text = pages._recipe_keys()
    for key in list_keys():
        (row,) = re.findall(rf"^\| `.*{{ #{re.escape(key.path)} }}.*$", text, re.MULTILINE)
        shown = key.value if isinstance(key.value, str) and key.value else repr(key.value)
        assert f"| `{shown}` |" in row.replace("\\|", "|")
        for expected in key.expected:
            assert expected.split()[0] in row
    headings = re.findall(r"^## .* { #(.*) }$", text, re.MULTILINE)
    assert len(headings) == len(set(headings)) > 30


def test_every_verb_is_shown_with_every_option(pages: ModuleType) -> None:
    text = pages._verbs()
    sections = dict(
        re.findall(r"^## `slams ([a-z0-9 ]+)` .*?\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    )
    assert list(sections) == list(VERBS)
    for name, verb in VERBS.items():
        for option, settings in verb.options.items():
            assert re.search(rf"^\| `{option}\b", sections[name], re.MULTILINE), (name, option)
            if settings.get("action") == "store_true":
                assert f"| `{option}` |" in sections[name]
        for key in verb.sections:
            assert f"keys.md#{key})" in sections[name]


def test_every_module_has_a_page_and_its_place_in_the_navigation(pages: ModuleType) -> None:
    files = {
        path.relative_to(folder.parent).as_posix()
        for folder in pages.PACKAGES.values()
        for path in folder.rglob("*.py")
        if not any(part.startswith("_") for part in path.relative_to(folder).parts[:-1])
        and (path.name == "__init__.py" or not path.name.startswith("_"))
    }
    modules = {f.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for f in files}
    found = {m for name, folder in pages.PACKAGES.items() for m, _ in pages._modules(name, folder)}
    assert found == modules
    assert {"slams.api", "slams.assimilators.enkf", "data_modules.latent"} <= found

    def flat(entries: Any) -> list[str]:
        if isinstance(entries, str):
            return [entries]
        parts = entries.values() if isinstance(entries, dict) else entries
        return [page for part in parts for page in flat(part)]

    config = SimpleNamespace(nav=[{"Reference": [{"Python": "reference/api"}]}])
    assert sorted(flat(pages.on_config(config).nav)) == sorted(map(pages._page, found))


@pytest.mark.parametrize(
    ("html", "refused"),
    [
        ('<a href="https://arxiv.org/abs/2404.06665">paper</a>', False),
        ('<link rel="canonical" href="https://example.org/">', False),
        ('<script src="iframe-worker.js"></script>', False),
        ('<script src="https://example.org/x.js"></script>', True),
        ('<img alt="x" src="//example.org/x.png">', True),
        ('<link rel="stylesheet" href="https://example.org/x.css">', True),
        ("<style>@import url(https://example.org/x.css)</style>", True),
    ],
)
def test_a_page_that_fetches_from_another_host_is_refused(
    pages: ModuleType, tmp_path: Path, html: str, refused: bool
) -> None:
    (tmp_path / "index.html").write_text(html)
    config = SimpleNamespace(site_dir=str(tmp_path))
    if refused:
        with pytest.raises(pages.PluginError, match="another host"):
            pages.on_post_build(config)
    else:
        pages.on_post_build(config)


def test_links_lead_to_the_pages_of_the_site(pages: ModuleType) -> None:
    text = "[a](../CHANGELOG.md#added) [b](tutorials/03_train_on_era5.py) [c](https://x.org/y.md)"
    expected = "[a](changelog.md#added) [b](tutorials/03_train_on_era5.md) [c](https://x.org/y.md)"
    assert pages._relink(text, ROOT / "docs", "start.md") == expected
    text = "[a](docs/methods.md) [b](CONTRIBUTING.md)"
    assert pages._relink(text, ROOT, "notes/x.md") == "[a](../methods.md) [b](../contributing.md)"


def test_every_figure_of_the_gallery_is_shown_with_its_code(pages: ModuleType) -> None:
    text = pages._gallery()
    (names,) = re.findall(
        r"^FIGURES = \((.*)\)$", (ROOT / "docs" / "gallery.py").read_text(), re.M
    )
    for name in names.split(", "):
        assert f"figures/gallery_{name}.png)" in text
        assert f"    def {name}(" in text


def test_a_file_that_a_tutorial_writes_is_shown_as_one() -> None:
    pytest.importorskip("jupytext")
    tutorials = load("tutorials")
    from nbformat.v4 import new_code_cell, new_notebook

    source = 'text = """\nseed: 0\n"""\nPath("a.yaml").write_text(text)\nslams("a.yaml")'
    notebook = new_notebook(cells=[new_code_cell(source), new_code_cell("1 + 1")])
    tutorials._show_files(notebook)
    shown = [cell.source for cell in notebook.cells]
    assert shown == ['```yaml title="a.yaml"\nseed: 0\n```', 'slams("a.yaml")', "1 + 1"]
