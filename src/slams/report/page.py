"""Write sections into one self-contained page, without external style sheet, script or picture."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from slams.report.exhibit import Exhibit, Panel

__all__ = ["page", "section"]

_TEMPLATE = "page.html"


def page(title: str, subtitle: str, exhibits: Sequence[Exhibit], footer: str) -> str:
    """Return the whole page; the first section precedes the table of contents.

    Args:
        title: Plain text.
        subtitle: Plain text.
        exhibits: The sections, in order.
        footer: Plain text.
    """
    template = Template(files("slams.report").joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    contents = "\n".join(
        f'<li><a href="#{html.escape(e.anchor)}">{html.escape(e.title)}</a></li>' for e in exhibits
    )
    return template.substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        lead=section(exhibits[0]) if exhibits else "",
        contents=contents,
        sections="\n".join(section(exhibit) for exhibit in exhibits[1:]),
        footer=html.escape(footer),
    )


def section(exhibit: Exhibit) -> str:
    """Return one section: findings first, then tables and pictures, then how to read them."""
    parts = [
        f'<section id="{html.escape(exhibit.anchor)}">',
        f"<h2>{html.escape(exhibit.title)}</h2>",
    ]
    parts += exhibit.lead
    if exhibit.findings:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in exhibit.findings)
        parts.append(f'<ul class="findings">{items}</ul>')
    parts += [f'<p class="missing">{html.escape(text)}</p>' for text in exhibit.missing]
    if exhibit.panels:
        # Four panels make two rows of two: three and a single one look like a mistake.
        four = " four" if len(exhibit.panels) == 4 else ""
        images = "".join(map(_image, exhibit.panels))
        parts.append(f'<div class="panels{four}">{images}</div>')
    if exhibit.reading and (exhibit.panels or exhibit.tables or exhibit.lead):
        parts.append(f'<p class="reading">{html.escape(exhibit.reading)}</p>')
    parts += exhibit.tables
    parts.append("</section>")
    return "\n".join(parts)


def _image(panel: Panel) -> str:
    data = base64.b64encode(panel.png).decode("ascii")
    style = ' class="wide"' if panel.wide else ""
    return (
        f'<img{style} alt="{html.escape(panel.alt)}" loading="lazy" '
        f'src="data:image/png;base64,{data}">'
    )
