"""Preparation: content, statistics against closed forms, repetition, interruption, refusals."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from data_modules.preparation import memory_budget as budgets
from data_modules.preparation import prepare as preparation
from data_modules.preparation.plan import plan
from data_modules.store import manifest as manifests
from data_modules.store.manifest import verify
from data_modules.store.training_store import TrainingStore
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.normalisation import harmonic_basis
from slams.stages.sources import prepare
from tests.synthetic import CHANNELS, nature_run, tiny_recipe


def written(dataset: xr.Dataset, path: Path) -> Path:
    dataset.to_zarr(path, zarr_format=3, consolidated=False)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def train_values(source: Path, channel: str) -> np.ndarray:
    """Read a channel of the training days (the first 70) independently of the package."""
    dataset = xr.open_zarr(source, consolidated=False).isel(time=slice(0, 70))
    name, _, level = channel.partition("@")
    values = dataset[name].sel(level=int(level)) if level else dataset[name]
    values = values.values.astype(np.float64)
    return np.log1p(values) if name == "total_precipitation_24hr" else values


def test_fields_are_those_of_the_source(tiny_source, tiny_prepared):
    store = TrainingStore.open(tiny_prepared)
    source = xr.open_zarr(tiny_source, consolidated=False)
    values = store.read(slice(None))
    assert [c.name for c in store.channels] == CHANNELS
    np.testing.assert_array_equal(values[:, 0], source["temperature"].sel(level=850).values)
    np.testing.assert_array_equal(values[:, 1], source["temperature"].sel(level=500).values)
    np.testing.assert_array_equal(values[:, 2], source["total_precipitation_24hr"].values)
    assert store.time[0] == 11323  # 2001-01-01
    assert np.all(np.diff(store.time) == 1)


def test_store_has_one_step_a_chunk_and_few_files(tiny_prepared):
    fields = zarr.open_group(str(tiny_prepared), mode="r")["fields"]
    assert fields.chunks == (1, 4, 12, 24)
    assert fields.shards == (64, 4, 12, 24)
    assert len([f for f in (tiny_prepared / "fields" / "c").rglob("*") if f.is_file()]) == 2


@pytest.mark.parametrize("channel", CHANNELS)
def test_statistics_are_least_squares_of_the_training_days(tiny_source, tiny_prepared, channel):
    store = TrainingStore.open(tiny_prepared, [channel])
    values = train_values(tiny_source, channel)
    basis = harmonic_basis(torch.from_numpy(store.time[:70]), 0).numpy()
    flat = values.reshape(70, -1)
    coefficients = np.linalg.lstsq(basis, flat, rcond=None)[0]
    anomaly = flat - basis @ coefficients
    found = store.statistics
    np.testing.assert_allclose(
        basis @ found.harmonics.numpy().reshape(1, -1), basis @ coefficients, rtol=0, atol=2e-3
    )
    rms = np.sqrt((anomaly**2).mean(axis=0))
    weights = store.grid.weights.numpy().repeat(24)
    floor = 0.3 * np.sqrt((weights * rms**2).sum() / weights.sum())
    np.testing.assert_allclose(found.sd.numpy().ravel(), np.maximum(rms, floor), rtol=1e-5)
    for number, lag in enumerate((1, 2, 3)):
        now, before = anomaly[lag:], anomaly[:-lag]
        rho = np.clip((now * before).sum(axis=0) / (before**2).sum(axis=0), 0, 1)
        error = ((now - rho * before) ** 2).mean(axis=0) / np.maximum(rms, floor) ** 2
        np.testing.assert_allclose(found.persistence[number].numpy().ravel(), rho, atol=1e-5)
        np.testing.assert_allclose(
            found.persistence_variance[number].numpy().ravel(), error, atol=1e-5
        )


def test_statistics_do_not_see_other_days(tmp_path, tiny_source, tiny_prepared):
    changed = xr.open_zarr(tiny_source, consolidated=False).load()
    for name in changed.data_vars:
        changed[name][70:] = changed[name][70:] + 5
    source = written(changed.drop_encoding(), tmp_path / "changed.zarr")
    store = TrainingStore.open(prepare(tiny_recipe(tmp_path, source)))
    old = TrainingStore.open(tiny_prepared).statistics
    for name in ("harmonics", "sd", "persistence", "persistence_variance"):
        assert torch.equal(getattr(store.statistics, name), getattr(old, name))
    assert store.fingerprint != TrainingStore.open(tiny_prepared).fingerprint


def test_persistence_of_an_autoregressive_process_is_its_coefficient(tmp_path):
    rng = np.random.default_rng(1)
    dataset = nature_run(days=900, rows=4, columns=8)
    noise = rng.standard_normal((900, 2, 4, 8))
    state = noise.copy()
    for day in range(1, 900):
        state[day] = 0.6 * state[day - 1] + 0.8 * noise[day]
    dataset["temperature"] = dataset["temperature"].copy(data=(260 + 3 * state).astype("f4"))
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "ar.zarr"), harmonics=0)
    recipe.data.splits.train = ["2001-01-01", "2003-01-31"]
    recipe.data.splits.validation = recipe.data.splits.test = []
    recipe.data.channels = ["temperature@850", "temperature@500"]
    statistics = TrainingStore.open(prepare(recipe)).statistics
    mean = statistics.persistence.mean(dim=(1, 2, 3))
    variance = statistics.persistence_variance.mean(dim=(1, 2, 3))
    assert mean.tolist() == pytest.approx([0.6, 0.36, 0.216], abs=0.02)
    expected = [1 - 0.6 ** (2 * lag) for lag in (1, 2, 3)]
    assert variance.tolist() == pytest.approx(expected, abs=0.02)
    assert float(statistics.sd.mean()) == pytest.approx(3.0, rel=0.02)


def test_preparing_twice_gives_the_same_bytes(tmp_path, tiny_source, tiny_prepared):
    recipe = tiny_recipe(tmp_path, tiny_source)
    again = prepare(recipe)
    assert contents(again) == contents(tiny_prepared)


def test_blocks_do_not_matter(tmp_path, tiny_source, tiny_prepared, monkeypatch):
    # Blocks of one file each, where the fixture took everything at once.
    monkeypatch.setattr(budgets, "BLOCK_STEPS", 64)
    again = TrainingStore.open(prepare(tiny_recipe(tmp_path, tiny_source)))
    fixture = TrainingStore.open(tiny_prepared)
    np.testing.assert_array_equal(again.read(slice(None)), fixture.read(slice(None)))
    for name in ("sd", "persistence", "persistence_variance"):
        torch.testing.assert_close(
            getattr(again.statistics, name), getattr(fixture.statistics, name)
        )


def test_complete_store_of_the_same_recipe_is_kept(tmp_path, tiny_source, capsys):
    recipe = tiny_recipe(tmp_path, tiny_source)
    path = prepare(recipe)
    stamp = (path / "zarr.json").stat().st_mtime_ns
    recipe.data.splits.test = ["2001-04-01", "2001-04-20"]  # does not affect the store
    capsys.readouterr()
    assert prepare(recipe) == path
    assert (path / "zarr.json").stat().st_mtime_ns == stamp
    assert "kept" in capsys.readouterr().out


def test_store_of_another_recipe_is_refused_unless_overwritten(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    path = prepare(recipe)
    other = replace(recipe, data=replace(recipe.data, sd_floor=0.5))
    with pytest.raises(UserError, match=r"sd_floor: 0\.3 in the store, 0\.5 in the recipe"):
        prepare(other)
    with pytest.raises(UserError, match="resume=never"):
        prepare(replace(recipe, resume="never"))
    before = TrainingStore.open(path).fingerprint
    prepare(replace(other, resume="overwrite"))
    assert TrainingStore.open(path).fingerprint != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.zarr"]


def test_interrupted_preparation_never_passes_for_finished(tmp_path, tiny_source, monkeypatch):
    recipe = tiny_recipe(tmp_path, tiny_source)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_statistics", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(recipe)
    assert (tmp_path / "store.zarr.partial").exists()
    with pytest.raises(UserError, match="unfinished preparation"):
        TrainingStore.open(recipe.data.store)
    # Even under the final name it would be refused.
    shutil.copytree(tmp_path / "store.zarr.partial", tmp_path / "renamed.zarr")
    with pytest.raises(UserError, match="not finished"):
        TrainingStore.open(tmp_path / "renamed.zarr")
    prepare(recipe)
    assert not (tmp_path / "store.zarr.partial").exists()
    verify(recipe.data.store)


def test_full_disk_is_said_and_leaves_nothing(tmp_path, tiny_source, monkeypatch):
    recipe = tiny_recipe(tmp_path, tiny_source)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manifests, "digest", full)
    with pytest.raises(UserError, match="no space left on the device"):
        prepare(recipe)
    assert list(tmp_path.iterdir()) == []


def test_verify_finds_changed_fields(tmp_path, tiny_prepared):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(tiny_prepared, copy)
    verify(copy)
    fields = zarr.open_group(str(copy), mode="a")["fields"]
    fields[3] = fields[3] + 1
    with pytest.raises(UserError, match=r"file fields/c/0/0/0/0 \(fields of 2001-01-01 to"):
        verify(copy)


def test_missing_value_on_a_training_day_is_refused(tmp_path):
    dataset = nature_run()
    dataset["temperature"][10, 1, 3, 4] = np.nan
    dataset["temperature"][10, 1, 3, 5] = np.nan
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "hole.zarr"))
    with pytest.raises(UserError, match=r"temperature@500 of 2001-01-11.*2 missing values"):
        prepare(recipe)
    assert not Path(recipe.data.store).exists()
    recipe.data.source.gaps = ["temperature@500"]
    store = TrainingStore.open(prepare(recipe))
    assert np.isnan(store.read([10])[0, 1, 3, 4])
    assert bool(torch.isfinite(store.statistics.sd).all())


def test_missing_value_on_a_test_day_is_kept_as_missing(tmp_path):
    dataset = nature_run()
    dataset["temperature"][100, 0, 3, 4] = np.nan
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "hole.zarr"))
    store = TrainingStore.open(prepare(recipe))
    assert np.isnan(store.read([100])).sum() == 1


def test_gaps_do_not_enter_the_statistics(tmp_path):
    """With gaps, a point's statistics are those of the days on which it is known."""
    dataset = nature_run()
    values = dataset["temperature"].values
    dataset["temperature"][5:20, 0, 2, 7] = np.nan
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "gap.zarr"), sd_floor=0.0)
    recipe.data.source.gaps = ["temperature@850"]
    store = TrainingStore.open(prepare(recipe))
    days = np.r_[0:5, 20:70]
    basis = harmonic_basis(torch.from_numpy(store.time[days]), 0).numpy()
    series = values[days, 0, 2, 7].astype(np.float64)
    anomaly = series - basis @ np.linalg.lstsq(basis, series, rcond=None)[0]
    assert float(store.statistics.sd[0, 2, 7]) == pytest.approx(np.sqrt((anomaly**2).mean()))
    full = dict(zip(days, anomaly, strict=True))
    pairs = [(full[d], full[d - 2]) for d in days if d - 2 in full]
    rho = sum(a * b for a, b in pairs) / sum(b * b for _, b in pairs)
    assert float(store.statistics.persistence[1, 0, 2, 7]) == pytest.approx(rho, abs=1e-5)


def test_field_without_any_value_is_refused(tmp_path):
    dataset = nature_run()
    dataset["outgoing_longwave_radiation"][90] = np.nan
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "empty.zarr"))
    with pytest.raises(UserError, match="radiation of 2001-04-01 has no value at all"):
        prepare(recipe)


def test_values_beyond_their_units_are_refused(tmp_path):
    dataset = nature_run()
    dataset["temperature"][5, 0, 0, 0] = -9.96921e36
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "fill.zarr"))
    with pytest.raises(UserError, match=r"2001-01-06 has the value -9\.96921e.36"):
        prepare(recipe)


def test_constant_channel_is_refused(tmp_path):
    dataset = nature_run()
    dataset["temperature"][:, 0] = 280.0
    recipe = tiny_recipe(tmp_path, written(dataset, tmp_path / "constant.zarr"))
    with pytest.raises(UserError, match=r"temperature@850, .* does not vary"):
        prepare(recipe)


def test_training_split_without_data_is_refused(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    recipe.data.splits.train = ["1990-01-01", "1990-12-31"]
    with pytest.raises(UserError, match=r"splits\.train.*1990-01-01 to 1990-12-31"):
        prepare(recipe)


def test_statistics_of_another_store_are_copied(tmp_path, tiny_source, tiny_prepared):
    few = xr.open_zarr(tiny_source, consolidated=False).isel(time=slice(90, 95)).load()
    source = written(few[["temperature"]].drop_encoding(), tmp_path / "few.zarr")
    recipe = tiny_recipe(tmp_path, source, statistics_from=str(tiny_prepared))
    recipe.data.channels = [CHANNELS[3], CHANNELS[1], CHANNELS[0]]
    with pytest.raises(UserError, match=r"outgoing_longwave_radiation.*is missing"):
        prepare(recipe)
    recipe.data.source.absent = [CHANNELS[3]]
    store = TrainingStore.open(prepare(recipe))
    other = TrainingStore.open(tiny_prepared, recipe.data.channels)
    for name in ("harmonics", "sd", "persistence", "persistence_variance"):
        assert torch.equal(getattr(store.statistics, name), getattr(other.statistics, name))
    values = store.read(slice(None))
    assert np.isnan(values[:, 0]).all()
    assert np.isfinite(values[:, 1:]).all()
    assert store.absent == (CHANNELS[3],)
    assert store.attributes["statistics_days"] == ["2001-01-01", "2001-03-11"]


def test_stale_copied_statistics_are_refused(tmp_path, tiny_source):
    own = tiny_recipe(tmp_path, tiny_source, store=str(tmp_path / "own.zarr"))
    recipe = tiny_recipe(tmp_path, tiny_source, statistics_from=str(prepare(own)))
    path = prepare(recipe)
    assert prepare(recipe) == path
    own.data.sd_floor, own.resume = 0.5, "overwrite"
    prepare(own)
    with pytest.raises(UserError, match=r"own\.zarr has changed since"):
        prepare(recipe)


def test_real_reanalysis_window_on_the_sample_s_grid(tmp_path, shared_data):
    """The NCEP file, regridded, with the statistics of a store on the nature run's grid."""
    channels = ["temperature@850", "temperature@500", "outgoing_longwave_radiation"]
    own = tiny_recipe(tmp_path, "sample", store=str(tmp_path / "own.zarr"), channels=channels)
    own.data.harmonics = 1
    own.data.splits.train = ["1981-07-01", "1982-06-30"]
    own.data.splits.validation = own.data.splits.test = []
    prepare(own)
    file = shared_data / "real" / "ncep_r1_air_daily_20220101-05_17lev.nc"
    recipe = tiny_recipe(tmp_path, file, statistics_from=own.data.store, channels=channels)
    recipe.data.source = SourceConfig(
        kind="noaa_psl", path=str(file), grid="sample", absent=[channels[2]]
    )
    store = TrainingStore.open(prepare(recipe))
    assert store.grid.shape == (48, 96)
    values = store.read(slice(None))
    assert np.isnan(values[:, 2]).all()
    raw = xr.open_dataset(file)["air"].sel(level=850).values.astype(np.float64)
    bounds = np.deg2rad(np.r_[90, np.arange(88.75, -90, -2.5), -90])
    weights = np.sin(bounds[:-1]) - np.sin(bounds[1:])
    before = (raw.mean(axis=2) * weights).sum(axis=1) / weights.sum()
    after = (values[:, 0].mean(axis=2, dtype=np.float64) * store.grid.weights.numpy()).mean(axis=1)
    np.testing.assert_allclose(after, before, atol=1e-4)
    anomaly = (
        values[:, 0]
        - store.normaliser().climatology(torch.from_numpy(store.time[:, None]))[:, 0, 0].numpy()
    )
    # A real January against a nature run's: errors of units, levels or orientation are larger.
    assert np.sqrt((anomaly**2).mean()) < 8


def test_statistics_of_another_grid_are_refused(tmp_path, tiny_source, tiny_prepared):
    recipe = tiny_recipe(tmp_path, tiny_source, statistics_from=str(tiny_prepared))
    recipe.data.source.grid = "6x12"
    with pytest.raises(UserError, match=r"statistics_from.*\(12, 24\).*\(6, 12\)"):
        prepare(recipe)


def test_absent_channel_without_statistics_is_refused(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    recipe.data.source.absent = [CHANNELS[3]]
    with pytest.raises(UserError, match="is missing, so its statistics cannot be computed"):
        prepare(recipe)


def test_plan_writes_nothing_and_describes_the_store(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    text = plan(recipe.data).describe()
    assert "110 steps from 2001-01-01 to 2001-04-20" in text
    assert "grid 12 x 24" in text
    assert list(tmp_path.iterdir()) == []


def test_store_says_where_it_comes_from(tiny_prepared):
    attributes = json.loads((tiny_prepared / "zarr.json").read_text())["attributes"]
    assert attributes["status"] == "complete"
    assert attributes["source"]["kind"] == "nature_run"
    assert attributes["source"]["title"] == "made-up nature run"
    assert attributes["units"] == ["K", "K", "mm day-1", "W m-2"]
    assert set(attributes["versions"]) == {"python", "numpy", "xarray", "zarr", "dask"}


def test_regridded_store_has_the_target_grid(tmp_path, tiny_source, tiny_prepared):
    recipe = tiny_recipe(tmp_path, tiny_source)
    recipe.data.source = SourceConfig(path=str(tiny_source), grid="6x12")
    store = TrainingStore.open(prepare(recipe))
    fine = TrainingStore.open(tiny_prepared)
    assert store.grid.shape == (6, 12)
    assert store.attributes["regridding"] == "conservative"
    means = [
        float((s.read([0])[0, 0].mean(axis=1, dtype=np.float64) * s.grid.weights.numpy()).mean())
        for s in (store, fine)
    ]
    assert means[0] == pytest.approx(means[1], abs=1e-4)


def test_a_store_that_the_recipe_reads_from_is_not_overwritten(tmp_path, tiny_source):
    recipe = tiny_recipe(tmp_path, tiny_source)
    before = contents(prepare(recipe))
    recipe.background.path = recipe.data.store
    with pytest.raises(UserError, match=r"overwritten, but background\.path reads from it"):
        prepare(replace(recipe, resume="overwrite"))
    assert contents(Path(recipe.data.store)) == before
