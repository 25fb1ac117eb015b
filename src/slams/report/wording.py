"""Numbers and comparisons in words, with no more digits than their intervals support."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slams.report.paired import Comparison
from slams.report.reading import Estimate

__all__ = ["change", "joined", "number", "percent_range", "with_interval"]


def number(value: float, interval: tuple[float, float] | None = None) -> str:
    """Writes a number with the digits that its interval supports, three without one.

    Two digits of the interval's half-width are kept: 1.4403 in [1.39, 1.49] becomes 1.440.
    """
    if value is None or not math.isfinite(value):
        return "–"
    half = 0.0
    if interval is not None and all(math.isfinite(bound) for bound in interval):
        half = (interval[1] - interval[0]) / 2
    if half > 0:
        decimals = 1 - math.floor(math.log10(half))
    else:
        decimals = 2 - (math.floor(math.log10(abs(value))) if value else 2)
    text = f"{value:.{min(max(decimals, 0), 4)}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def with_interval(estimate: Estimate, units: str = "") -> str:
    """Writes `1.440 K (95 % interval 1.390 to 1.490)`."""
    bounds = (estimate.lower, estimate.upper)
    units = f" {units}" if units else ""
    text = f"{number(estimate.value, bounds)}{units}"
    if all(math.isfinite(bound) for bound in bounds):
        low, high = (number(bound, bounds) for bound in bounds)
        text += f" (95 % interval {low} to {high})"
    return text


def percent_range(comparison: Comparison) -> str:
    """Writes the interval of a comparison by its size: `20 to 24 %`, the sign left to the text."""
    low, high = sorted((100 * comparison.lower, 100 * comparison.upper))
    if high <= 0:
        low, high = -high, -low
    decimals = 0 if high - low >= 2 else 1
    low_text, high_text = (f"{value:.{decimals}f}".replace("-", "−") for value in (low, high))
    return f"{low_text} to {high_text} %"


def change(subject: str, comparison: Comparison, reference: str) -> str:
    """Says how a subject compares with a reference, and whether the data tell them apart.

    Example: `the RMSE of latent diffusion is 22 % below that of the background (95 % interval
    20 to 24 %), smaller on 23 of 24 dates`.
    """
    size = abs(100 * comparison.relative)
    decimals = 0 if 100 * (comparison.upper - comparison.lower) >= 2 else 1
    wins = f"smaller on {comparison.better} of {comparison.dates} dates"
    if comparison.lower < 0 < comparison.upper:
        sign = "−" if comparison.relative < 0 else "+"
        return (
            f"{subject} cannot be told from that of {reference}: {sign}{size:.1f} % "
            f"(95 % interval {percent_range(comparison)}), {wins}."
        )
    direction = "below" if comparison.relative < 0 else "above"
    return (
        f"{subject} is {size:.{decimals}f} % {direction} that of {reference} "
        f"(95 % interval {percent_range(comparison)}), {wins}."
    )


def joined(words: Sequence[str]) -> str:
    """Lists words in a sentence: `a, b and c`."""
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
