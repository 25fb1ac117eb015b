"""Panels of the report: empty axes with a title, what several figures draw, and the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slams.report.formatting import number
from slams.report.reading import Estimate
from slams.report.section import Panel
from slams.report.style import in_order, method_style

__all__ = [
    "FIGURES",
    "PANEL_WIDTH",
    "REFERENCE",
    "draw_bar",
    "draw_ranks",
    "draw_ranks_by_method",
    "finish",
    "finish_bars",
    "new_axes",
    "new_figure",
    "render",
]

# Style sheet of all figures, for `matplotlib.style.context`.
FIGURES = "slams.report.figures"
# Inches. One panel fills a phone and a third of a desktop page, with legible letters on both.
PANEL_WIDTH = 4.3
# The line on which a perfect ensemble would lie, or an error that was assumed.
REFERENCE = {"color": "#444444", "linestyle": "--", "linewidth": 1.0}


def new_figure(title: str, height: float, width: float = PANEL_WIDTH) -> Figure:
    """Make an empty figure (inches), laid out so that nothing overlaps.

    The title is along its left edge, whatever space the axis labels take.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def new_axes(
    title: str, height: float, xlabel: str = "", ylabel: str = "", width: float = PANEL_WIDTH
) -> Axes:
    """Make a figure with one pair of axes; its size is in inches."""
    axes = new_figure(title, height, width).add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return axes


def finish(axes: Axes, name: str, alt: str, columns: int = 2, wide: bool = False) -> Panel:
    """Add a legend below the axes and draw their figure.

    Args:
        axes: Axes of the figure.
        name: Name of the picture's file, without suffix.
        alt: Description for readers who cannot see it.
        columns: Columns of the legend, one where they are too wide for the figure; 0 for none.
        wide: Whether the picture takes the whole width of the page.
    """
    if columns:
        figure, handles = axes.figure, axes.get_legend_handles_labels()
        place = {"loc": "outside lower center"}
        legend = figure.legend(*handles, **place, ncols=columns)
        figure.draw_without_rendering()
        if columns > 1 and legend.get_window_extent().width > figure.bbox.width:
            legend.remove()
            figure.legend(*handles, **place, ncols=1)
    return render(axes.figure, name, alt, wide)


def render(
    figure: Figure, name: str, alt: str, wide: bool = False, dpi: float | None = None
) -> Panel:
    """Draw a figure as PNG; the same figure always gives the same bytes.

    Args:
        figure: The figure.
        name: Name of the picture's file, without suffix.
        alt: Description for readers who cannot see it.
        wide: Whether it takes the whole width of the page.
        dpi: Dots per inch; by default matplotlib's `savefig.dpi`.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return Panel(name=name, alt=alt, png=buffer.getvalue(), wide=wide)


def draw_bar(axes: Axes, position: float, estimate: Estimate, height: float, colour: str) -> float:
    """Draw a horizontal bar with its interval and its value.

    Args:
        axes: Axes to draw on.
        position: Position of its middle on the vertical axis.
        estimate: Its length, with the interval where there is one.
        height: Its thickness.
        colour: Its colour.

    Returns:
        Largest value that the bar or its interval reaches.
    """
    axes.barh(position, estimate.value, height, color=colour)
    high = estimate.value
    ends = np.array([[estimate.value - estimate.lower], [estimate.upper - estimate.value]])
    if np.isfinite(ends).all():
        high = estimate.upper
        ends = np.maximum(ends, 0)
        look = {"color": "#222222", "linewidth": 1.0, "capsize": 2.5}
        axes.errorbar(estimate.value, position, xerr=ends, **look)
    text = number(estimate.value, estimate.bounds)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    look = {"textcoords": "offset points", "va": "center", "fontsize": 8, "bbox": box}
    axes.annotate(text, (high, position), (4, 0), **look)
    return high


def finish_bars(axes: Axes, labels: Sequence[str], end: float) -> None:
    """Name the rows of horizontal bars, from the top, and end their axis at a value."""
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, end)


def draw_ranks(axes: Axes, share: np.ndarray, colour: str) -> None:
    """Draw a rank histogram: shares of the ranks `(M + 1,)`, divided by what is expected."""
    axes.bar(np.arange(len(share)), share * len(share), width=0.9, color=colour)
    axes.axhline(1.0, **REFERENCE)
    axes.set_xlim(-0.7, len(share) - 0.3)
    axes.grid(axis="x", visible=False)


def draw_ranks_by_method(title: str, shares: Mapping[str, np.ndarray], ranked: str) -> Figure:
    """Draw one rank histogram for each method, one below the other on the same scale.

    Args:
        title: Title of the figure.
        shares: Shares of the ranks `(M + 1,)` of each method.
        ranked: What is ranked among the members: the truth, or an observation.
    """
    figure = new_figure(title, 1.5 + 1.15 * len(shares))
    every = figure.subplots(len(shares), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, method in zip(every, in_order(shares), strict=True):
        style = method_style(method)
        draw_ranks(axes, shares[method], style.colour)
        axes.set_title(style.label, fontsize=9, fontweight="normal", pad=3)
    every[-1].set_xlabel(f"rank of {ranked} among the members")
    figure.supylabel("observed / expected", fontsize=9.5)
    return figure
