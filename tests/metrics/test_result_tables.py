"""Records are merged exactly once, and the printed table says what the rows say."""

from __future__ import annotations

import io

import pandas as pd
import pytest
import torch
from rich.console import Console

from slams.errors import UserError
from slams.metrics.observation_space import ObservedSums
from slams.metrics.printing import print_departures, print_methods
from slams.metrics.records import MethodRecord


def record(*cases):
    number = len(cases)
    empty = MethodRecord.empty(2, 3)
    return MethodRecord(
        case=torch.tensor(cases, dtype=torch.int64),
        time=torch.tensor(cases, dtype=torch.float64),
        members=3,
        statistics={
            k: torch.full((number, *v.shape[1:]), float(sum(cases))).double()
            for k, v in empty.statistics.items()
        },
        seconds=torch.ones(number, dtype=torch.float64),
        diverged=torch.zeros(number, dtype=torch.int64),
        observed=tuple(
            {("a", "held_out"): ObservedSums(torch.full((6, 12), c), torch.full((4,), c))}
            for c in cases
        ),
    )


def test_merge_orders_cases_and_keeps_their_rows_together():
    merged = MethodRecord.merge([record(4, 1), MethodRecord.empty(2, 3), record(3)])
    assert merged.case.tolist() == merged.time.tolist() == [1, 3, 4]
    assert merged.statistics["mse"][:, 0].tolist() == [5, 3, 5]
    assert merged.statistics["rank"].shape == (3, 2, 4)
    assert [int(o["a", "held_out"].ranks[0]) for o in merged.observed] == [1, 3, 4]


def test_merge_refuses_a_case_that_was_evaluated_twice():
    # Seven cases on two ranks, padded to four each, as Lightning's default sampler does.
    with pytest.raises(UserError, match="case 0 was evaluated twice"):
        MethodRecord.merge([record(0, 2, 4, 6), record(1, 3, 5, 0)])


def rows(method, value, lower, upper, variable="temperature", level="mean"):
    return [
        (method, "default", variable, level, metric, value, lower, upper, 24)
        for metric in ("rmse", "crps", "spread_skill", "bias")
    ]


def test_printed_table():
    columns = ["method", "setting", "variable", "level", "metric", "value", "lower", "upper", "n"]
    results = pd.DataFrame(
        rows("background", 2.3456, 2.2111, 2.4222)
        + rows("latent_diffusion", 1.4321, float("nan"), float("nan"))
        + rows("background", 9.0, 8.0, 10.0, level="850"),
        columns=columns,
    )
    out = io.StringIO()
    print_methods(results, Console(file=out, width=120))
    text = out.getvalue()
    assert "2.35 [2.21, 2.42]" in text
    assert "1.43" in text
    assert "n = 24" in text
    assert "9.0" not in text
    print_methods(results[:0], Console(file=out))  # nothing to show is not an error


def test_printed_departures_are_those_of_five_days_each():
    dates = [str(d.date()) for d in pd.date_range("2020-01-01", periods=7)]
    table = pd.DataFrame(
        {
            "method": "background",
            "setting": "default",
            "cycle": "2020-01-01",
            "case": range(7),
            "date": dates,
            "observation": "stations/2m_temperature",
            "use": "held_out",
            "n": [1, 1, 1, 1, 4, 2, 2],
            "o_minus_b_mean": 0.0,
            "o_minus_b_rms": [1.0, 1.0, 1.0, 1.0, 3.0, 6.0, 8.0],
            "o_minus_a_mean": 0.0,
            "o_minus_a_rms": 0.25,
        }
    )
    out = io.StringIO()
    print_departures(table, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert any("1-5" in line and "6-7" in line for line in lines)
    values = [line.replace("│", " ").split() for line in lines if "background" in line]
    assert values == [["background", "2.24", "7.07"], ["background", "0.25", "0.25"]]
