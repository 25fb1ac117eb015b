"""Bold marks the best method of a column, whichever it is."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from slams.report.best import best
from slams.report.reading import Estimate, read_assimilation
from slams.report.tables import method_table, other_tables
from tests.report.synthetic import Runs

NAN = math.nan


@pytest.mark.parametrize(
    ("metric", "values", "marked"),
    [
        ("rmse", [2.0, 1.0, 3.0], [1]),
        ("crps", [0.3, 1.0, 3.0], [0]),
        ("bias", [-0.3, 0.2, -0.1], [2]),
        ("spread_skill", [0.5, 1.3, 0.8], [2]),
        ("spread_skill", [0.9, 1.1, 0.2], [0, 1]),
        ("wasserstein", [0.02, NAN, 0.01], [2]),
        ("rmse", [1.004, 1.001, 1.01], [0, 1]),  # shown with two decimals
        ("seconds_per_member", [1.0, 2.0, 3.0], []),
        ("rmse", [NAN, 1.0, NAN], []),  # nothing to be better than
    ],
)
def test_the_best_is_nearest_to_what_is_perfect(
    metric: str, values: list[float], marked: list[int]
) -> None:
    estimates = [None if math.isnan(value) else Estimate(value) for value in values]
    assert [place for place, bold in enumerate(best(metric, estimates)) if bold] == marked


def test_estimates_tie_where_their_intervals_leave_no_digit_that_differs() -> None:
    narrow, wide = [Estimate(v, v - 0.01, v + 0.01) for v in (1.04, 1.03)], Estimate(1.03, 0, 2)
    assert best("rmse", narrow) == [False, True]
    assert best("rmse", [Estimate(1.04, 0, 2), wide]) == [True, True]


def test_bold_follows_the_winner_and_tables_of_variables_stay_narrow(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])

    def bold(html: str, column: int) -> list[str]:
        rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)[1:]
        cells = [re.findall(r"<t[hd].*?</t[hd]>", row, re.S) for row in rows]
        return [re.sub("<.*?>", "", row[0]) for row in cells if "<strong>" in row[column]]

    assert bold(method_table(run), 1) == ["latent diffusion"]
    results = run.results.copy()
    rmse = results["method"].eq("background") & results["metric"].eq("rmse")
    results.loc[rmse, ["value", "lower", "upper"]] *= 1e-2
    changed = replace(run, results=results)
    assert bold(method_table(changed), 1) == ["background"]
    tables = re.findall(r"<table.*?</table>", other_tables(changed), re.S)
    variables = set(results["variable"]) - {"temperature"}
    assert {re.search('id="table-others-(.*?)"', t)[1] for t in tables} >= {"2m_temperature"}
    assert len(tables) <= len(variables)
    for html in tables:
        assert html.count('<th scope="col">') == 4
        assert bold(html, 1) == ["background"]
