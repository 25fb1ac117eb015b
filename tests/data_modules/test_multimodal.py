"""The DataModules: windows, splits, backgrounds, observations, ranks, workers, refusals."""

from __future__ import annotations

import itertools
import pickle
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from data_modules.reanalysis import ReanalysisDataModule
from data_modules.satellite import SatelliteDataModule
from data_modules.station import StationDataModule
from data_modules.store.checks import put_attributes
from data_modules.store.training_store import TrainingStore
from data_modules.stream.windows import Earlier, WindowDataset
from slams.config.schema import BackgroundConfig, Config, DegradationConfig, StationVariableConfig
from slams.errors import UserError
from slams.stages.data import multimodal, reanalysis
from slams.stages.sources import prepare
from tests.synthetic import CHANNELS, nature_run, tiny_recipe


def with_data(config: Config, **changes) -> Config:
    return replace(config, data=replace(config.data, **changes))


def with_background(config: Config, **changes) -> Config:
    return replace(config, background=replace(config.background, **changes))


def with_observations(config: Config, **changes) -> Config:
    return replace(config, observations=replace(config.observations, **changes))


def batches(module: ReanalysisDataModule, split: str):
    loader = module._dataloader_factory(split)
    return [module.on_after_batch_transfer(window, 0) for window in loader]


# windows and splits


def test_windows_are_the_store_s_days(tiny_config):
    config = with_data(tiny_config, window=3)
    module = multimodal(with_background(config, lag=1))
    dataset = module.dataset("train")
    window = dataset.__getitems__([5, 0])
    everything = module.store.read(slice(None))
    np.testing.assert_array_equal(window.fields[0], everything[5:8])
    np.testing.assert_array_equal(window.fields[1], everything[0:3])
    assert window.time.tolist() == [[11328.0, 11329, 11330], [11323.0, 11324, 11325]]
    assert window.time.dtype == torch.float64
    assert window.case.tolist() == [5, 0]
    np.testing.assert_array_equal(window.previous[0, 0], everything[4])
    assert bool(window.previous[1].isnan().all())
    assert dataset[5].fields.shape == (1, 3, 4, 12, 24)


def test_splits_hold_the_windows_that_lie_inside(tiny_config):
    module = reanalysis(with_data(tiny_config, window=3, test_cases=0))
    assert module.splits["train"].tolist() == list(range(68))
    assert module.splits["validation"].tolist() == list(range(72, 82))
    assert module.splits["test"].tolist() == list(range(86, 108))


def test_test_cases_are_evenly_spaced(tiny_config):
    module = reanalysis(with_data(tiny_config, test_cases=7))
    cases = module.splits["test"]
    assert len(cases) == 7
    assert cases[[0, -1]].tolist() == [87, 108]
    assert set(np.diff(cases)) <= {3, 4}
    for many, few in ((12, 4), (9, 3), (15, 5)):
        chosen = [
            reanalysis(with_data(tiny_config, test_cases=n)).splits["test"].tolist()
            for n in (many, few)
        ]
        assert chosen[0][1::3] == chosen[1], "a study's dates are among the comparison's"
    assert len(reanalysis(with_data(tiny_config, test_cases=0)).splits["test"]) == 24
    assert len(reanalysis(with_data(tiny_config, test_cases=99)).splits["test"]) == 24


def test_windows_never_span_a_gap_in_time(tmp_path, tiny_prepared):
    run = nature_run().isel(time=np.r_[0:20, 25:110])
    run.to_zarr(tmp_path / "gap.zarr", zarr_format=3, consolidated=False)
    recipe = tiny_recipe(tmp_path, tmp_path / "gap.zarr", window=2)
    prepare(recipe)
    module = multimodal(with_background(recipe, lag=2))
    assert 19 not in module.splits["train"]
    window = module.dataset("train").__getitems__([18, 19, 20])
    assert torch.all(window.time.diff(dim=1) == 1)
    # 2001-01-26 has no state two days before it.
    assert window.case.tolist() == [18, 20, 21]
    assert bool(window.previous[1].isnan().all())
    assert not bool(window.previous[0].isnan().any())


def test_cases_without_an_earlier_state_are_not_verified(tiny_config, tmp_path, tiny_source):
    few = xr.open_zarr(tiny_source, consolidated=False).isel(time=slice(90, 95)).load()
    few.drop_encoding().to_zarr(tmp_path / "few.zarr", zarr_format=3, consolidated=False)
    recipe = tiny_recipe(
        tmp_path, tmp_path / "few.zarr", statistics_from=tiny_config.data.store, test_cases=0
    )
    recipe.data.splits.train = recipe.data.splits.validation = []
    recipe.data.splits.test = ["2001-04-01", "2001-04-05"]
    prepare(recipe)
    module = multimodal(recipe)
    assert module.splits["test"].tolist() == [2, 3, 4]
    with pytest.raises(UserError, match=r"data\.splits\.train: found no days"):
        module.train_dataloader()
    # The archive is the other store's training period.
    archive = module.archive()
    own = multimodal(tiny_config).archive()
    torch.testing.assert_close(archive.fields, own.fields)
    torch.testing.assert_close(archive.background, own.background)
    with pytest.raises(UserError, match=r"splits\.test.*a state 9 days before"):
        multimodal(
            replace(
                with_data(recipe, lags=[9]),
                background=BackgroundConfig(kind="climatology", lag=9, recentre_days=2),
            )
        )


@pytest.mark.parametrize(
    ("split", "days", "window", "match"),
    [
        (
            "validation",
            ["2010-01-01", "2010-02-01"],
            1,
            r"splits\.validation.*no data.*2001-01-01",
        ),
        ("validation", ["2001-03-05", "2001-03-20"], 1, r"validation.*overlaps.*train"),
        ("validation", ["2001-03-12", "2001-03-20"], 1, r"validation.*data\.splits\.gap"),
        (
            "validation",
            ["2001-03-14", "2001-03-25"],
            13,
            r"data\.window.*data\.splits\.validation",
        ),
        ("train", ["2001-01-01", "2001-03-01"], 1, r"splits\.train.*statistics.*2001-03-11"),
    ],
)
def test_wrong_splits_are_refused_by_name(tiny_config, split, days, window, match):
    splits = replace(tiny_config.data.splits, **{split: days})
    with pytest.raises(UserError, match=match):
        reanalysis(with_data(tiny_config, splits=splits, window=window))


def test_window_longer_than_what_the_store_has_of_a_split(tiny_config):
    splits = replace(tiny_config.data.splits, test=["2001-04-19", "2001-05-30"])
    config = with_data(tiny_config, splits=splits, window=3)
    with pytest.raises(UserError, match=r"no window of 3 consecutive days.*2 days of it"):
        reanalysis(config)


def test_missing_value_in_training_is_refused_when_read(tiny_config, tmp_path):
    path = tmp_path / "nan.zarr"
    shutil.copytree(tiny_config.data.store, path)
    fields = zarr.open_group(str(path), mode="a")["fields"]
    values = fields[4]
    values[1, 2, 3] = np.nan
    fields[4] = values
    for workers in (0, 1):  # a worker's error arrives without the worker's traceback
        config = with_data(tiny_config, store=str(path), num_workers=workers)
        module = reanalysis(config)
        with pytest.raises(UserError, match=r"temperature@500 of 2001-01-05, a training day") as e:
            list(module.train_dataloader())
        assert "Traceback" not in str(e.value)


# normalisation and background


def test_batch_is_normalised_and_comes_back(tiny_config):
    module = multimodal(tiny_config)
    for batch, window in zip(batches(module, "test"), module.test_dataloader(), strict=True):
        physical = module.normaliser.to_physical(
            module.normaliser.denormalise(batch.fields, batch.climatology)
        )
        torch.testing.assert_close(physical, window.fields, atol=1e-3, rtol=1e-5)
        assert bool(batch.mask.all())
        assert batch.fields.dtype == torch.float32


def test_training_anomalies_have_unit_variance_and_no_mean(tiny_config):
    fields = multimodal(tiny_config).archive().fields[:, 0]
    variance = (fields**2).mean(dim=0)
    # Two of 70 days are left out of the archive, of up to 4 standard deviations; the floor keeps
    # some points below one.
    assert float(variance.max()) < 70 / 68 + 1e-3
    assert float(variance.median()) == pytest.approx(1.0, abs=0.03)
    assert float(fields.mean(dim=0).abs().max()) < 2 * 4 / 68


def test_missing_truth_is_masked_and_never_zero_degrees(tmp_path):
    run = nature_run()
    run["temperature"][95, 0, 3, 4] = np.nan
    run.to_zarr(tmp_path / "hole.zarr", zarr_format=3, consolidated=False)
    recipe = tiny_recipe(tmp_path, tmp_path / "hole.zarr", test_cases=0)
    prepare(recipe)
    module = multimodal(recipe)
    seen = 0
    for batch in batches(module, "test"):
        assert bool(torch.isfinite(batch.fields).all())
        for b, case in enumerate(batch.case.tolist()):
            holes = (~batch.mask[b]).nonzero().tolist()
            assert holes == ([[0, 0, 3, 4]] if case == 95 else [])
            seen += len(holes)
            if holes:
                assert float(batch.fields[b, 0, 0, 3, 4]) == 0.0
    assert seen == 1


def test_background_is_damped_persistence_from_lag_days_before(tiny_config):
    config = with_data(tiny_config, window=2, test_cases=0)
    module = multimodal(config)
    batch = batches(module, "test")[0]
    statistics = module.store.statistics
    normaliser = module.normaliser
    case = int(batch.case[1])
    before = torch.from_numpy(module.store.read([case - 2]))
    day = torch.tensor([[module.store.time[case - 2]]], dtype=torch.float64)
    anomaly = normaliser.normalise(before[None], normaliser.climatology(day))[0, 0]
    for t, lag in enumerate((2, 3)):
        expected = anomaly * statistics.persistence[statistics.lags.index(lag)]
        torch.testing.assert_close(batch.background.mean[1, t], expected)
        torch.testing.assert_close(
            batch.background.variance[1, t],
            statistics.persistence_variance[statistics.lags.index(lag)],
        )


def test_background_never_sees_the_verifying_days(tiny_config, tmp_path):
    """Changing every day of a window changes its truth, and nothing of its background."""
    path = tmp_path / "other.zarr"
    shutil.copytree(tiny_config.data.store, path)
    config = with_background(with_data(tiny_config, test_cases=1), recentre_days=3)
    case = int(multimodal(config).splits["test"][0])
    fields = zarr.open_group(str(path), mode="a")["fields"]
    fields[case] = fields[case] + 3
    old = batches(multimodal(config), "test")[0]
    new = batches(multimodal(with_data(config, store=str(path))), "test")[0]
    assert torch.equal(old.background.mean, new.background.mean)
    assert torch.equal(old.climatology, new.climatology)
    assert not torch.equal(old.fields, new.fields)


def test_background_error_is_what_its_variance_says(tiny_config):
    module = multimodal(tiny_config)
    archive = module.archive()
    error = ((archive.fields - archive.background) ** 2).mean(dim=0)[0]
    variance = module.store.statistics.persistence_variance[1]
    torch.testing.assert_close(error, variance, rtol=1e-3, atol=1e-4)


def test_recentring_moves_climatology_and_background_together(tiny_config):
    config = with_background(with_data(tiny_config, test_cases=3), recentre_days=4)
    plain = batches(multimodal(tiny_recentred(config, 0)), "test")[0]
    module = multimodal(config)
    moved = batches(module, "test")[0]
    offset = moved.climatology - plain.climatology
    # Constant along longitude: the weather of those days is not a bias.
    assert float((offset - offset[..., :1]).abs().max()) < 1e-4
    days = module.store.read([int(moved.case[0]) - lag for lag in (5, 4, 3, 2)])
    time = module.store.time[[int(moved.case[0]) - lag for lag in (5, 4, 3, 2)]]
    normaliser = module.normaliser
    values = normaliser.to_channel_units(torch.from_numpy(days))
    climatology = normaliser.climatology(torch.from_numpy(time)[None])[0]
    expected = (values - climatology).mean(dim=(0, 3))
    torch.testing.assert_close(offset[0, 0, :, :, 0], expected, atol=1e-3, rtol=1e-4)
    # The state that persists is an anomaly from the moved climatology too.
    rho = module.store.statistics.persistence[1]
    expected = plain.background.mean[0, 0] - rho * offset[0, 0] / normaliser.sd
    torch.testing.assert_close(moved.background.mean[0, 0], expected, atol=1e-3, rtol=1e-4)
    # The truth in physical units does not depend on the climatology of its anomalies.
    for batch in (plain, moved):
        state = normaliser.denormalise(batch.fields, batch.climatology)
        torch.testing.assert_close(
            state, normaliser.denormalise(plain.fields, plain.climatology), atol=1e-3, rtol=1e-4
        )


def tiny_recentred(config: Config, days: int) -> Config:
    return with_background(config, recentre_days=days)


def test_background_from_a_file_of_states(tiny_config, tmp_path):
    """Forecasts 1 K too warm: the background is 1 K off, and its variance includes it."""
    path = tmp_path / "forecasts.zarr"
    shutil.copytree(tiny_config.data.store, path)
    group = zarr.open_group(str(path), mode="a")
    attributes = {**group.attrs, "fingerprint": "another"}
    put_attributes(group, attributes)
    values = group["fields"][:]
    values[:, 0] += 1.0
    group["fields"][:] = values
    config = with_background(tiny_config, kind="file", path=str(path))
    module = multimodal(config)
    batch = batches(module, "test")[0]
    sd = module.store.statistics.sd
    torch.testing.assert_close(
        (batch.background.mean - batch.fields)[:, 0, 0] * sd[0],
        torch.ones(4, 12, 24),
        atol=1e-3,
        rtol=0,
    )
    torch.testing.assert_close(batch.background.variance[0, 0, 0], sd[0] ** -2, rtol=1e-3, atol=0)
    assert batch.background.kind == "file"
    with pytest.raises(UserError, match="is the verifying truth itself"):
        batches(
            multimodal(with_background(tiny_config, kind="file", path=tiny_config.data.store)),
            "test",
        )
    with pytest.raises(UserError, match="expected 0: states of a file"):
        multimodal(with_background(config, recentre_days=2))


def test_climatology_as_background(tiny_config):
    batch = batches(multimodal(with_background(tiny_config, kind="climatology")), "test")[0]
    assert float(batch.background.mean.abs().max()) == 0
    assert float(batch.background.variance.min()) == 1


def test_lag_without_fitted_persistence_is_refused(tiny_config):
    with pytest.raises(UserError, match=r"background\.lag: 3.*for 4 days.*has it for 1, 2, 3"):
        multimodal(with_background(with_data(tiny_config, window=2), lag=3))


# observations


def test_modalities_are_those_in_use(tiny_config):
    for size in range(3):
        for use in itertools.combinations(("stations", "satellite"), size):
            module = multimodal(with_observations(tiny_config, use=list(use)))
            found = {o.modality for o in batches(module, "test")[0].observations}
            assert found == set(use)
            assert {name.partition("/")[0] for name in module.operators()} == set(use)
            assert (module.network is not None) == ("stations" in use)


def test_observations_are_h_of_the_truth_with_error_r(tiny_config):
    module = multimodal(with_data(tiny_config, test_cases=0))
    errors = {"stations": [], "satellite": []}
    for batch in batches(module, "test"):
        truth = module.normaliser.denormalise(batch.fields, batch.climatology)
        for o in batch.observations:
            errors[o.modality].append((o.values - o.operator(truth))[o.mask])
    for modality, sd in (("stations", 0.5), ("satellite", 4.0)):
        error = torch.cat(errors[modality])
        assert float(error.std()) == pytest.approx(sd, rel=0.1)
        assert abs(float(error.mean())) < 4 * sd / len(error) ** 0.5


def test_parts_alone_give_what_they_give_together(tiny_config):
    together = batches(multimodal(tiny_config), "test")[0].observations
    config = tiny_config
    sections = config.data, config.observations, config.seed
    size = config.assimilation.batch_size
    alone = [
        batches(part(*sections, test_batch_size=size), "test")[0].observations[0]
        for part in (StationDataModule, SatelliteDataModule)
    ]
    for one, other in zip(together, alone, strict=True):
        assert one.name == other.name
        torch.testing.assert_close(one.values, other.values, equal_nan=True)


def test_observations_do_not_depend_on_batch_size_or_rank(tiny_config):
    def collect(size: int, ranks: int) -> dict[int, list[torch.Tensor]]:
        found = {}
        for rank in range(ranks):
            module = multimodal(tiny_config, batch_size=size)
            module.trainer = fake_trainer(rank, ranks)
            for batch in batches(module, "test"):
                for b, case in enumerate(batch.case.tolist()):
                    assert case not in found
                    values = [o.values[b] for o in batch.observations]
                    found[case] = [batch.fields[b], batch.background.mean[b], *values]
        return found

    reference = collect(7, 1)
    assert len(reference) == 7
    for size, ranks in ((1, 1), (4, 2), (2, 9)):
        found = collect(size, ranks)
        assert found.keys() == reference.keys()
        for case, values in reference.items():
            for one, other in zip(values, found[case], strict=True):
                torch.testing.assert_close(one, other, equal_nan=True, rtol=0, atol=0)


def fake_trainer(rank: int = 0, world: int = 1, **state: bool) -> SimpleNamespace:
    flags = {"training": False, "validating": False, "sanity_checking": False, **state}
    return SimpleNamespace(global_rank=rank, world_size=world, **flags)


def test_no_observations_while_a_network_is_trained(tiny_config):
    module = multimodal(tiny_config)
    window = next(iter(module.train_dataloader()))
    for state in ("training", "validating", "sanity_checking"):
        module.trainer = fake_trainer(**{state: True})
        assert module.on_after_batch_transfer(window).observations == ()
    module.trainer = fake_trainer()
    assert len(module.on_after_batch_transfer(window).observations) == 2


def test_observations_streamed_from_the_store_are_those_drawn(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    recipe.observations.stations.variables.append(
        StationVariableConfig("total_precipitation_24hr", 0.2, 0.1)
    )
    recipe.observations.stations.missing = 0.3
    recipe.observations.source = "store"
    path = prepare(recipe)
    group = zarr.open_group(str(path), mode="r")
    assert group["stations"].shape == (110, 30, 2)
    assert group["satellite"].shape == (110, 1, 6, 12)
    assert list(group["stations"].attrs["units"]) == ["K", "log(1 + mm day-1)"]
    assert bytes(group["station_id"][0]).decode().isalpha()
    missing = np.isnan(group["stations"][:])
    assert missing.mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(missing[..., 0], missing[..., 1])
    streamed = batches(multimodal(recipe), "test")
    drawn = batches(multimodal(with_observations(recipe, source="truth")), "test")
    for one, other in zip(streamed, drawn, strict=True):
        assert [o.name for o in one.observations] == [o.name for o in other.observations]
        for a, b in zip(one.observations, other.observations, strict=True):
            assert torch.equal(a.mask, b.mask)
            torch.testing.assert_close(a.values[a.mask], b.values[b.mask])
            torch.testing.assert_close(a.error_variance, b.error_variance)
    # With windows of several days each day keeps its own.
    longer = with_data(recipe, window=2, lags=[1, 2, 3])
    batch = batches(multimodal(longer), "test")[0]
    stored = group["stations"][int(batch.case[1]) + 1, :, 0]
    values = batch.observations[0].values[1, 1].numpy()
    np.testing.assert_array_equal(values, stored)
    changed = replace(recipe, seed=5)
    with pytest.raises(UserError, match=r"observations\.stations.*seed: 0 in the store, 5"):
        multimodal(changed)


def test_store_without_observations_is_refused(tiny_config):
    with pytest.raises(UserError, match=r"observations\.source.*has no stations"):
        multimodal(with_observations(tiny_config, source="store"))


def test_degradations(tiny_config):
    degraded = DegradationConfig(channels=[CHANNELS[0]], block=3, gap=2, noise=1e-4)
    config = with_observations(tiny_config, use=["degraded"], degraded=degraded)
    batch = batches(multimodal(config), "test")[0]
    (observed,) = batch.observations
    assert observed.name == f"degraded/{CHANNELS[0]}"
    assert observed.values.shape == (4, 1, 8)
    module = multimodal(config)
    truth = module.normaliser.denormalise(batch.fields, batch.climatology)
    torch.testing.assert_close(observed.values, observed.operator(truth), rtol=0, atol=2e-3)
    sd = module.store.statistics.sd[0].double().mean(dim=1)
    expected = (1e-4 * (sd * module.grid.weights).mean()) ** 2
    assert float(observed.error_variance[0, 0, 0]) == pytest.approx(float(expected), rel=1e-5)


def test_gross_errors_are_rejected(tiny_config):
    strict = with_observations(tiny_config, gross_error=1.0)
    usual = batches(multimodal(tiny_config), "test")[0]
    few = batches(multimodal(strict), "test")[0]
    for one, other in zip(few.observations, usual.observations, strict=True):
        assert bool((one.mask <= other.mask).all())
        assert 0.3 < float(one.mask.sum() / other.mask.sum()) < 0.95


def test_negative_error_is_refused(tiny_config):
    for changes in (
        {
            "stations": replace(
                tiny_config.observations.stations,
                variables=[StationVariableConfig("temperature@850", -1.0)],
            )
        },
        {"satellite": replace(tiny_config.observations.satellite, error=-1.0)},
    ):
        module = multimodal(with_observations(tiny_config, **changes))
        with pytest.raises(UserError, match=r"above 0, found -1"):
            batches(module, "test")


def test_station_outside_the_globe_is_refused(tiny_config, tmp_path):
    file = tmp_path / "stations.csv"
    file.write_text("id,latitude,longitude,elevation\nA,10,20,5\nB,95,20,5\n")
    stations = replace(tiny_config.observations.stations, file=str(file))
    with pytest.raises(UserError, match=r"B.*95.*\[-90, 90\]"):
        multimodal(with_observations(tiny_config, stations=stations))


def test_observed_channel_must_be_there(tiny_config):
    stations = replace(
        tiny_config.observations.stations, variables=[StationVariableConfig("2m_temperature")]
    )
    with pytest.raises(UserError, match="2m_temperature"):
        multimodal(with_observations(tiny_config, stations=stations))


def test_terrain_of_the_store_corrects_station_temperatures(tmp_path):
    run = nature_run()
    run["surface_elevation"] = (("latitude", "longitude"), np.full((12, 24), 1000.0))
    run.to_zarr(tmp_path / "high.zarr", zarr_format=3, consolidated=False)
    recipe = tiny_recipe(tmp_path, tmp_path / "high.zarr")
    recipe.data.channels = ["temperature@850", "2m_temperature", "outgoing_longwave_radiation"]
    recipe.observations.stations.variables = [StationVariableConfig("2m_temperature", 0.0)]
    prepare(recipe)
    module = multimodal(recipe)
    operator = module.operators()["stations/2m_temperature"]
    expected = -0.0065 * (module.network.elevation - 1000.0)
    torch.testing.assert_close(operator.offset, expected)


# loaders


def test_training_sees_each_window_once_an_epoch_in_another_order(tiny_config):
    module = reanalysis(with_data(tiny_config, batch_size=10))
    loader = module.train_dataloader()
    epochs = [[c for window in loader for c in window.case.tolist()] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(70))
    assert epochs[0] != epochs[1]


def test_workers_give_the_same_windows(tiny_config):
    here = list(reanalysis(tiny_config).train_dataloader())
    config = with_data(tiny_config, num_workers=2)
    loader = reanalysis(config).train_dataloader()
    assert loader.multiprocessing_context.get_start_method() == "forkserver"
    assert loader.persistent_workers
    assert loader.timeout > 0
    there = list(loader)
    assert len(here) == len(there) == 8
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.fields, other.fields)
        assert torch.equal(one.case, other.case)


def test_dataset_travels_without_its_data(tiny_config):
    module = multimodal(tiny_config)
    dataset = module.dataset("train")
    assert dataset._cache is not None
    blob = pickle.dumps(dataset)
    assert len(blob) < 20_000 + dataset.cases.nbytes
    copy = pickle.loads(blob)
    assert torch.equal(copy[3].fields, dataset[3].fields)


def test_memory_and_store_give_the_same(tiny_config):
    module = multimodal(with_data(tiny_config, cache="none"))
    module.setup()
    assert module._cache is None
    lazy = module.dataset("train").__getitems__([1, 50, 2])
    held = multimodal(tiny_config).dataset("train").__getitems__([1, 50, 2])
    assert torch.equal(lazy.fields, held.fields)
    torch.testing.assert_close(lazy.previous, held.previous, equal_nan=True)


def test_earlier_days_end_lag_days_before():
    assert Earlier(2, 3).offsets().tolist() == [-4, -3, -2]
    assert Earlier(1).offsets().tolist() == [-1]


def test_empty_dataset_has_no_batches(tiny_config):
    store = TrainingStore.open(tiny_config.data.store)
    dataset = WindowDataset(store, np.zeros(0, dtype=np.int64), 1)
    assert len(dataset) == 0
