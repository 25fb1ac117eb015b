"""A section of the report: panels that belong together, their explanation, and the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

__all__ = ["PANEL_WIDTH", "Panel", "Section", "headline", "new_figure", "render"]

# Inches. One panel fills a phone and a third of a desktop page, with legible letters on both.
PANEL_WIDTH = 4.3


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


@dataclass(frozen=True)
class Section:
    """One section of the report.

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
    panels: Sequence[Panel] = ()
    findings: Sequence[str] = ()
    missing: Sequence[str] = ()
    tables: Sequence[str] = ()
    lead: Sequence[str] = ()


def new_figure(width: float = PANEL_WIDTH, height: float = 3.4) -> Figure:
    """Make an empty figure of the given size (inches), laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def headline(figure: Figure, text: str) -> None:
    """Write a panel's title along its left edge, whatever space the axis labels take."""
    figure.suptitle(text, x=0.02, ha="left", fontsize=10.5, fontweight="bold")


def render(figure: Figure, name: str, alt: str, dpi: int, wide: bool = False) -> Panel:
    """Draw a figure as PNG; the same figure always gives the same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return Panel(name=name, alt=alt, png=buffer.getvalue(), wide=wide)
