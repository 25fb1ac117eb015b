"""Settings are compared on dates they share, and not at all on dates they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slams.report.modalities import modality_study, setting_labels
from slams.report.paired import by_date
from slams.report.reading import AssimilationRun, read_assimilation
from tests.report.synthetic import Runs


@pytest.fixture
def settings(runs: Runs) -> list[AssimilationRun]:
    return [read_assimilation(path) for path in runs.assimilation]


def on_dates(run: AssimilationRun, dates: list[str]) -> AssimilationRun:
    return replace(run, cases=run.cases[run.cases["date"].isin(dates)])


def test_labels_say_what_was_observed(settings: list[AssimilationRun]) -> None:
    assert setting_labels(settings) == [
        "stations + satellite",
        "stations",
        "satellite",
        "no observations",
    ]
    twice = [settings[0], replace(settings[0], setting="recentred")]
    assert setting_labels(twice) == [
        "default (stations + satellite)",
        "recentred (stations + satellite)",
    ]


def test_same_dates_take_the_numbers_of_the_results(settings: list[AssimilationRun]) -> None:
    section = modality_study(settings)
    assert not section.missing
    results = settings[3].results
    rows = results[(results["method"] == "latent_diffusion") & (results["level"] == "mean")]
    value = rows.loc[rows["metric"] == "rmse", "value"].iloc[0]
    assert f'data-value="{float(value)!r}"' in section.tables[0]
    assert {panel.name for panel in section.panels} == {
        "modalities_rmse",
        "modalities_crps",
        "modalities_profile",
    }


def test_fewer_dates_are_scored_anew_on_those_in_common(settings: list[AssimilationRun]) -> None:
    dates = sorted(set(settings[0].cases["date"]))[::2]
    fewer = [settings[0], *(on_dates(run, dates) for run in settings[1:])]
    section = modality_study(fewer)
    assert "compared here on the 4 dates" in section.missing[0]
    cases = settings[0].cases
    mse = by_date(cases[cases["date"].isin(dates)], "latent_diffusion", "rmse")
    expected = float(np.sqrt(mse.mean()).mean())
    found = [
        float(v) for v in pd.Series(section.tables[0]).str.findall(r'data-value="([^"]*)"')[0]
    ]
    assert min(abs(value - expected) for value in found) < 1e-12


def test_other_dates_are_not_passed_off_as_comparable(settings: list[AssimilationRun]) -> None:
    dates = sorted(set(settings[0].cases["date"]))
    apart = [on_dates(settings[0], dates[:4]), on_dates(settings[3], dates[3:])]
    section = modality_study(apart)
    assert "share only 1 of them" in section.missing[0]
    assert not section.findings


def test_without_a_setting_that_observes_nothing_no_gain_is_claimed(
    settings: list[AssimilationRun],
) -> None:
    section = modality_study(settings[:3])
    assert section.findings == [
        "No setting without observations was run, so that the gain of each modality over none is "
        "unknown."
    ]


def test_stations_that_were_not_used_are_not_drawn(runs: Runs, tmp_path: Path) -> None:
    silent = runs.assimilation[3]
    assert read_assimilation(silent).stations is None
    assert len(read_assimilation(runs.assimilation[0]).stations) == 60
