"""Write sections into one self-contained page, without external style sheet, script or picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from slams.report.section import Section

__all__ = ["page", "template"]


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
