"""An exhibit: panels that belong together, how to read them, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

__all__ = ["PANEL_WIDTH", "Exhibit", "Panel", "headline", "new_figure", "render"]

# Inches. One panel fills a phone and a third of a desktop page, with letters legible on both.
PANEL_WIDTH = 4.3


@dataclass(frozen=True)
class Panel:
    """Holds one picture.

    Attributes:
        name: Name of its file, without suffix.
        alt: What it shows, for readers who do not see it.
        png: The picture.
        wide: Whether it takes the whole width of the page.
    """

    name: str
    alt: str
    png: bytes
    wide: bool = False


@dataclass(frozen=True)
class Exhibit:
    """Holds one section of the report.

    Attributes:
        anchor: Its identifier in the page.
        title: Its heading.
        reading: One or two plain sentences on how to read it.
        panels: The pictures.
        findings: Sentences computed from the tables.
        missing: Sentences on what is absent, and why.
        tables: HTML of tables that go with it.
        lead: HTML that stands before everything else.
    """

    anchor: str
    title: str
    reading: str = ""
    panels: Sequence[Panel] = ()
    findings: Sequence[str] = ()
    missing: Sequence[str] = ()
    tables: Sequence[str] = ()
    lead: Sequence[str] = ()


def new_figure(width: float = PANEL_WIDTH, height: float = 3.4) -> Figure:
    """Make an empty figure of that many inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def headline(figure: Figure, text: str) -> None:
    """Write a panel's title along its left edge, whatever the labels of its axes take."""
    figure.suptitle(text, x=0.02, ha="left", fontsize=10.5, fontweight="bold")


def render(figure: Figure, name: str, alt: str, dpi: int, wide: bool = False) -> Panel:
    """Draw a figure as PNG, with the same bytes whenever the same figure is drawn."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return Panel(name=name, alt=alt, png=buffer.getvalue(), wide=wide)
