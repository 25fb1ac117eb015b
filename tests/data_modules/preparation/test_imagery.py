"""Images from files: prepared, streamed, given in memory, and assimilated without a truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from data_modules.preparation.prepare import describe
from data_modules.store.training_store import TrainingStore
from slams.config import checks
from slams.config.schema import (
    AssimilationConfig,
    BackgroundConfig,
    Config,
    SatelliteConfig,
    SatelliteSourceConfig,
    SourceConfig,
    SplitsConfig,
    SuperobConfig,
    TrackingConfig,
)
from slams.errors import UserError
from slams.fields import Observations
from slams.stages.assimilation import assimilate
from slams.stages.data import multimodal
from slams.stages.model_days import observe_day
from slams.stages.sources import prepare
from tests.data_modules.image_layouts import write_noaa
from tests.synthetic import CHANNELS, nature_run, tiny_recipe

OLR = "outgoing_longwave_radiation"
FIRST = np.datetime64("2001-03-20")
GAP = (slice(3, 5), slice(6, 9))
MISSING_DAY = np.datetime64("2001-04-02")


def images() -> xr.DataArray:
    """Return the nature run's OLR from `FIRST` on, on its own grid, with gaps."""
    olr = nature_run()[OLR].sel(time=slice(FIRST, None)).astype(np.float64)
    olr = olr.sel(time=olr["time"] != MISSING_DAY.astype("datetime64[ns]")).copy()
    olr[:, GAP[0], GAP[1]] = np.nan
    return olr


def written(path: Path, olr: xr.DataArray) -> Path:
    grid = (olr["latitude"].values, olr["longitude"].values)
    return write_noaa(path, olr["time"].values, olr.values, *grid, packed=False)


def recipe(directory: Path, source: Path, path: Path, **changes) -> Config:
    """Return a recipe that observes images of files alone."""
    config = tiny_recipe(directory, source)
    own = {"kind": "gridded_olr", "path": str(path), **changes}
    satellite = SatelliteConfig(error=4.0, source=SatelliteSourceConfig(**own))
    observations = replace(
        config.observations,
        use=["satellite"],
        source="store",
        satellite=satellite,
        gross_error=float("inf"),
    )
    return replace(config, observations=observations)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("images") / "olr.day.mean.nc", images())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_source, file) -> Config:
    config = recipe(tmp_path_factory.mktemp("imagery"), tiny_source, file)
    checks.check(config)
    prepare(config)
    return config


def read_tests(config: Config) -> tuple:
    module = multimodal(config)
    loaded = [module.on_after_batch_transfer(window) for window in module.test_dataloader()]
    return module, loaded


def one(batch) -> Observations:
    (found,) = batch.observations
    return found


def test_images_on_the_models_own_grid_are_the_truth_where_they_are_known(prepared):
    module, batches = read_tests(prepared)
    gap = np.zeros((12, 24), bool)
    gap[GAP] = True
    for batch in batches:
        found = one(batch)
        assert found.name == f"satellite/{OLR}"
        truth = module.normaliser.denormalise(batch.fields, batch.climatology)
        day = batch.time.reshape(-1).numpy().astype("datetime64[D]")
        known = torch.from_numpy(np.where((day == MISSING_DAY)[:, None], False, ~gap.reshape(-1)))
        assert torch.equal(found.mask[:, 0], known)
        expected = truth[:, 0, -1].flatten(1)
        torch.testing.assert_close(found.values[:, 0][known], expected[known], atol=2e-3, rtol=0)
        torch.testing.assert_close(
            found.error_variance[:, 0][known], torch.full_like(expected[known], 16.0)
        )


def test_the_store_says_what_was_used(prepared):
    store = TrainingStore.open(prepared.data.store)
    attributes = store._group["satellite"].attrs
    assert attributes["used"] == 31 * (288 - 6)
    assert attributes["left_out"] == []
    assert attributes["channels"] == [OLR]
    assert not store.has("satellite_counts")
    stored = store.read_array("satellite", slice(None))
    assert stored.shape == (110, 1, 12, 24)
    assert int(np.isfinite(stored).any(axis=(1, 2, 3)).sum()) == 31
    text = describe(prepared.data, prepared.observations)
    assert "imagery: 12 x 24 cells, images on 31 of 110 days; read 2001-03-20, " in text
    assert "gaps 2.1%" in text  # 6 of 288 cells


def test_a_dry_run_shows_mean_and_range_and_refuses_another_sign(tmp_path, tiny_source):
    flat = images() * 0 + 240.0
    flat[:, 0], flat[:, 1, 0] = 300.0, 100.0
    config = recipe(tmp_path, tiny_source, written(tmp_path / "olr.nc", flat))
    weights = np.sin(np.deg2rad([90, 75, 60]))
    first, second = (weights[:-1] - weights[1:]) / 2
    # Six of the 288 cells are gaps, three in each of the two rows between 45 and 15 degrees north.
    gaps = 3 / 24 * (np.sin(np.deg2rad(45)) - np.sin(np.deg2rad(15))) / 2
    mean = 240 + (60 * first - 140 * second / 24) / (1 - gaps)
    text = describe(config.data, config.observations)
    assert f"{OLR}: mean {mean:.4g} W m-2, from 100 to 300, gaps 2.1%" in text
    written(tmp_path / "olr.nc", -flat)
    with pytest.raises(UserError, match=r"the median of outgoing.* is -240.*its sign"):
        describe(config.data, config.observations)


@pytest.mark.parametrize("kind", ["gridded_olr", "pixels"])
def test_an_image_given_in_memory_is_observed_as_the_one_prepared(tmp_path, tiny_source, kind):
    olr, path = images(), tmp_path / "images.nc"
    if kind == "pixels":
        path = tmp_path / "pixels.parquet"
        pixels = olr.to_dataframe(name="value").reset_index()
        pixels.to_parquet(path)
    else:
        written(path, olr)
    config = recipe(tmp_path, tiny_source, path, kind=kind, cell=0.0)
    prepare(config)
    module, (batch, *_) = read_tests(config)
    day = int(batch.time[0, 0])
    today = olr.sel(time=np.datetime64(day, "D").astype("datetime64[ns]"))
    given: xr.Dataset | xr.DataArray = today.rename(OLR).assign_attrs(units="W m-2")
    if kind == "pixels":
        flat = today.stack(obs=("latitude", "longitude")).reset_index("obs")
        flat = flat.assign_coords(time=("obs", np.full(288, today["time"].values)))
        given = flat.rename("olr").assign_attrs(units="W m-2").to_dataset().reset_coords()
    (found,) = observe_day(module, config.observations, [given], day).observations
    prepared = one(batch)
    assert torch.equal(found.mask[0], prepared.mask[0])
    seen = found.mask[0]
    torch.testing.assert_close(found.values[0][seen], prepared.values[0][seen], rtol=1e-6, atol=0)
    torch.testing.assert_close(
        found.error_variance[0][seen], prepared.error_variance[0][seen], rtol=1e-5, atol=0
    )
    state = torch.rand(1, len(CHANNELS), 12, 24, dtype=torch.float64)
    torch.testing.assert_close(found.operator(state), prepared.operator(state))
    if kind == "pixels":
        # Four pixels of a footprint: 16 (0.3 + 0.7 / 4).
        assert float(found.error_variance[0][seen].min()) == pytest.approx(16 * 0.475)


def test_pixels_have_their_count_and_time_in_the_store(tmp_path, tiny_source):
    pixels = images().to_dataframe(name="value").reset_index()
    pixels["time"] += pd.to_timedelta(np.where(pixels["longitude"] < 180, 2, 14), unit="h")
    pixels.to_parquet(tmp_path / "pixels.parquet")
    config = recipe(tmp_path, tiny_source, tmp_path / "pixels.parquet", kind="pixels")
    store = TrainingStore.open(prepare(config))
    counts, hours = (
        store.read_array(f"satellite_{name}", slice(None)) for name in ("counts", "hours")
    )
    day = int(np.flatnonzero(np.isfinite(counts).any(axis=(1, 2, 3)))[0])
    assert counts[day, 0, 0].tolist() == [4.0] * 12
    # The last column of footprints reaches over the meridian of 0.
    assert hours[day, 0, 0].tolist() == [2.0] * 6 + [14.0] * 6


def test_a_wild_cell_is_rejected_before_it_is_averaged(tmp_path, tiny_source):
    """Four cells of an image in each of the model's: the wild one does not touch their mean."""
    olr = images().isel(time=slice(0, 14))
    fine = xr.DataArray(
        olr.values.repeat(2, axis=1).repeat(2, axis=2),
        dims=olr.dims,
        coords={
            "time": olr["time"],
            "latitude": 90 - 7.5 * (np.arange(24) + 0.5),
            "longitude": -3.75 + 7.5 * np.arange(48),
        },
    )
    wild = fine.copy()
    wild[:, 15, 30] = np.minimum(wild[:, 15, 30] + 130.0, 449.0)
    found = []
    for name, field in (("good", fine), ("wild", wild)):
        config = recipe(tmp_path / name, tiny_source, tmp_path / f"{name}.nc")
        written(tmp_path / f"{name}.nc", field)
        config.observations.gross_error = 5.0
        config.observations.superob = SuperobConfig(correlation=0.0)
        prepare(config)
        found.append(one(read_tests(config)[1][0]))
    good, spoilt = found
    assert good.values.shape[-1] == 288
    assert int((good.count - spoilt.count).sum()) == int(good.mask.any(dim=-1).sum())
    both = good.mask & spoilt.mask
    # Values are equal in a cell of the model, so that three have the mean of four.
    torch.testing.assert_close(good.values[both], spoilt.values[both], atol=2e-3, rtol=0)


def alone(directory: Path, prepared: Config) -> Config:
    """Return a recipe of days without fields, with the images of `prepared`."""
    data = replace(
        prepared.data,
        store=str(directory / "alone.zarr"),
        statistics_from=prepared.data.store,
        source=SourceConfig(
            kind="no_fields",
            path="2001-04-01/2001-04-08",
            grid=prepared.data.store,
            absent=list(CHANNELS),
        ),
        splits=SplitsConfig(test=["2001-04-01", "2001-04-08"]),
        test_cases=0,
    )
    return replace(
        prepared,
        runs=str(directory / "runs"),
        data=data,
        background=BackgroundConfig(kind="climatology"),
        assimilation=AssimilationConfig(
            methods=["climatology", "optimal_interpolation"], members=8, bootstrap_block=1
        ),
        tracking=TrackingConfig(enabled=False),
    )


def test_images_are_assimilated_on_days_without_fields(tmp_path, prepared):
    config = alone(tmp_path, prepared)
    checks.check(config)
    prepare(config)
    run = assimilate(config, report_after=False)
    space = pd.read_parquet(run / "observation_space.parquet")
    space = space[space["region"] == "global"].set_index(["method", "use", "statistic"])["value"]
    fitted = space["optimal_interpolation"]["assimilated"]
    assert fitted["o_minus_a_sd"] < 0.6 * fitted["o_minus_b_sd"]


def test_drawn_imagery_without_fields_is_refused(tmp_path, prepared):
    config = alone(tmp_path, prepared)
    satellite = replace(config.observations.satellite, source=SatelliteSourceConfig())
    config.observations = replace(config.observations, satellite=satellite)
    with pytest.raises(UserError) as refusal:
        checks.check(config)
    assert str(refusal.value) == (
        f"key 'observations.satellite.source.kind': found none, but {OLR} is under "
        f"data.source.absent, so that there is nothing to draw imagery from; name files of "
        f"imagery, or leave satellite out of observations.use"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda o: setattr(o, "source", "truth"),
            r"'observations.source': found 'truth'.*'store'",
        ),
        (
            lambda o: setattr(o.satellite.source, "path", ""),
            r"'observations.satellite.source.path': found nothing, expected the files",
        ),
        (
            lambda o: setattr(o.satellite, "geometry", "orbit"),
            r"'observations.satellite.geometry': found 'orbit', expected 'slanted', since",
        ),
        (
            lambda o: setattr(o.satellite.source, "kind", "gridded"),
            r"found 'gridded'; did you mean 'gridded_olr'",
        ),
        (lambda o: setattr(o.satellite.source, "cell", 7.0), r"found 7.0, expected 0, or 0.1"),
    ],
)
def test_recipes_that_contradict_themselves(tmp_path, tiny_source, file, change, said):
    config = recipe(tmp_path, tiny_source, file)
    change(config.observations)
    with pytest.raises(UserError, match=said):
        checks.check(config)


def test_a_store_of_other_images_is_not_used(tmp_path, tiny_source, prepared):
    for changed in ({"correlation": 0.5}, {"kind": "pixels"}):
        source = replace(prepared.observations.satellite.source, **changed)
        satellite = replace(prepared.observations.satellite, source=source)
        config = replace(
            prepared, observations=replace(prepared.observations, satellite=satellite)
        )
        with pytest.raises(UserError, match=r"observations of a different recipe"):
            multimodal(config)
    # What only decides whether files are refused changes nothing.
    source = replace(prepared.observations.satellite.source, left_out=0.5)
    satellite = replace(prepared.observations.satellite, source=source)
    multimodal(replace(prepared, observations=replace(prepared.observations, satellite=satellite)))
