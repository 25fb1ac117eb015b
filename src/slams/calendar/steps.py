"""The step of a time axis: a day, or a part of it that divides the day from 00 UTC on.

Steps are at whole multiples of their length from 00 UTC. One convention holds for every store:

* an instant is the value at the time of its step (a step of 6 h: 00, 06, 12, 18 UTC);
* a mean or a total covers the step that *begins* at its time, `[t, t + step)`.

Lengths are in days, so that times can be added to them: 1.0, 0.5 or 0.25, which binary fractions
hold exactly. This module imports nothing, so that a recipe can be read without numpy; its
functions take numbers, arrays, Series and tensors alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "STEPS",
    "STEP_ATTRIBUTE",
    "beginning_of_step",
    "clock_of_steps",
    "describe_step",
    "nearest_step",
    "step_days",
    "step_of_store",
    "step_of_value",
    "steps_per_day",
    "whole_days",
]

# Lengths of a step, as recipes write them (`data.step`).
STEPS = ("24h", "12h", "6h")
# Attribute of a training store with the hours of its step; a store without it has days.
STEP_ATTRIBUTE = "step_hours"


def step_days(text: str) -> float:
    """Return the length (days) of a step that a recipe writes, one of `STEPS`."""
    return float(text.removesuffix("h")) / 24


def step_of_store(attributes: Mapping[str, Any]) -> float:
    """Return the length (days) of the steps of a training store from its attributes."""
    return float(attributes.get(STEP_ATTRIBUTE, 24)) / 24


def steps_per_day(step: float) -> int:
    """Return the number of steps of a length (days) per day."""
    return round(1 / step)


def describe_step(step: float) -> str:
    """Return a length (days) as recipes write it, such as `6h`."""
    return f"{step * 24:g}h"


def clock_of_steps(step: float) -> str:
    """Return the hours at which steps of a length (days) begin: `00, 06, 12, 18`."""
    return ", ".join(f"{round(24 * step * number):02d}" for number in range(steps_per_day(step)))


def beginning_of_step(time: Any, step: float) -> Any:
    """Return the time of the step that contains a time: the UTC day for a step of one day.

    Args:
        time: Days since 1970-01-01 00 UTC, any shape.
        step: Length of a step (days).
    """
    return time // step * step


def nearest_step(time: Any, step: float) -> Any:
    """Return the time of the step nearest to an instant, of two equally near ones the later.

    Args:
        time: Days since 1970-01-01 00 UTC, any shape.
        step: Length of a step (days).
    """
    return beginning_of_step(time + step / 2, step)


def step_of_value(time: Any, step: float, instant: bool) -> Any:
    """Return the time of the step that a value belongs to.

    Args:
        time: Days since 1970-01-01 00 UTC, any shape: that of the value, or the middle of the
            period that it covers.
        step: Length of a step (days).
        instant: Whether it is compared with instants, and belongs to the nearest; otherwise, and
            for steps of a day, it belongs to the step that it lies within.
    """
    nearest = instant and step < 1
    return nearest_step(time, step) if nearest else beginning_of_step(time, step)


def whole_days(count: int, step: float) -> int:
    """Return the fewest whole days that hold a number of steps of a length (days)."""
    return int(-(-count * step // 1))
