r"""Images of days on one grid, whatever files they come from.

The values of a cell on a UTC day, `n` pixels or times with the standard deviations `s_i` of their
errors, are averaged with equal weights. The error variance of the mean is that of a
superobservation (`slams.observations.superobs`) and the representativeness error `r`,

    ((1 - rho) sum s_i^2 + rho (sum s_i)^2) / n^2 + r^2,

which is `s^2 / n + r^2` for equal errors without correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from data_modules.sources.stations.reports.accounting import Accounting, describe_left_out
from slams.config.schema import SatelliteConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.normalisation import TRANSFORMS
from slams.observations.image_cells import ImageGrid
from slams.observations.superobs import superob_variance

__all__ = ["ImageDays", "Imagery", "Record", "averaged", "in_channel_units"]


@dataclass(frozen=True)
class ImageDays:
    """Images of `n` days.

    Attributes:
        values: `(n, y, x)` physical units, NaN in gaps.
        errors: `(n, y, x)` standard deviations of their errors, NaN in gaps.
        counts: `(n, y, x)` float32 number of pixels or times averaged, NaN in gaps.
        hours: `(n, y, x)` float32 mean time within the UTC day, or from the time of the step on
            (hours), NaN in gaps.
    """

    values: np.ndarray
    errors: np.ndarray
    counts: np.ndarray
    hours: np.ndarray


@dataclass
class Record:
    """Record of what was read and left out, filled while images are read.

    Attributes:
        left_out: Account of values that cannot be used.
        used: Number of values that were used.
        notes: Repairs and conventions, in words.
    """

    left_out: Accounting
    used: int = 0
    notes: list[str] = field(default_factory=list)
    _fits: bool = False
    _fault: UserError | None = None

    def judge(self, fault: UserError | None) -> None:
        """Take note of whether a part of the files has the units that are expected.

        A damaged part is left out; units that are wrong are so in all parts.

        Args:
            fault: What is wrong with the part, `None` if nothing is.
        """
        self._fits |= fault is None
        self._fault = self._fault or fault

    def check(self) -> None:
        """Refuse files of other units, or of which too much was left out.

        Raises:
            UserError: No part has the units that are expected, or the share is above the limit.
        """
        self.check_units()
        self.left_out.check(self.used)

    def check_units(self) -> None:
        """Refuse files of other units, another sign or a fill value that is not declared.

        Raises:
            UserError: No part that was read has the units that are expected.
        """
        if self._fault and not self._fits:
            raise self._fault

    def lines(self) -> list[str]:
        """Return what was used and left out, in words."""
        rest = describe_left_out(self.left_out.records, self.used, "values")
        return [f"imagery: {self.used} values used", *(f"imagery: {x}" for x in (rest,) if x)]


class Imagery(Protocol):
    """Images of days on one grid, read when they are needed.

    Attributes:
        grid: Their grid.
        days: `(N,)` int64 days since 1970-01-01 that may have an image, increasing.
        several: Whether a cell may be the mean of several pixels or times of a day.
        record: What was read, complete once all days are read.
    """

    grid: ImageGrid
    days: np.ndarray
    several: bool
    record: Record

    def read(self, days: Sequence[int]) -> ImageDays:
        """Read the images of some days, each day once; a day without an image is a gap.

        Raises:
            UserError: The files cannot be read.
        """
        ...


def averaged(
    values: np.ndarray,
    variances: np.ndarray,
    sds: np.ndarray,
    hours: np.ndarray,
    counts: np.ndarray,
    satellite: SatelliteConfig,
) -> ImageDays:
    """Return means from sums, all of one shape `(n, y, x)`.

    Args:
        values: Sums of values.
        variances: Sums of error variances.
        sds: Sums of standard deviations.
        hours: Sums of times within the day (hours).
        counts: Number of summands.
        satellite: The recipe's section, for correlation and representativeness error.
    """
    source = satellite.source
    number = np.where(counts > 0, counts, np.nan)
    variance = superob_variance(variances / number, sds / number, number, source.correlation)
    return ImageDays(
        values / number,
        np.sqrt(variance + source.representativeness**2),
        number.astype(np.float32),
        (hours / number).astype(np.float32),
    )


def in_channel_units(images: ImageDays, channel: FieldSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return values and errors in channel units, `(n, y, x)` float32 each."""
    transform = TRANSFORMS[channel.transform]
    errors = transform.error(images.values, images.errors)
    values = transform.forward_array(images.values)
    return values.astype(np.float32), errors.astype(np.float32)
