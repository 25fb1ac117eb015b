"""Columns of tables: missing ones, times, numbers, and rows that do not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.tables.columns import (
    check_rows,
    position_rules,
    refuse_missing,
    times_and_numbers,
)
from slams.errors import UserError

TABLE = pd.DataFrame(
    {"time": ["2001-03-28", "2001-03-28T06:00+06:00"], "value": ["1.5", None]}, index=[3, 8]
)


def test_times_and_numbers_keep_the_index() -> None:
    found = times_and_numbers(TABLE, ["value"], "table")
    assert found.index.tolist() == [3, 8]
    assert found["time"].tolist() == [pd.Timestamp("2001-03-28")] * 2
    np.testing.assert_array_equal(found["value"], [1.5, np.nan])
    nullable = TABLE.assign(value=pd.array([1, None], dtype="Int64"))
    np.testing.assert_array_equal(
        times_and_numbers(nullable, ["value"], "t")["value"], [1, np.nan]
    )


def test_a_missing_column_is_named_with_the_most_similar_one() -> None:
    with pytest.raises(UserError) as refusal:
        refuse_missing(
            TABLE.rename(columns={"value": "values"}), ["time", "value"], ["error"], "t"
        )
    assert str(refusal.value) == (
        "t: column 'value' is missing; expected time, value and optionally error, found time, "
        "values; rename 'values' to 'value'"
    )
    # A column that is something else is not suggested.
    with pytest.raises(UserError, match=r"found longitude$"):
        refuse_missing(pd.DataFrame({"longitude": [1]}), ["latitude", "longitude"], ["error"], "t")


def test_the_first_row_that_does_not_fit_is_named() -> None:
    rows = pd.DataFrame(
        {
            "time": pd.to_datetime(["2001-03-28"] * 3),
            "latitude": [0.0, 1.0, 2.0],
            "longitude": [0.0, 361.0, 400.0],
            "value": [1.0, 2.0, 3.0],
        },
        index=[2, 5, 7],
    )
    with pytest.raises(UserError, match=r"t: row 5 has longitude 361.0, expected within \[-180"):
        check_rows(rows, position_rules(rows), "t")
