"""Trajectories and cycles through the command line, on a made-up nature run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr

from slams.config.schema import BackgroundConfig, Config
from slams.modules.base import read_checkpoint
from slams.report.stored_fields import open_group
from slams.stages.cycles import cycle_maker
from tests.stages.commands import copy_stages, slams, study
from tests.stages.conftest import Study

METHODS = {"background", "climatology", "latent_diffusion", "optimal_interpolation"}
CYCLE_DAYS = 12


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path) -> Path:
    """Return the experiment's directory: five days analysed with networks of three."""
    root = tmp_path_factory.mktemp("trajectories")
    lags = [1, 2, 3, 4, 5, 6]
    study(root, tiny_source, window=3, trajectory=5, lags=lags, test_cases=4)
    words = ("observations.days=[0,4]", "assimilation.modality_study=0", "report.dpi=30")
    for verb in ("prepare", "train vae", "train score", "assimilate"):
        assert slams(root / "recipe.yaml", verb, *words) == 0
    return root / "runs" / "tiny"


@pytest.fixture(scope="module", params=[0.3, 0.0], ids=["means", "members"])
def cycle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, finished: Study
) -> Path:
    """Return the run directory of a cycle with the networks of the finished study."""
    runs = copy_stages(finished.config, tmp_path_factory.mktemp("cycle"), "vae", "score")
    words = (
        f"runs={runs}",
        "experiment=cycle",
        "pretrained_experiment=tiny",
        "background.lag=1",
        f"background.analysis_error={request.param}",
        f"assimilation.cycle_days={CYCLE_DAYS}",
        "assimilation.modality_study=0",
    )
    assert slams(finished.recipe, "assimilate", *words) == 0
    return runs / "cycle" / "assimilation"


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory, finished: Study) -> Path:
    """Return the run directory of two cycles from the climatology, with members of their own."""
    runs = tmp_path_factory.mktemp("cycles")
    methods = "climatology,optimal_interpolation,enkf_cycled,letkf_cycled"
    words = (
        f"runs={runs}",
        "experiment=cycles",
        "background.kind=climatology",
        f"assimilation.methods=[{methods}]",
        "assimilation.cycle_days=10",
        "assimilation.cycle_starts=[2001-03-29,2001-04-10]",
        "assimilation.cycle_start=climatology",
        "assimilation.cycle_spinup=3",
        "assimilation.cycle_errors=60",
        "assimilation.modality_study=0",
        "assimilation.member_forecast.folds=2",
        "assimilation.member_forecast.gap=1",
        "assimilation.member_forecast.rows=1",
        "assimilation.enkf_cycled.ensemble=20",
        "assimilation.letkf_cycled.ensemble=20",
        "assimilation.letkf_cycled.static_share=0.2",
        "assimilation.letkf_cycled.taper=[1.0,0.9]",
    )
    assert slams(finished.recipe, "assimilate", "--dry-run", *words) == 0
    assert slams(finished.recipe, "assimilate", *words) == 0
    return runs / "cycles" / "assimilation"


@pytest.mark.slow
def test_networks_see_windows_out_of_trajectories(trajectories: Path) -> None:
    latents = zarr.open_group(trajectories / "vae" / "latents_2.zarr", mode="r")
    assert latents["train/latents"].shape[1] == 5
    checkpoint = read_checkpoint(trajectories / "score" / "checkpoints" / "best.ckpt")
    assert checkpoint["slams"]["settings"]["latent_shape"][0] == 3


@pytest.mark.slow
def test_every_method_analyses_the_whole_trajectory(trajectories: Path) -> None:
    run = trajectories / "assimilation"
    for method in METHODS - {"background"}:
        group = xr.open_zarr(run / "analysis.zarr", group=method, consolidated=False)
        assert group.sizes["time"] == 5 * len(set(group["case"].values.tolist()))


@pytest.mark.slow
def test_days_are_scored_apart_and_the_observed_ones_are_known(trajectories: Path) -> None:
    days = pd.read_parquet(trajectories / "assimilation" / "days.parquet")
    results = pd.read_parquet(trajectories / "assimilation" / "results.parquet")
    assert [*results.columns, "day", "observed"] == sorted(
        days.columns, key=[*results.columns, "day", "observed"].index
    )
    assert set(days["method"]) == METHODS
    assert set(days["metric"]) == {"rmse", "crps", "spread_skill"}
    observed = days.groupby("day")["observed"].agg(["min", "max"])
    assert observed["min"].tolist() == [True, False, False, False, True]
    assert observed["max"].tolist() == [True, False, False, False, True]


@pytest.mark.slow
def test_mean_squared_errors_of_the_days_make_that_of_the_window(trajectories: Path) -> None:
    run = trajectories / "assimilation"
    days, results = (pd.read_parquet(run / f"{n}.parquet") for n in ("days", "results"))

    def of(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["metric"] == "rmse") & (table["level"] == "850")]

    squares = of(days).assign(value=lambda t: t["value"] ** 2).groupby("method")["value"].mean()
    whole = of(results).set_index("method")["value"] ** 2
    pd.testing.assert_series_equal(squares, whole.sort_index(), rtol=1e-5)


@pytest.mark.slow
def test_observations_help_most_on_their_own_days(trajectories: Path) -> None:
    states = {
        name: open_group(trajectories / "assimilation/analysis.zarr", name)["temperature"].load()
        for name in ("truth", "background", "optimal_interpolation")
    }
    truth = states["truth"]
    area = np.cos(np.deg2rad(truth["latitude"]))

    def squared_error(state: xr.DataArray) -> xr.DataArray:
        return ((state - truth) ** 2).weighted(area).mean(["level", "latitude", "longitude"])

    background = squared_error(states["background"])
    analysis = squared_error(states["optimal_interpolation"].mean("member"))
    gain = 1 - analysis / background
    observed, unobserved = gain.isel(day=[0, 4]), gain.isel(day=[1, 2, 3])
    assert gain.sizes["case"] > 1
    # Case by case: better than the background on each observed day, by more than on the others.
    assert (observed > 0).all()
    assert (observed.mean("day") > unobserved.mean("day")).all()


@pytest.mark.slow
def test_the_report_shows_days(trajectories: Path) -> None:
    report = trajectories / "assimilation" / "report"
    assert "Days of the window, observed and not" in (report / "index.html").read_text()
    assert (report / "figures" / "days_rmse.png").stat().st_size > 0


def test_a_cycle_scores_consecutive_days(cycle: Path) -> None:
    cases = pd.read_parquet(cycle / "cases.parquet")
    assert set(cases["method"]) == METHODS
    expected = pd.date_range("2001-03-28", periods=CYCLE_DAYS).strftime("%Y-%m-%d").tolist()
    assert sorted(cases["date"].unique()) == expected


def test_without_observations_a_cycle_forgets_and_with_them_it_does_not(cycle: Path) -> None:
    cases = pd.read_parquet(cycle / "cases.parquet")
    rows = cases[(cases["statistic"] == "mse") & (cases["level"] == "850")]
    error = rows.pivot_table(index="date", columns="method", values="value")
    start, end = error.iloc[0], error.iloc[-5:].mean()
    # The free run starts from the truth of the day before and ends in the climatology.
    assert start["background"] < 0.7 * start["climatology"]
    assert end["background"] == pytest.approx(end["climatology"], rel=0.1)
    assert end["optimal_interpolation"] < 0.8 * end["climatology"]


def test_departures_are_those_from_each_methods_own_background(cycle: Path) -> None:
    rows = pd.read_parquet(cycle / "observations.parquet")
    rows = rows[(rows["quantity"] == "o_minus_b") & (rows["observation"].str.startswith("stat"))]
    sd = rows.set_index("method")["sd"]
    assert sd["optimal_interpolation"] < sd["background"]


def test_the_drift_of_a_cycle_is_written_and_shown(cycle: Path) -> None:
    drift = pd.read_parquet(cycle / "drift.parquet")
    assert set(drift["method"]) == METHODS
    assert set(drift["metric"]) == {"rmse", "bias"}
    assert (drift["lower"] <= drift["slope"]).all()
    assert "The cycle, day by day" in (cycle / "report" / "index.html").read_text()


def test_cycles_from_the_climatology_score_their_days_after_the_spin_up(cycles: Path) -> None:
    cases = pd.read_parquet(cycles / "cases.parquet")
    days = [f"2001-04-{day:02d}" for day in (*range(1, 8), *range(13, 20))]
    assert sorted(cases["date"].unique()) == days
    drift = pd.read_parquet(cycles / "drift.parquet")
    assert set(drift["cycle"]) == {"2001-03-29", "2001-04-10"}


def test_members_that_are_carried_on_know_more_than_the_climatology(cycles: Path) -> None:
    """Their spread is not asked about: seventy days of training are another climate."""
    results = pd.read_parquet(cycles / "results.parquet")
    rows = results[(results["level"] == "850") & (results["metric"] == "rmse")]
    rmse = rows.set_index("method")["value"]
    assert rmse["letkf_cycled"] < 0.9 * rmse["climatology"]
    assert rmse["enkf_cycled"] < 0.9 * rmse["climatology"]
    observed = pd.read_parquet(cycles / "observations.parquet")
    chi2 = observed[observed["quantity"] == "o_minus_b"].groupby("method")["chi2"].mean()
    assert chi2["letkf_cycled"] < chi2["climatology"]


@pytest.mark.parametrize(("error", "members"), [(0.0, True), (0.3, False)])
def test_members_are_cycled_where_the_networks_know_true_states(
    error: float, members: bool
) -> None:
    whole = torch.ones(1, 1, 2, 2)
    data = SimpleNamespace(
        provider=SimpleNamespace(persistence=(whole, whole), config=BackgroundConfig()),
        normaliser=None,
        superobs=None,
    )
    config = Config()
    config.assimilation.cycle_days = 3
    config.background.analysis_error = error
    assert cycle_maker(config, data)(SimpleNamespace(name="m")).members is members
