"""Days that a recipe reads: windows as long as one analysis, and the days of a cycle."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from slams.config.schema import Config
from slams.config.splits import Piece, flat_days, parse_day, split_pieces
from slams.errors import UserError

# Days after which a cycle no longer depends on its first background, and the fewest days of a
# cycle whose errors are measured.
SPIN_UP = 20
FEWEST_ERROR_DAYS = 50

__all__ = ["analysed", "at_length", "cycle_pieces", "error_cycle"]


def at_length(config: Config) -> Config:
    """Return the recipe with windows as long as one analysis (`data.trajectory`)."""
    return replace(config, data=replace(config.data, window=config.data.days, trajectory=0))


def analysed(config: Config) -> Config:
    """Return the recipe by which the data of an assimilation are read.

    Windows are as long as one analysis. Cycles take the consecutive days of `cycle_pieces`; each
    makes its own gross-error check, against its own background.
    """
    config = at_length(config)
    if not config.assimilation.cycle_days:
        return config
    splits = replace(config.data.splits, test=flat_days(cycle_pieces(config)))
    return replace(
        config,
        data=replace(config.data, splits=splits, test_cases=0),
        observations=replace(config.observations, gross_error=math.inf),
    )


def cycle_pieces(config: Config) -> tuple[Piece, ...]:
    """Return the first and the last day of each cycle, in order of time.

    Raises:
        UserError: The test split has no days, a start is not a day, a cycle does not lie within
            one piece of the split, or two cycles overlap.
    """
    pieces = split_pieces(config.data.splits, "test")
    if not pieces:
        raise UserError(
            "key 'data.splits.test': found no days with assimilation.cycle_days, expected the "
            "first and the last day"
        )
    section, key = config.assimilation, "assimilation.cycle_starts"
    starts = sorted(parse_day(key, day) for day in section.cycle_starts) or [pieces[0][0]]
    length = timedelta(days=section.cycle_days - 1)
    for start in starts:
        piece = next((p for p in pieces if p[0] <= start <= p[1]), None)
        if piece is None:
            raise UserError(f"key {key!r}: found {start}, expected a day of data.splits.test")
        if start + length > piece[1]:
            days = (piece[1] - start).days + 1
            raise UserError(
                f"key 'assimilation.cycle_days': found {section.cycle_days}, expected no more "
                f"than the {days} days of data.splits.test ({start} to {piece[1]})"
            )
    for before, after in pairwise(starts):
        if after <= before + length:
            raise UserError(
                f"key {key!r}: the cycle from {after} overlaps with the {section.cycle_days} days "
                f"from {before}, expected cycles that have no day in common"
            )
    return tuple((start, start + length) for start in starts)


def error_cycle(config: Config) -> Config:
    """Return the recipe of the cycle over training days that measures background errors.

    It is one cycle over the last `cycle_errors` days of the training period, before the recipe's
    own.

    Raises:
        UserError: The last piece of the training period has fewer days.
    """
    section, key = config.assimilation, "assimilation.cycle_errors"
    first, last = split_pieces(config.data.splits, "train")[-1]
    start = last - timedelta(days=section.cycle_errors - 1)
    if start < first:
        raise UserError(
            f"key {key!r}: found {section.cycle_errors}, expected no more than the "
            f"{(last - first).days + 1} days of the last piece of data.splits.train"
        )
    # Splits may not overlap: the days are read as a test split alone. The climatology is of these
    # days, so that it has no error to be found.
    days = flat_days([(start, last)])
    splits = replace(config.data.splits, train=[], validation=[], test=days)
    cycle = replace(section, cycle_days=section.cycle_errors, cycle_starts=[], cycle_bias=0.0)
    return replace(config, data=replace(config.data, splits=splits), assimilation=cycle)
