"""Whether training days show the whole year, as the annual harmonics of the climatology need.

Harmonics that are fitted to a part of the year are free in the rest of it: one harmonic fitted to
January to September is wrong by tens of K in November. A gap of up to a month is bridged.
"""

from __future__ import annotations

import numpy as np

from data_modules.store.training_store import iso_date
from slams.errors import UserError
from slams.normalisation import DAYS_PER_YEAR

__all__ = ["LONGEST_GAP", "check_seasons"]

# Longest part of the calendar year (days) without any training day. Three harmonics fitted to one
# year of weather of 4 K with a memory of five days (AR(1), 400 draws) have a standard error within
# the gap of 1.7 K without one, 2.3 K for 31 days, 3.5 K for 60, 6.3 K for 90 and 75 K for 180.
LONGEST_GAP = 31


def check_seasons(days: np.ndarray, harmonics: int) -> None:
    """Refuse annual harmonics where training days leave out a part of the calendar year.

    Args:
        days: `(N,)` training days that the sources have, since 1970-01-01, at least one.
        harmonics: Number of annual harmonics; none need no season.

    Raises:
        UserError: More than `LONGEST_GAP` days of the year have no training day.
    """
    if not harmonics:
        return
    phase, first = np.unique(np.mod(days, DAYS_PER_YEAR), return_index=True)
    gaps = np.diff(phase, append=phase[0] + DAYS_PER_YEAR)
    widest = int(gaps.argmax())
    missing = round(float(gaps[widest])) - 1
    if missing <= LONGEST_GAP:
        return
    after = iso_date(days[first[widest]] + 1)
    until = iso_date(days[first[widest]] + missing)
    raise UserError(
        f"data.splits.train: its {len(days)} days leave out {missing} days of the calendar year "
        f"({after[5:]} to {until[5:]} by month and day), where data.harmonics, {harmonics} annual "
        f"harmonics, would be wrong by many K; expected at most {LONGEST_GAP} days left out: "
        f"lengthen the training period to a year or more, set data.statistics_from to a store "
        f"that has the whole year, or set data.harmonics to 0 for a climatology without seasons"
    )
