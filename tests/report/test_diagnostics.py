"""Exhibits of regions, spectra and observation space say what their tables say."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from slams.report.held_out import held_out, observation_ranks
from slams.report.innovations import consistency, innovations
from slams.report.observation_space import root
from slams.report.reading import Estimate, read_assimilation
from slams.report.regions import regional_scores
from slams.report.spectra import half_power, scales_with_power, spectra
from tests.report.synthetic import Runs


@pytest.fixture(scope="module")
def run(runs: Runs):
    return read_assimilation(runs.assimilation[0])


def test_regions_are_compared_panel_by_panel(run) -> None:
    section = regional_scores(run)
    assert [p.name for p in section.panels] == [
        "regions_rmse",
        "regions_crps",
        "regions_spread_skill",
    ]
    # Three tables of six regions and four methods each.
    assert section.tables[0].count("data-value") == 3 * 6 * 4
    assert all("tropics" in text for text in section.findings)


def test_estimates_stand_beside_what_was_assumed(run) -> None:
    section = consistency(run)
    assert all("imply an observation error of 1.1" in text for text in section.findings)
    assert len(section.findings) == 2
    assert "climatology" not in section.tables[0]
    assert section.tables[0].count("Stations: 2 m temperature (K)") == 2
    assert section.tables[0].count("<td>9,000</td>") == 2
    assert root(Estimate(4.0, 1.0, 9.0, 5)) == Estimate(2.0, 1.0, 3.0, 5)
    assert root(Estimate(-1.0)) is None
    assert math.isnan(root(Estimate(4.0)).lower)


def test_held_out_stations_have_their_table(run) -> None:
    section = held_out(run)
    assert section.tables[0].count("<tr>") == 1 + 4
    assert "the smallest CRPS is that of latent diffusion" in section.findings[0]
    space = run.observation_space
    without = replace(run, observation_space=space[space["use"] == "assimilated"])
    assert "observations.stations.held_out" in held_out(without).missing[0]


def test_ranks_judge_only_by_what_a_method_has_not_seen(run) -> None:
    section = observation_ranks(run)
    assert len(section.panels) == 1
    assert len(section.findings) == 4
    assert "28.6 % of 800 observations lie outside all members (28.6 % exp" in section.findings[0]
    ranks = run.observation_ranks
    without = replace(run, observation_ranks=ranks[ranks["use"] == "assimilated"])
    section = observation_ranks(without)
    assert len(section.findings) == 2  # climatology and background
    assert "No station was held out" in section.missing[0]


def test_departures_by_region_are_folded_away(run) -> None:
    section = innovations(run)
    assert "<details>" in section.tables[1]
    assert section.tables[1].count("<tr>") == 1 + 5 * 4


def test_spectra_say_where_the_mean_loses_half_its_power(run) -> None:
    section = spectra(run, 850)
    assert [p.name for p in section.panels] == [
        "spectra_spherical",
        "spectra_ratio_members",
        "spectra_ratio_mean",
        "spectra_zonal_tropics",
    ]
    assert len(section.findings) == 4
    said = "members have 80 % of the truth's variance at total wavenumbers 9 to 11;"
    assert said in section.findings[0]
    assert "half of the truth's power at wavenumber 7" in section.findings[0]


def test_small_scales_end_where_the_truth_has_no_power(run) -> None:
    """What members add beyond a truncation is a multiple of next to nothing."""
    table = run.spectra.copy()
    beyond = table["wavenumber"].gt(6)
    table.loc[beyond, "truth"] *= 1e-3
    table.loc[beyond, "members"] *= 1e3
    section = spectra(replace(run, spectra=table), 850)
    said = "members have 80 % of the truth's variance at total wavenumbers 5 to 6;"
    assert all(said in text for text in section.findings)
    rows = pd.DataFrame({"truth": [999.0, 0.5, 0.25, 0.25]})
    assert scales_with_power(rows) == 1
    assert scales_with_power(rows.iloc[1:]) == 3


def test_half_power_is_where_the_mean_first_falls_below() -> None:
    """One low wavenumber does not count, nor does what comes after the scales of the truth."""
    mean = [0.9, 0.9, 0.2, 0.9, 0.8, 0.3, 0.2, 0.1, 0.9, 0.9]
    rows = pd.DataFrame({"wavenumber": range(1, 11), "truth": 1.0, "mean": mean})
    assert half_power(rows) == 6
    assert half_power(rows.iloc[:5]) is None
    assert half_power(rows.iloc[[5, 6]]) == 6
