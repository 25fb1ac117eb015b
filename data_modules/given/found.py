"""The observations that were found in what a user gave, with their counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slams.fields import Observations

__all__ = ["NOT_A_CHANNEL", "OUTSIDE", "Given"]

# Reasons for which observations are not used, as they are counted.
NOT_A_CHANNEL = "not a channel of this model"
OUTSIDE = "outside the day"


@dataclass(frozen=True)
class Given:
    """Observations of one case of one day, and what became of everything that was given.

    Attributes:
        observations: One per name, `(1, 1, P)` each, all of them observed.
        counts: By name of observations, `given` (reports, or points of an image), then what was
            not used by reason, and `used` (daily values, or footprints). Until `averaged over the
            day`, the numbers are of reports; after it, of daily values: together with `used`, the
            reasons add up to `given`, except where values are interpolated between levels.
        notes: Repairs made, in words.
    """

    observations: tuple[Observations, ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __add__(self, other: Given) -> Given:
        return Given(
            self.observations + other.observations,
            {**self.counts, **other.counts},
            self.notes + other.notes,
        )
