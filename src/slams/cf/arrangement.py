"""From arrays of channels to variables with levels on one axis of time.

`B` cases of `T` days become `B * T` times in order. A variable that lacks some of the levels of
the others has a fill value there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from slams.calendar.days import time_stamps
from slams.errors import UserError

if TYPE_CHECKING:
    from slams.fields import Ensemble, FieldSpec

__all__ = ["Arrangement"]


@dataclass(frozen=True)
class Arrangement:
    """Where the values of an ensemble are found in a dataset.

    Attributes:
        order: `(B * T,)` indices that sort the days of all cases by time.
        time: `(B * T,)` days since 1970-01-01 00 UTC, increasing.
        levels: All levels (hPa), from the ground up.
        channels: The channels, in the order of the arrays.
    """

    order: np.ndarray
    time: np.ndarray
    levels: tuple[int, ...]
    channels: tuple[FieldSpec, ...]

    @classmethod
    def of(cls, ensemble: Ensemble) -> Arrangement:
        """Arrange an ensemble.

        Raises:
            UserError: Two of its times are equal.
        """
        time = ensemble.time.cpu().numpy().astype(np.float64).ravel()
        order = np.argsort(time, kind="stable")
        stamps = time_stamps(time[order])
        twice = stamps[1:][stamps[1:] == stamps[:-1]]
        if twice.size:
            cases, days = ensemble.time.shape
            raise UserError(
                f"the analyses of {ensemble.method}, {cases} cases of {days} days, have "
                f"{twice[0]} more than once, expected distinct days on one axis of time; convert "
                f"cases that overlap one at a time"
            )
        levels = {c.level for c in ensemble.channels if c.level is not None}
        return cls(order, time[order], tuple(sorted(levels, reverse=True)), ensemble.channels)

    def variables(
        self, values: np.ndarray, missing: float
    ) -> Iterator[tuple[FieldSpec, xr.Variable]]:
        """Iterate over the variables of `(B, M, T, C, H, W)`.

        Args:
            values: The values of all channels.
            missing: Value at levels where a variable has no channel.

        Yields:
            The first channel of a variable, and its values `(time, realization, level, latitude,
            longitude)`; without `level` for a variable that has none.
        """
        cases, members, days, _, *plane = values.shape
        first = {c.variable: c for c in reversed(self.channels)}
        for variable in dict.fromkeys(c.variable for c in self.channels):
            index = {c.level: i for i, c in enumerate(self.channels) if c.variable == variable}
            dims = ["time", "realization", "level", "latitude", "longitude"]
            if None in index:
                dims.remove("level")
                array = values[:, :, :, index[None]]
            else:
                shape = (cases, members, days, len(self.levels), *plane)
                array = np.full(shape, missing, dtype=values.dtype)
                for position, level in enumerate(self.levels):
                    if level in index:
                        array[:, :, :, position] = values[:, :, :, index[level]]
            array = np.moveaxis(array, 1, 2)
            array = array.reshape(cases * days, *array.shape[2:])
            yield first[variable], xr.Variable(dims, array[self.order])
