"""Days that a recipe reads: windows as long as one analysis, and the days of a cycle."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from slams.config.schema import Config
from slams.config.splits import Piece, flat_days, split_pieces
from slams.errors import UserError

__all__ = ["analysed", "at_length", "first_test_piece"]


def at_length(config: Config) -> Config:
    """Return the recipe with windows as long as one analysis (`data.trajectory`)."""
    return replace(config, data=replace(config.data, window=config.data.days, trajectory=0))


def analysed(config: Config) -> Config:
    """Return the recipe by which the data of an assimilation are read.

    Windows are as long as one analysis. A cycle takes consecutive days from the first day of the
    test split, all in its first piece; it makes its own gross-error check, against its own
    background.
    """
    config = at_length(config)
    days = config.assimilation.cycle_days
    if not days:
        return config
    first, _ = first_test_piece(config)
    last = first + timedelta(days=days - 1)
    splits = replace(config.data.splits, test=flat_days([(first, last)]))
    return replace(
        config,
        data=replace(config.data, splits=splits, test_cases=0),
        observations=replace(config.observations, gross_error=math.inf),
    )


def first_test_piece(config: Config) -> Piece:
    """Return the first piece of the test split, in which a cycle takes its days.

    Raises:
        UserError: There is none.
    """
    pieces = split_pieces(config.data.splits, "test")
    if not pieces:
        raise UserError(
            "key 'data.splits.test': found no days with assimilation.cycle_days, expected the "
            "first and the last day"
        )
    return pieces[0]
