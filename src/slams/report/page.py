"""Write sections into one self-contained page, without external style sheet, script or picture."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from slams.report.section import Panel, Section

__all__ = ["page", "render_section"]

_TEMPLATE = "page.html"


def page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """Return the whole page; the first section precedes the table of contents.

    Args:
        title: Plain text.
        subtitle: Plain text.
        sections: The sections, in order.
        footer: Plain text.
    """
    template = Template(files("slams.report").joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    contents = "\n".join(
        f'<li><a href="#{html.escape(e.anchor)}">{html.escape(e.title)}</a></li>' for e in sections
    )
    return template.substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        lead=render_section(sections[0]) if sections else "",
        contents=contents,
        sections="\n".join(render_section(section) for section in sections[1:]),
        footer=html.escape(footer),
    )


def render_section(section: Section) -> str:
    """Return one section: findings first, then tables and pictures, then how to read them."""
    parts = [
        f'<section id="{html.escape(section.anchor)}">',
        f"<h2>{html.escape(section.title)}</h2>",
    ]
    parts += section.lead
    if section.findings:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in section.findings)
        parts.append(f'<ul class="findings">{items}</ul>')
    parts += [f'<p class="missing">{html.escape(text)}</p>' for text in section.missing]
    if section.panels:
        # Four panels make two rows of two: three and a single one look like a mistake.
        four = " four" if len(section.panels) == 4 else ""
        images = "".join(map(_image, section.panels))
        parts.append(f'<div class="panels{four}">{images}</div>')
    if section.caption and (section.panels or section.tables or section.lead):
        parts.append(f'<p class="reading">{html.escape(section.caption)}</p>')
    parts += section.tables
    parts.append("</section>")
    return "\n".join(parts)


def _image(panel: Panel) -> str:
    data = base64.b64encode(panel.png).decode("ascii")
    style = ' class="wide"' if panel.wide else ""
    return (
        f'<img{style} alt="{html.escape(panel.alt)}" loading="lazy" '
        f'src="data:image/png;base64,{data}">'
    )
