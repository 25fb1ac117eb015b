"""The steps of a training store, and the variables of which it holds instants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slams.calendar.steps import step_of_store
from slams.cf.days import instant_variables

__all__ = ["DAYS", "Steps"]


@dataclass(frozen=True)
class Steps:
    """The steps of a store, and the variables of which it holds instants.

    Attributes:
        length: Length of a step (days).
        instants: Names of variables; of others it holds means and totals over a step.
    """

    length: float = 1.0
    instants: frozenset[str] = frozenset()

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Steps:
        """Return the steps of a training store from its attributes."""
        return cls(step_of_store(attributes), instant_variables(attributes))


# Whole days: everything that is reported on a day is averaged or summed.
DAYS = Steps()
