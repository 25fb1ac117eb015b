"""A reading of a source: what is requested of it, and the repairs made while it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from slams.calendar.days import day_of
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """What is requested of a source, and the repairs made while it is read.

    Attributes:
        config: The source's section of the recipe. Its `daily` is the value of a day of instants:
            `instant` (00 UTC) or `mean` (of the day's steps); channels under `absent` may be
            missing, and are left out.
        channels: The channels to read.
        key: Dotted key of the source in the recipe, for messages.
        period: First and last day to read, days since 1970-01-01; `None` for all days.
        repairs: Descriptions of the repairs.
        label: What messages call the source; `source PATH` by default.
        step: Length (days) of the store's steps, see `slams.calendar.steps`.
    """

    config: SourceConfig
    channels: Sequence[FieldSpec]
    key: str
    period: tuple[float, float] | None = None
    repairs: list[str] = field(default_factory=list)
    label: str = ""
    step: float = 1.0

    @property
    def name(self) -> str:
        """What messages call the source."""
        return self.label or f"source {self.path}"

    @property
    def path(self) -> str:
        """Path of the source, or the first of its files, for messages."""
        return next(iter(self.config.files), self.config.path)

    @property
    def wanted(self) -> list[FieldSpec]:
        """The channels that the source must have."""
        return [c for c in self.channels if c.name not in self.config.absent]

    @property
    def variables(self) -> list[str]:
        """The variables that the source must have."""
        return list(dict.fromkeys(c.variable for c in self.wanted))

    def fault(self, text: str) -> UserError:
        """Return the error of a fault in the source's files."""
        return UserError(f"{self.name}: {text}")

    def of_period(self, days: np.ndarray) -> slice:
        """Return the positions of the requested days.

        Args:
            days: `(n,)` days since 1970-01-01, increasing; the last day has all its steps.

        Raises:
            UserError: There are none.
        """
        if self.period is None:
            return slice(0, len(days))
        first, last = self.period
        start, stop = np.searchsorted(days, first), np.searchsorted(days, last + 1)
        if start >= stop:
            dates = [day_of(day) for day in (first, last, days[0], days[-1])]
            raise UserError(
                f"data.period: the source has no data from {dates[0]} to {dates[1]}; "
                f"{self.key}.path, {self.path}, has {dates[2]} to {dates[3]}"
            )
        return slice(int(start), int(stop))
