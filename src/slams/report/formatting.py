"""Numbers and comparisons as text, with no more digits than their intervals support."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slams.report.paired import Comparison
from slams.report.reading import Estimate

__all__ = [
    "capitalised",
    "change",
    "joined",
    "made_with",
    "number",
    "percent_range",
    "signed_percent",
    "with_interval",
]


def number(value: float, interval: tuple[float, float] | None = None) -> str:
    """Format a number with the digits that its interval supports, three without an interval.

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


def made_with(estimator: int) -> str:
    """Return the sentence on the estimators that made the scores of a run.

    Args:
        estimator: Their version, as in `run.json`.
    """
    old = ", which treated centred ensembles as free ones" if estimator == 1 else ""
    return f"Scores by estimators of version {estimator} (docs/diagnostics.md){old}."


def with_interval(estimate: Estimate, units: str = "") -> str:
    """Format `1.440 K (95 % interval 1.390 to 1.490)`."""
    bounds = estimate.bounds
    text = f"{number(estimate.value, bounds)} {units}".rstrip()
    if all(math.isfinite(bound) for bound in bounds):
        low, high = (number(bound, bounds) for bound in bounds)
        text += f" (95 % interval {low} to {high})"
    return text


def percent_range(comparison: Comparison) -> str:
    """Format the interval of a comparison: `95 % interval 20 to 24 %`.

    The sign is left to the surrounding text, unless the interval includes zero.
    """
    low, high = sorted(100 * bound for bound in comparison.bounds)
    if not (math.isfinite(low) and math.isfinite(high)):
        return "too few dates for an interval"
    if high <= 0:
        low, high = -high, -low
    decimals = 0 if high - low >= 2 else 1
    low_text, high_text = (f"{value:.{decimals}f}".replace("-", "−") for value in (low, high))
    return f"95 % interval {low_text} to {high_text} %"


def signed_percent(share: float) -> str:
    """Format a share in percent with its sign: `+2.1` for 0.021."""
    return f"{100 * share:+.1f}".replace("-", "−")


def change(subject: str, comparison: Comparison, reference: str) -> str:
    """Return a sentence that compares a subject with a reference, and whether they differ.

    Example: `The RMSE of latent diffusion is 22 % below that of the background (95 % interval
    20 to 24 %), smaller on 23 of 24 dates.`

    Args:
        subject: Beginning of the sentence.
        comparison: The numbers.
        reference: The other side of the comparison, such as `that of the background`.
    """
    size = abs(100 * comparison.relative)
    wins = f"smaller on {comparison.better} of {comparison.dates} dates"
    interval = percent_range(comparison)
    known = all(map(math.isfinite, comparison.bounds))
    if known and comparison.lower < 0 < comparison.upper:
        sign = "−" if comparison.relative < 0 else "+"
        return (
            f"{subject} cannot be distinguished from {reference}: {sign}{size:.1f} % "
            f"({interval}), {wins}."
        )
    direction = "below" if comparison.relative < 0 else "above"
    decimals = 0 if known and 100 * (comparison.upper - comparison.lower) >= 2 else 1
    return f"{subject} is {size:.{decimals}f} % {direction} {reference} ({interval}), {wins}."


def joined(words: Sequence[str]) -> str:
    """Join words into a list in a sentence: `a, b and c`."""
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def capitalised(text: str) -> str:
    """Capitalise the first letter of a sentence or heading, leaving all others unchanged."""
    return text[:1].upper() + text[1:]
