"""Squared errors are averaged by area and days before the root is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slams.benchmarks.state.bench import markdown
from slams.benchmarks.state.results import KeptResults, monthly_rows, summarise
from slams.errors import UserError


def _results() -> pd.DataFrame:
    names = [("3 years", "surface")]
    tables = [
        monthly_rows(row, month, days, names, [850, 500], np.array([[square, 9.0]]), [0.1])
        for row, month, days, square in [
            (0, "2001-01", 30, 4.0),
            (1, "2001-01", 30, 1.0),
            (0, "2001-02", 10, 16.0),
            (1, "2001-02", 10, 2.0),
        ]
    ]
    return pd.concat(tables, ignore_index=True)


def test_area_and_days_weigh_squares() -> None:
    table = summarise(_results(), np.array([0.5, 1.5]), seed=0).set_index("level")
    months = (0.25 * 4 + 0.75 * 1, 0.25 * 16 + 0.75 * 2)
    expected = ((30 * months[0] + 10 * months[1]) / 40) ** 0.5
    assert table.rmse["850"] == pytest.approx(expected)
    assert table.rmse["500"] == pytest.approx(3)
    assert table.rmse["mean"] == pytest.approx((expected + 3) / 2)


def test_markdown_has_a_line_per_state() -> None:
    text = markdown(summarise(_results(), np.array([0.5, 1.5]), seed=0))
    lines = text.splitlines()
    assert lines[0].startswith("| training | the state holds | 850 | 500 | mean |")
    assert lines[2].startswith("| 3 years | T and surface fields | ")
    assert "| 3.000 |" in lines[2]
    assert len(lines) == 3


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    kept = KeptResults.open(tmp_path, {"seed": 0, "train": [{"name": "one"}]})
    kept.write("row", _results())
    assert KeptResults.open(tmp_path, {"seed": 0, "train": [{"name": "one"}]}).has("row")
    pd.testing.assert_frame_equal(kept.read(["row", "missing"]), _results())
    for settings in ({"seed": 0, "train": []}, {"seed": 0}):
        with pytest.raises(UserError, match="a different 'train'; choose another --output"):
            KeptResults.open(tmp_path, settings)
