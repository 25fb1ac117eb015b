"""The section that separates prior, condition and observations, on made-up runs."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from slams.report.decomposition import decomposition
from slams.report.reading import AssimilationRun, read_assimilation
from slams.report.section import Section
from slams.report.style import in_order, method_style
from tests.report.synthetic import Runs

# Error of each added method as a share of that of another, whose dates and intervals it takes.
ADDED = {
    "background@linear_inverse_model": ("background", 0.9),
    "background@score_mean": ("background", 0.75),
    "optimal_interpolation@climatology": ("optimal_interpolation", 1.2),
    "optimal_interpolation@linear_inverse_model": ("optimal_interpolation", 0.95),
    "optimal_interpolation@score_mean": ("optimal_interpolation", 0.9),
    "latent_diffusion@climatology": ("latent_diffusion", 1.1),
}


def scaled(frame: pd.DataFrame, name: str, source: str, share: float, kind: str) -> pd.DataFrame:
    rows = frame[frame["method"] == source].assign(method=name)
    power = rows[kind].map({"mse": 2, "variance": 2}).fillna(1)
    fixed = rows[kind].isin(["spread_skill", "rank_chi2"])
    for column in {"value", "lower", "upper"} & set(rows.columns):
        rows[column] = rows[column] * (share**power).where(~fixed, 1.0)
    return rows


def with_added(run: AssimilationRun) -> AssimilationRun:
    cases, results = [run.cases], [run.results]
    for name, (source, share) in ADDED.items():
        cases.append(scaled(run.cases, name, source, share, "statistic"))
        results.append(scaled(run.results, name, source, share, "metric"))
    return replace(run, cases=pd.concat(cases), results=pd.concat(results))


@pytest.fixture(scope="module")
def settings(runs: Runs) -> list[AssimilationRun]:
    first, *others = [read_assimilation(path) for path in runs.assimilation]
    return [with_added(first), *others]


@pytest.fixture(scope="module")
def section(settings: list[AssimilationRun]) -> Section:
    return decomposition(settings)


def test_is_left_out_without_first_guesses(runs: Runs) -> None:
    assert decomposition([read_assimilation(runs.assimilation[0])]) is None


def test_every_row_has_its_numbers(settings: list[AssimilationRun], section: Section) -> None:
    table, steps = section.tables
    assert table.count("<tr>") - 1 == 4 + len(ADDED) + 1  # and the ensemble without observations
    results = settings[0].results
    chosen = (results["level"] == "mean") & (results["metric"] == "rmse")
    for name in (*ADDED, "climatology", "latent_diffusion"):
        rows = results[chosen & (results["method"] == name)]
        assert f'data-value="{float(rows["value"].iloc[0])!r}"' in table, name
    nothing = settings[3].results
    chosen = (nothing["level"] == "mean") & (nothing["metric"] == "crps")
    value = nothing.loc[chosen & (nothing["method"] == "latent_diffusion"), "value"].iloc[0]
    assert f'data-value="{float(value)!r}"' in table
    assert [panel.name for panel in section.panels] == ["decomposition_rmse", "decomposition_crps"]
    assert steps.count("<tr>") - 1 == 12


def test_differences_are_those_put_in(settings: list[AssimilationRun], section: Section) -> None:
    steps = section.tables[1]
    row = next(r for r in steps.split("<tr>") if "linear inverse model</td><td>background<" in r)
    # RMSE and CRPS both are exactly 10 % smaller on every date.
    values = [float(v) for v in re.findall(r'data-value="([^"]+)"', row)]
    assert values == pytest.approx([-10.0, -10.0], abs=1e-6)
    dates = settings[0].cases["date"].nunique()
    assert f"{dates} of {dates}" in row
    sentences = section.findings
    assert any(
        s.startswith("Condition: the RMSE of linear inverse model is 10.0 % below")
        for s in sentences
    )


def test_other_dates_without_observations_are_not_mixed_in(settings) -> None:
    some = sorted(set(settings[3].cases["date"]))[::2]
    nothing = replace(settings[3], cases=settings[3].cases[settings[3].cases["date"].isin(some)])
    assert "score ensemble" not in decomposition([settings[0], nothing]).tables[0]


def test_methods_on_first_guesses_have_a_place_and_a_look_of_their_own() -> None:
    names = ["latent_diffusion", "optimal_interpolation", "background", *ADDED]
    assert in_order(names) == [
        "background",
        "background@linear_inverse_model",
        "background@score_mean",
        "optimal_interpolation@climatology",
        "optimal_interpolation",
        "optimal_interpolation@linear_inverse_model",
        "optimal_interpolation@score_mean",
        "latent_diffusion@climatology",
        "latent_diffusion",
    ]
    styles = [method_style(name) for name in names]
    assert len({style.colour for style in styles}) == len(names)
    assert method_style("letkf@score_mean").label == "LETKF (static archive) on score mean"
