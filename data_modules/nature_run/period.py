"""The time steps of a nature run: daily means, or instants every six hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slams.config.schema import SimulateConfig

__all__ = ["Period"]

_INSTANT_HOURS = 6


@dataclass(frozen=True)
class Period:
    """The time axis of a nature run.

    Attributes:
        first: First day, without the spin-up.
        days: Number of days.
        hours: Hours between steps.
        instants: Whether the steps are instants rather than means over the interval between steps.
    """

    first: np.datetime64
    days: int
    hours: int = 24
    instants: bool = False

    @classmethod
    def of(cls, settings: SimulateConfig) -> Period:
        """Return the period that a recipe's section `simulate` requests."""
        first = np.datetime64(settings.start, "D")
        month = first.astype("datetime64[M]")
        months = (month + settings.months).astype("datetime64[D]") - month.astype("datetime64[D]")
        days = int(months.astype(np.int64))
        if settings.sampling == "instants":
            return cls(first, days, _INSTANT_HOURS, True)
        return cls(first, days)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.days * 24 // self.hours

    @property
    def times(self) -> np.ndarray:
        """The instants, or the beginning of each day: `(steps,)` datetime64[ns]."""
        hours = np.arange(self.steps) * np.timedelta64(self.hours, "h")
        return self.first.astype("datetime64[ns]") + hours

    @property
    def lead_in(self) -> np.timedelta64:
        """Time by which the model starts before the first step, in addition to the spin-up.

        The model outputs instants at the end of each interval, so midnight of the first day is the
        end of the interval before it.
        """
        return np.timedelta64(self.hours if self.instants else 0, "h")
