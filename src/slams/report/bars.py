"""A horizontal bar with its interval and its value, shared by several figures."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from slams.report.formatting import number
from slams.report.reading import Estimate

__all__ = ["draw_bar"]


def draw_bar(axes: Axes, position: float, estimate: Estimate, height: float, colour: str) -> float:
    """Draw one bar.

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
        axes.errorbar(
            estimate.value,
            position,
            xerr=np.maximum(ends, 0),
            color="#222222",
            linewidth=1.0,
            capsize=2.5,
        )
    axes.annotate(
        number(estimate.value, (estimate.lower, estimate.upper)),
        (high, position),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
    )
    return high
