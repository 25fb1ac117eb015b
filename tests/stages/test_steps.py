"""A store with steps of six hours from source to report, through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_modules.store.training_store import TrainingStore
from slams.config.loading import to_yaml
from slams.config.schema import Config
from tests.six_hourly import DAYS, diurnal_cycle, six_hourly_run, six_hourly_study
from tests.stages.commands import slams


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


_HOURS = ("T06:00:00", "T12:00:00", "T18:00:00")


def test_the_climatology_has_the_diurnal_cycle(trained: Config) -> None:
    store = TrainingStore.open(trained.data.store)
    assert store.step == 0.25
    assert len(store.time) == 4 * DAYS
    normaliser = store.normaliser()
    import torch

    time = torch.tensor([[11354.0, 11354.25, 11354.5, 11354.75]], dtype=torch.float64)
    found = normaliser.climatology(time)[0, :, 0].mean(dim=1).numpy()
    found = found - found.mean(axis=0)
    expected = diurnal_cycle(time[0].numpy(), store.grid.longitude.numpy())
    # The noise of 35 days: 2 K of weather with a memory of some steps.
    assert np.abs(found - expected).max() < 1.5
