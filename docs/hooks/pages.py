"""Pages of the site that are made from the code, and links that lead out of `docs/`.

mkdocs calls the functions named `on_...` (key `hooks` of mkdocs.yml). Nothing that they make is
written into the repository.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from slams.cli.verb import Verb, recipe_schema
from slams.cli.verbs import VERBS
from slams.config.help import Key, list_keys

ROOT = Path(__file__).parents[2]
PACKAGES = {"slams": ROOT / "src" / "slams", "data_modules": ROOT / "data_modules"}
# Files beside docs/ that are pages of the site, and those that are copied.
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PAGES |= {"SECURITY.md": "security.md"}
COPIES = ("CITATION.cff", "LICENSE")
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")
_INCLUDE = re.compile(r"^<!-- include: ([\w.]+)#([\w-]+) -->$", re.MULTILINE)
_GALLERY = "<!-- figures of gallery.py -->"
# What a browser fetches by itself; a link that a reader may follow is something else.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b(?![^>]*\brel=[\"']?canonical)[^>]*?\bhref=[\"']?(?:https?:)?//"
    r"|@import[^;]*//|url\([\"']?(?:https?:)?//",
    re.IGNORECASE,
)


def on_config(config: Any) -> Any:
    """Put the modules into the navigation, where mkdocs.yml says `reference/api`."""
    for section in config.nav:
        for entries in section.values():
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and "reference/api" in entry.values():
                    (title,) = entry
                    entry[title] = [
                        {name: list(_navigation(name, folder))}
                        for name, folder in PACKAGES.items()
                    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made of the code, and those that lie beside `docs/`."""
    made = {"reference/verbs.md": _verbs(), "reference/keys.md": _recipe_keys()}
    for name, folder in PACKAGES.items():
        made |= {_page(module): _module(module, path) for module, path in _modules(name, folder)}
    for name, uri in PAGES.items():
        made[uri] = _relink((ROOT / name).read_text(), ROOT, uri)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    for name in COPIES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to files beside `docs/` into links to their pages, and include their sections."""
    uri = page.file.src_uri
    markdown = _relink(markdown, (ROOT / "docs" / uri).parent, uri)
    if _GALLERY in markdown:
        markdown = markdown.replace(_GALLERY, _gallery())
    return _INCLUDE.sub(lambda found: _section(found[1], found[2], uri), markdown)


def on_post_build(config: Any) -> None:
    """Refuse a site that fetches anything from another host: it has to work without a network."""
    site = Path(config.site_dir)
    for path in sorted((*site.rglob("*.html"), *site.rglob("*.css"))):
        found = _FETCHED.search(path.read_text(encoding="utf-8"))
        if found:
            raise PluginError(f"{path} fetches from another host: {found.group()[:200]}")


def _relink(markdown: str, origin: Path, uri: str) -> str:
    """Turn links, relative to the directory `origin`, into links from the page `uri`."""

    def link(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(origin / found[1]))
        if target.is_relative_to(ROOT / "docs"):
            there = target.relative_to(ROOT / "docs").as_posix().removesuffix(".py")
            there += ".md" if "tutorials/" in there and "." not in there else ""
        else:
            name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
            there = (PAGES | {"README.md": "index.md"} | {n: n for n in COPIES}).get(name, "")
        if not there:
            return found[0]  # mkdocs refuses what it does not find
        return f"]({os.path.relpath(there, Path(uri).parent)}{found[2] or ''})"

    return _LINK.sub(link, markdown)


def _section(name: str, anchor: str, uri: str) -> str:
    """Return a section of a file beside `docs/`, with its heading."""
    parts = re.split(r"^(?=## )", (ROOT / name).read_text(), flags=re.MULTILINE)
    for part in parts:
        if re.sub(r"[^\w -]", "", part.partition("\n")[0][3:].lower()).replace(" ", "-") == anchor:
            return _relink(part.strip(), ROOT, uri)
    raise PluginError(f"{uri}: there is no section {anchor!r} in {name}")


def _gallery() -> str:
    """Return the functions of `docs/gallery.py` that draw a figure, each with its figure."""
    path = ROOT / "docs" / "gallery.py"
    text = path.read_text()
    lines = []
    for node in ast.parse(text).body:
        figure = f"figures/gallery_{getattr(node, 'name', '')}.png"
        if isinstance(node, ast.FunctionDef) and (ROOT / "docs" / figure).is_file():
            about = ast.get_docstring(node) or ""
            code = ast.get_source_segment(text, node) or ""
            lines += [f"### {node.name.capitalize()}", "", about, "", f"![{about}]({figure})", ""]
            lines += [
                '??? example "Code"',
                "",
                textwrap.indent(f"```python\n{code}\n```", " " * 4),
            ]
            lines += [""]
    return "\n".join(lines)


# The modules.


def _modules(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield dotted names and files of the public modules of a package, itself first."""
    yield name, folder / "__init__.py"
    for path in sorted(folder.iterdir()):
        if path.name.startswith("_"):
            continue
        if (path / "__init__.py").is_file():
            yield from _modules(f"{name}.{path.name}", path)
        elif path.suffix == ".py":
            yield f"{name}.{path.stem}", path


def _navigation(name: str, folder: Path) -> Iterator[Any]:
    yield _page(name)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("_"):
            continue
        inner = f"{name}.{path.stem}"
        if (path / "__init__.py").is_file():
            yield {path.name: list(_navigation(inner, path))}
        elif path.suffix == ".py":
            yield {path.stem: _page(inner)}


def _page(module: str) -> str:
    path = PACKAGES[module.partition(".")[0]].joinpath(*module.split(".")[1:])
    inner = "/index" if path.is_dir() else ""
    return f"reference/api/{module.replace('.', '/')}{inner}.md"


def _module(module: str, path: Path) -> str:
    # Other pages come first in the search.
    lines = ["---", f"title: {module}", "search: {boost: 0.5}", "---", "", f"::: {module}", ""]
    if path.name == "__init__.py":
        rows = [
            f"| [`{inner}`]({os.path.relpath(_page(inner), Path(_page(module)).parent)}) | "
            f"{_cell(_first_line(file))} |"
            for inner, file in _modules(module, path.parent)
            if inner.count(".") == module.count(".") + 1
        ]
        if rows:
            lines += ["## Modules { #modules }", "", "| module | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


# The verbs and the keys of recipes.


def _verbs() -> str:
    lines = [
        "# Verbs of the command line",
        "",
        "`slams VERB --help` prints the same. Overrides are dotted keys, as in",
        "`assimilation.members=32`; the keys of a recipe are [on a page of their own](keys.md).",
        "",
    ]
    for verb in VERBS.values():
        lines += [f"## `slams {verb.name}` {{ #{verb.name.replace(' ', '-')} }}", ""]
        lines += [f"{verb.summary[0].upper()}{verb.summary[1:]}.", "", "```", _usage(verb), "```"]
        lines += ["", " ".join(verb.description.split()), ""]
        options = _options(verb)
        if options:
            lines += ["| option | |", "|---|---|", *options, ""]
        if verb.sections:
            links = ", ".join(f"[`{s}`](keys.md#{s})" for s in verb.sections)
            lines += [f"Keys: {links}.", ""]
        elif verb.schema is not recipe_schema:
            lines += ['??? note "Keys of its recipe"', ""]
            lines += [f"    {line}" for line in _keys(list_keys(schema=verb.schema()[0]), "")]
            lines += [""]
    return "\n".join(lines)


def _usage(verb: Verb) -> str:
    takes = {
        "a recipe": "RECIPE.yaml [key=value ...]",
        "an optional recipe": "[RECIPE.yaml] [key=value ...]",
        "run directories or a recipe": "RECIPE.yaml | RUN_DIRECTORY ... [key=value ...]",
        "nothing": "",
    }[verb.takes]
    options = " [options]" if any(name.startswith("-") for name in verb.options) else ""
    positional = " ".join(
        f"[{o.get('metavar', n)}]" if o.get("nargs") == "?" else o.get("metavar", n)
        for n, o in verb.options.items()
        if not n.startswith("-")
    )
    return " ".join(f"slams {verb.name} {takes} {positional}".split()) + options


def _options(verb: Verb) -> list[str]:
    """Format what argparse knows of each option."""
    parser = argparse.ArgumentParser(add_help=False)
    rows = []
    for name, settings in verb.options.items():
        action = parser.add_argument(name, **settings)
        bare = action.nargs == 0 or not name.startswith("-")
        value = "" if bare else f" {action.metavar or 'VALUE'}"
        text = (action.help or "") % {**vars(action), "prog": f"slams {verb.name}"}
        rows.append(f"| `{name}{value}` | {_cell(text)} |")
    return rows


def _recipe_keys() -> str:
    lines = [
        "# Keys of a recipe",
        "",
        "Every key with its default, what it means (with its unit), and what its value must be.",
        "They are written in a recipe (YAML) or on the command line, `assimilation.members=32`.",
        "A key of a list is shown for its first entry, `0`; `slams config print --keys` prints",
        "the same.",
        "",
        *_keys(list_keys(), "## "),
    ]
    return "\n".join(lines) + "\n"


def _keys(keys: Iterator[Key], heading: str) -> list[str]:
    """Format keys as one table per section; with `heading`, each section has one."""
    sections: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        sections[key.path.rpartition(".")[0]].append(key)
    lines = []
    for section, found in sections.items():
        if heading:
            title = f"`{section}`" if section else "The recipe itself"
            lines += [f"{heading}{title} {{ #{section or 'recipe'} }}", "", found[0].section, ""]
        elif section:
            lines += [f"`{section}`: {found[0].section}", ""]
        lines += ["| key | default | |", "|---|---|---|"]
        for key in found:
            name = key.path.rpartition(".")[2]
            anchor = f"{{ #{key.path} }}" if heading else ""
            value = key.value if isinstance(key.value, str) and key.value else repr(key.value)
            expected = f" *({_cell('; '.join(key.expected))})*" if key.expected else ""
            lines.append(
                f"| `{name}`{anchor} | `{_cell(value)}` | {_cell(key.comment)}{expected} |"
            )
        lines.append("")
    return lines


def _cell(text: str) -> str:
    """Return text for a cell of a table; placeholders in angle brackets are no HTML."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(p if n % 2 else p.replace("<", "&lt;") for n, p in enumerate(parts))
