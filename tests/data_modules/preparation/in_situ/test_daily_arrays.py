"""Daily values as arrays: parts are joined as if they had been one table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data_modules.preparation.in_situ.checked import DailyReports
from data_modules.preparation.in_situ.daily_arrays import daily_arrays
from slams.fields import FieldSpec

OBSERVED = [FieldSpec.parse("2m_temperature"), FieldSpec.parse("total_precipitation_24hr")]
DAYS = np.arange(100, 110)
# Station, day, channel, value (K, mm day-1), error.
VALUES = [
    ("C", 104, 0, 280.0, 1.0),
    ("C", 107, 1, 3.0, np.nan),
    ("A", 103, 0, 270.0, 2.0),
    ("A", 104, 1, 0.0, 1.0),
    ("B", 105, 0, 290.0, np.nan),
]


def reports(names: str, error: bool = True) -> DailyReports:
    """Return the values of some stations, one of which has no daily value."""
    rows = [row for row in VALUES if row[0] in names]
    daily = pd.DataFrame(rows, columns=["station_id", "day", "channel", "value", "error"])
    places = pd.DataFrame({"station_id": list(names)})
    places = places.assign(latitude=[10.0 * ord(n) for n in names], longitude=0.0, elevation=1.0)
    counts = {"reports": 2 * len(rows), "flag: X": 1, "daily values": len(rows)}
    return DailyReports(places, daily if error else daily.drop(columns="error"), counts, {"r": 1})


def test_parts_give_the_arrays_of_the_whole():
    whole = daily_arrays([reports("CDAB")], OBSERVED, DAYS)
    parts = daily_arrays([reports("CD"), reports("E"), reports("AB")], OBSERVED, DAYS)
    assert whole.places["station_id"].tolist() == ["A", "B", "C"]
    assert whole.first == 3
    assert whole.values.shape == (5, 3, 2)  # days 103 to 107
    assert whole.values[0, 0, 0] == 270
    assert whole.values[4, 2, 1] == np.log1p(3)
    assert np.isfinite(whole.values).sum() == len(VALUES)
    assert whole.errors[1, 2, 0] == 1
    pd.testing.assert_frame_equal(parts.places, whole.places)
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(parts.errors, whole.errors)
    assert parts.first == whole.first
    assert parts.counts == {"reports": 10, "flag: X": 3, "daily values": 5}
    assert list(parts.counts)[-1] == "daily values"
    assert parts.repairs == {"r": 3}


def test_errors_are_missing_where_a_part_states_none():
    found = daily_arrays([reports("AB"), reports("C", error=False)], OBSERVED, DAYS)
    assert np.isnan(found.errors[:, 2]).all()
    assert found.errors[0, 0, 0] == 2
    assert daily_arrays([reports("C", error=False)], OBSERVED, DAYS).errors is None


def test_nothing_is_an_empty_array():
    found = daily_arrays([reports("D")], OBSERVED, DAYS)
    assert found.values.shape == (0, 0, 2)
    assert found.places.empty
    assert found.counts["daily values"] == 0
