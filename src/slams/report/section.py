"""Sections of the report, and the self-contained page that they make.

A section is panels that belong together, their explanation, and the findings. The page needs no
external style sheet, script or picture.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

__all__ = ["Panel", "Section", "new_section", "page", "template"]


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        name: Name of its file, without suffix.
        alt: Description for readers who cannot see it.
        png: The picture.
        wide: Whether it takes the whole width of the page.
    """

    name: str
    alt: str
    png: bytes
    wide: bool = False

    @property
    def base64(self) -> str:
        """Return the picture as text, as a page carries it."""
        return b64encode(self.png).decode("ascii")


@dataclass
class Section:
    """One section of the report, filled step by step.

    Attributes:
        anchor: Its identifier in the page.
        title: Its heading.
        caption: One or two plain sentences on how to read it.
        panels: The pictures.
        findings: Sentences computed from the tables.
        missing: Sentences on what is absent, and why.
        tables: HTML of tables that go with it.
        lead: HTML that precedes everything else.
    """

    anchor: str
    title: str
    caption: str = ""
    panels: list[Panel] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    lead: list[str] = field(default_factory=list)

    def without(self, reason: str) -> Section:
        """Add a sentence on what is absent, and return the section."""
        self.missing.append(reason)
        return self


def new_section(anchor: str) -> Section:
    """Return an empty section with the title and caption that `sections.yaml` gives it."""
    return Section(anchor, **_words()[anchor])


@cache
def _words() -> Mapping[str, Mapping[str, str]]:
    text = files("slams.report").joinpath("sections.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


@cache
def template(name: str) -> Template:
    """Return a template of the report, which escapes everything that is not HTML itself.

    Its macros, attributes of `module`, give HTML that other templates insert as it is.
    """
    return Environment(
        loader=PackageLoader("slams.report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """Return the whole page; the first section precedes the table of contents.

    Args:
        title: Plain text.
        subtitle: Plain text.
        sections: The sections, in order.
        footer: Plain text.
    """
    return template("page.html").render(
        title=title, subtitle=subtitle, sections=sections, footer=footer
    )
