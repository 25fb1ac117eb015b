"""What the value of a day is, as `slams prepare` has noted it: a mean over the day, or an instant.

Where a store has steps of less than a day, it is the value of a step.

A training store states for every source what was done with its time axis, as one line of text
(`data_modules.sources.canonical.daily`)::

    temperature: instant at 00 UTC; total_precipitation_24hr: total of the UTC day
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slams.variables import DAY_METHODS, UNITS

__all__ = ["day_methods", "instant_variables"]

# First word of a note, and the method of CF. Totals are stored per day, as a mean rate.
_METHODS = {"mean": "mean", "total": "mean", "instant": "point"}


def day_methods(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return how values represent their day, by variable, for `cell_methods: time: ...`.

    Args:
        attributes: Attributes of a training store; those of old stores may lack the notes.

    Returns:
        `mean` or `point` by WeatherBench2 name. Variables whose source does not say are absent.
    """
    found = {}
    for source in attributes.get("sources", ()):
        for note in filter(None, str(source.get("time", "")).split("; ")):
            variable, _, text = note.partition(": ")
            method = _METHODS.get(text.partition(" ")[0])
            if method:
                found[variable] = method
    return found


def instant_variables(attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return the variables of which a store holds instants: those not noted as means or totals.

    Args:
        attributes: Attributes of a training store.
    """
    methods = {**DAY_METHODS, **day_methods(attributes)}
    return frozenset(name for name in UNITS if methods.get(name, "point") == "point")
