"""A store with steps of six hours from source to report, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from data_modules.store.training_store import TrainingStore
from slams.api import load
from slams.config.loading import to_yaml
from slams.config.schema import Config
from slams.errors import UserError
from slams.stages.model import Model
from tests.six_hourly import DAYS, diurnal_cycle, six_hourly_run, six_hourly_study
from tests.stages.commands import slams

_HOURS = ("T06:00:00", "T12:00:00", "T18:00:00")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a recipe whose store is prepared and whose networks are trained for a few steps."""
    root = tmp_path_factory.mktemp("six_hourly")
    six_hourly_run(root / "instants.zarr")
    config = six_hourly_study(root, root / "instants.zarr")
    config.score.lags = [1]
    (root / "recipe.yaml").write_text(to_yaml(config))
    for verb in ("prepare", "train vae", "train score"):
        assert slams(root / "recipe.yaml", verb) == 0, verb
    return config


def test_assimilation_of_single_steps(trained: Config) -> None:
    recipe = Path(trained.data.store).parent / "recipe.yaml"
    assert slams(recipe, "assimilate") == 0
    run = Path(trained.runs) / trained.experiment / "assimilation"
    cases = pd.read_parquet(run / "cases.parquet")
    hours = pd.to_datetime(cases["date"].unique(), format="ISO8601").hour
    assert len(set(hours)) > 1
    results = pd.read_parquet(run / "results.parquet")
    assert np.isfinite(results.loc[results["metric"] == "rmse", "value"]).all()
    analysis = xr.open_zarr(run / "analysis.zarr", group="latent_diffusion", consolidated=False)
    assert analysis["temperature"].attrs["cell_methods"] == "time: point"


def test_a_cycle_goes_from_step_to_step(trained: Config) -> None:
    recipe = Path(trained.data.store).parent / "recipe.yaml"
    words = (
        "experiment=cycled",
        "pretrained_experiment=tiny",
        "background.lag=1",
        "score.lags=[]",
        "assimilation.methods=[optimal_interpolation]",
        "assimilation.cycle_days=3",
        "assimilation.cycle_spinup=1",
        "assimilation.cycle_start=climatology",
        "assimilation.keep_cases=0",
    )
    assert slams(recipe, "assimilate", *words) == 0
    cases = pd.read_parquet(Path(trained.runs) / "cycled" / "assimilation" / "cases.parquet")
    # Two days of four steps are scored; the day of the spin-up is not.
    dates = sorted(cases["date"].unique())
    assert dates == [f"2001-02-{day}{hour}" for day in (16, 17) for hour in ("", *_HOURS)]


def test_the_climatology_has_the_diurnal_cycle(trained: Config) -> None:
    store = TrainingStore.open(trained.data.store)
    assert store.step == 0.25
    assert len(store.time) == 4 * DAYS
    normaliser = store.normaliser()
    time = torch.tensor([[11354.0, 11354.25, 11354.5, 11354.75]], dtype=torch.float64)
    found = normaliser.climatology(time)[0, :, 0].mean(dim=1).numpy()
    found = found - found.mean(axis=0)
    expected = diurnal_cycle(time[0].numpy(), store.grid.longitude.numpy())
    # The noise of 35 days: 2 K of weather with a memory of some steps.
    assert np.abs(found - expected).max() < 1.5


@pytest.fixture(scope="module")
def model(trained: Config) -> Model:
    """Return the model of the trained networks."""
    return load(Path(trained.runs) / trained.experiment / "score")


def reports(truth: xr.Dataset) -> pd.DataFrame:
    """Return reports of a state at some grid points: at its time, and an hour later 9 K warmer."""
    field = truth["temperature"].sel(level=850)
    rows = [
        {
            "station_id": f"S{row}{column}",
            "time": pd.Timestamp(truth["time"].item()) + pd.Timedelta(hours=late),
            "latitude": float(field["latitude"][row]),
            "longitude": float(field["longitude"][column]),
            "elevation": 0.0,
            "variable": "temperature",
            "level": 850.0,
            "value": float(field[row, column]) + 9 * late,
            "error": 0.5,
        }
        for row in range(1, 11, 2)
        for column in range(0, 24, 3)
        for late in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_analysis_of_a_step_of_given_inputs(trained: Config, model: Model) -> None:
    run = xr.open_zarr(trained.data.source.path, consolidated=False).drop_vars(
        "precipitation_rate"
    )
    at = np.datetime64("2001-02-20T06")
    truth, earlier = run.sel(time=at).load(), run.sel(time=at - np.timedelta64(6, "h")).load()
    found = model.analyse(
        at, earlier, reports(truth), members=4, method="optimal_interpolation", verify=truth
    )
    assert found["time"].values[0] == at
    counts = json.loads(found.attrs["observations"])["stations/temperature@850"]
    # The nearer report of each station is used: the other one is 9 K too warm.
    assert counts["used"] == 40
    assert counts["further from the time of the step"] == 40
    near = abs(found["temperature_mean"].sel(level=850)[0].values - truth["temperature"][0].values)
    assert np.median(near) < 1.5
    with pytest.raises(UserError, match="found 2001-02-20T05:00, expected 00, 06, 12, 18 UTC"):
        model.analyse(at - np.timedelta64(1, "h"))
    with pytest.raises(UserError, match="found a state 4 steps of 6h before 2001-02-20T06"):
        model.analyse(at, run.sel(time=at - np.timedelta64(24, "h")).load())
    # An image has instants: one at 08 UTC is nearest to 06 UTC, one at 10 UTC is not.
    olr = truth["outgoing_longwave_radiation"]
    late = olr.assign_coords(time=at + np.timedelta64(2, "h"))
    found = model.analyse(at, observations=late, members=4, method="optimal_interpolation")
    counts = json.loads(found.attrs["observations"])["satellite/outgoing_longwave_radiation"]
    assert counts["used"] > 0
    with pytest.raises(UserError, match="the image is of 2001-02-20T10:00:00, expected one of"):
        model.analyse(at, observations=olr.assign_coords(time=at + np.timedelta64(4, "h")))


def test_a_cycle_of_given_reports(trained: Config, model: Model, tmp_path: Path) -> None:
    run = xr.open_zarr(trained.data.source.path, consolidated=False)
    days = slice("2001-02-20T00", "2001-02-20T18")
    steps = run.sel(time=days).load()
    table = pd.concat([reports(steps.isel(time=number)) for number in range(4)])
    options = {"days": 1, "members": 3, "method": "optimal_interpolation", "output": tmp_path}
    found = list(model.cycle("2001-02-20", table, **options))
    times = [one["time"].values[0] for one in found]
    assert times == [np.datetime64(f"2001-02-20T{hour:02d}") for hour in (0, 6, 12, 18)]
    names = [f"analysis_20010220T{hour:02d}.nc" for hour in (0, 6, 12, 18)]
    assert sorted(path.name for path in tmp_path.glob("*.nc")) == names
    # The same call reads what is done.
    again = list(model.cycle("2001-02-20", table, **options))
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one["temperature_mean"], other["temperature_mean"])


@pytest.mark.parametrize("verb", ["train filter", "filter", "limit"])
def test_verbs_of_days_are_refused_by_name(trained: Config, verb: str, capsys) -> None:
    recipe = Path(trained.data.store).parent / "recipe.yaml"
    assert slams(recipe, verb) == 2
    assert f"expected 24h: `slams {verb}` goes from day to day" in capsys.readouterr().err


def test_a_store_of_another_step_is_refused(trained: Config, capsys) -> None:
    recipe = Path(trained.data.store).parent / "recipe.yaml"
    assert slams(recipe, "train vae", "data.step=24h", "experiment=other") == 2
    assert "has steps of 6h; set data.step to 6h" in capsys.readouterr().err
