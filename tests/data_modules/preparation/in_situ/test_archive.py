"""Real reports: prepared, streamed, assimilated and verified without a truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from data_modules.store.training_store import TrainingStore
from slams.config import checks
from slams.config.schema import (
    AssimilationConfig,
    BackgroundConfig,
    Config,
    SourceConfig,
    SplitsConfig,
    StationQualityConfig,
    StationSourceConfig,
    StationVariableConfig,
    TrackingConfig,
)
from slams.errors import UserError
from slams.observations.representativeness import grid_spacing_km
from slams.stages.assimilation import assimilate
from slams.stages.data import multimodal
from slams.stages.sources import prepare
from tests.synthetic import nature_run, tiny_recipe

WARM = "2m_temperature"
CHANNELS = ["temperature@850", WARM, "outgoing_longwave_radiation"]
FIRST = np.datetime64("2001-03-20")
DAYS = 32
# On grid points of the synthetic nature run, 15 degrees apart.
PLACES = {"KAAA": (52.5, 30.0), "KBBB": (52.5, 45.0), "KCCC": (37.5, 30.0), "KDDD": (37.5, 45.0)}


def truth() -> np.ndarray:
    """Return the nature run's 2 m temperature at the places, `(day, station)`."""
    run = nature_run()[WARM].sel(time=slice(FIRST, None))
    values = [run.sel(latitude=y, longitude=x).values for y, x in PLACES.values()]
    return np.stack(values, axis=1).astype(np.float64)


def metar(path: Path, values: np.ndarray) -> Path:
    """Write METAR reports whose daily means are the values, with a diurnal cycle."""
    cycle = np.array([-3.0, -1.0, 3.0, 1.0])
    rows = [
        (name, *place, 100.0, FIRST + np.timedelta64(6 * quarter + 24 * day + 1, "h"), value)
        for station, (name, place) in enumerate(PLACES.items())
        for day in range(len(values))
        for quarter, value in enumerate(values[day, station] + cycle)
    ]
    names = ["stationName", "latitude", "longitude", "elevation", "timeObs", "temperature"]
    table = pd.DataFrame(rows, columns=names)
    table["timeObs"] = table["timeObs"].astype("datetime64[ns]")
    table.assign(temperatureDD="V").to_parquet(path, index=False)
    return path


def recipe(directory: Path, source: Path, archive: Path, **options) -> Config:
    config = tiny_recipe(directory, source, channels=CHANNELS)
    stations = replace(
        config.observations.stations,
        variables=[StationVariableConfig(WARM, 0.5, 0.3, 500.0)],
        source=StationSourceConfig(kind="metar", path=str(archive), **options),
    )
    observations = replace(
        config.observations, use=["stations"], source="store", stations=stations
    )
    return replace(config, observations=observations)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return metar(tmp_path_factory.mktemp("archive") / "metar.parquet", truth())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_source, archive) -> Config:
    config = recipe(tmp_path_factory.mktemp("real"), tiny_source, archive)
    checks.check(config)
    prepare(config)
    return config


def test_the_store_holds_the_daily_means(prepared):
    group = zarr.open_group(prepared.data.store, mode="r")
    values = group["stations"][:]
    assert values.shape == (110, 4, 1)
    assert np.isnan(values[:78]).all()
    np.testing.assert_allclose(values[78:, :, 0], truth(), atol=1e-4)
    attributes = group["stations"].attrs
    assert attributes["counts"] == {
        "reports": 512,
        "daily values": 128,
        "stations": 4,
        "values": 128,
    }
    assert "UTC" in attributes["conventions"]["day"]
    assert attributes["elevation_correction"] == "none: the store has no terrain"


def test_batches_carry_them_with_their_errors(prepared):
    module = multimodal(prepared)
    assert module.network.id == tuple(PLACES)
    window = next(iter(module.test_dataloader()))
    batch = module.on_after_batch_transfer(window)
    (observed,) = batch.observations
    assert observed.name == f"stations/{WARM}"
    state = module.normaliser.denormalise(batch.fields, batch.climatology)
    # The stations are on grid points: they report H of the truth.
    assert bool(observed.mask.any())
    departure = (observed.operator(state) - observed.values)[observed.mask]
    assert float(departure.abs().max()) < 1e-3
    latitude = module.network.latitude
    rest = 0.3 * (grid_spacing_km(module.grid, latitude) / 500.0) ** (1 / 3)
    expected = (0.5**2 + rest**2).to(observed.error_variance)
    torch.testing.assert_close(observed.error_variance[0, 0], expected)
    assert float(expected[0]) < float(expected[2])


def test_held_out_stations_are_told_apart(prepared):
    stations = replace(prepared.observations.stations, held_out=0.25)
    config = replace(prepared, observations=replace(prepared.observations, stations=stations))
    module = multimodal(config)
    batch = module.on_after_batch_transfer(next(iter(module.test_dataloader())))
    assert len(module.network) == 3
    assert batch.observations[0].values.shape[-1] == 3
    assert batch.held_out[0].values.shape[-1] == 1
    whole = multimodal(prepared)
    everything = whole.on_after_batch_transfer(next(iter(whole.test_dataloader())))
    variance = everything.observations[0].error_variance[0, 0]
    held = whole.network.id.index(module.held_out_network.id[0])
    assert float(batch.held_out[0].error_variance[0, 0, 0]) == float(variance[held])


def test_another_archive_or_another_check_is_refused(prepared):
    source = replace(prepared.observations.stations.source, quarters=2)
    stations = replace(prepared.observations.stations, source=source)
    config = replace(prepared, observations=replace(prepared.observations, stations=stations))
    with pytest.raises(UserError, match=r"quarters: 4 in the store, 2 in the recipe"):
        multimodal(config)


def test_a_copy_of_the_archive_elsewhere_gives_the_same_store(
    tmp_path, tiny_source, archive, prepared
):
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(archive.read_bytes())
    config = recipe(tmp_path, tiny_source, copy)
    prepare(config)
    first, second = (TrainingStore.open(c.data.store) for c in (prepared, config))
    assert first.fingerprint == second.fingerprint
    moved = pd.read_parquet(copy)
    moved["longitude"] += 0.5
    moved.to_parquet(copy, index=False)
    prepare(replace(config, resume="overwrite"))
    assert TrainingStore.open(config.data.store).fingerprint != first.fingerprint


def test_bad_reports_are_counted_and_left_out(tmp_path, tiny_source):
    values = truth()
    values[5, 1] += 40.0  # against its three neighbours
    values[9, 2] += 150.0  # out of range
    archive = metar(tmp_path / "bad.parquet", values)
    config = recipe(
        tmp_path,
        tiny_source,
        archive,
        qc=StationQualityConfig(step=0.0, buddy_km=3000.0, buddy_limit=10.0),
        thinning_km=1.0,
    )
    prepare(config)
    array = zarr.open_group(config.data.store, mode="r")["stations"]
    counts = dict(array.attrs["counts"])
    assert counts["range"] == 4
    assert counts["buddy"] == 1
    assert counts["values"] == 126
    assert np.argwhere(np.isnan(array[78:, :, 0])).tolist() == [[5, 1], [9, 2]]


def test_thinning(tmp_path, tiny_source, archive):
    config = recipe(tmp_path, tiny_source, archive, thinning_km=1400.0)
    prepare(config)
    group = zarr.open_group(config.data.store, mode="r")
    # Along the parallels they are 1,015 and 1,323 km apart, along the meridians 1,668.
    assert group["stations"].attrs["counts"]["stations thinned out"] == 2
    ids = [bytes(n).decode() for n in group["station_id"][:]]
    assert ids == ["KAAA", "KCCC"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "metra"}, r"kind.*did you mean 'metar'"),
        ({"path": ""}, r"source\.path'.*found nothing"),
        ({"kind": "ghcn_daily"}, r"station_list'.*found nothing"),
        ({"morning": "shift"}, r"morning"),
        ({"quarters": 5}, r"quarters'.*1 to 4"),
        ({"coverage": 0.0}, r"coverage'.*\(0, 1\]"),
        ({"thinning_km": -1.0}, r"thinning_km'.*0 or more"),
        ({"kind": "igra2"}, r"variables\.0\.channel'.*what igra2 reports: temperature"),
    ],
)
def test_recipes_that_cannot_be_are_refused(prepared, changes, message):
    source = replace(prepared.observations.stations.source, **changes)
    stations = replace(prepared.observations.stations, source=source)
    config = replace(prepared, observations=replace(prepared.observations, stations=stations))
    with pytest.raises(UserError, match=message):
        checks.check(config)


def test_real_reports_need_the_store_and_no_made_up_gaps(prepared):
    observations = prepared.observations
    with pytest.raises(UserError, match=r"observations\.source'.*expected 'store'"):
        checks.check(replace(prepared, observations=replace(observations, source="truth")))
    stations = replace(observations.stations, missing=0.1)
    with pytest.raises(UserError, match=r"missing'.*expected 0"):
        checks.check(replace(prepared, observations=replace(observations, stations=stations)))


def test_reports_of_a_user_reach_the_store_with_their_errors(tmp_path, tiny_source, capsys):
    """What is left out is printed and recorded; R is the error that a report states."""
    values = truth()
    times = FIRST + np.arange(DAYS).astype("timedelta64[D]") + np.timedelta64(12, "h")
    rows = [
        (str(time), *place, name, WARM, values[day, station], [0.25, np.nan][station % 2])
        for station, (name, place) in enumerate(PLACES.items())
        for day, time in enumerate(times)
    ]
    rows.append((str(times[0]), 0.0, 0.0, "NOWHERE", WARM, 290.0, 1.0))
    names = ["time", "latitude", "longitude", "station_id", "variable", "value", "error"]
    archive = tmp_path / "own.csv"
    pd.DataFrame(rows, columns=names).to_csv(archive, index=False)
    config = recipe(tmp_path, tiny_source, archive, quarters=1)
    config.observations.stations.source.kind = "reports"
    checks.check(config)
    prepare(config)
    line = "left out: 1 of 129 reports (0.78%): position 0, 0 1 (station NOWHERE is at 0, 0)"
    printed = capsys.readouterr()
    assert line in printed.out + printed.err
    group = zarr.open_group(config.data.store, mode="r")
    assert group["stations"].attrs["left_out"] == [
        {"why": "position 0, 0", "number": 1, "example": "station NOWHERE is at 0, 0"}
    ]
    np.testing.assert_allclose(group["stations"][78:, :, 0], values, atol=1e-4)
    errors = group["station_errors"][:]
    np.testing.assert_array_equal(errors[78:, :, 0], np.tile([0.25, np.nan], (DAYS, 2)))
    assert np.isnan(errors[:78]).all()
    module = multimodal(config)
    batch = module.on_after_batch_transfer(next(iter(module.test_dataloader())))
    (observed,) = batch.observations
    latitude = module.network.latitude
    rest = 0.3 * (grid_spacing_km(module.grid, latitude) / 500.0) ** (1 / 3)
    expected = (0.5**2 + rest**2).to(observed.error_variance)
    expected[::2] = 0.25**2
    day = int(observed.mask[0, :, 0].nonzero()[0])
    torch.testing.assert_close(observed.error_variance[0, day], expected)


def test_days_without_reports_are_refused(tmp_path, tiny_source):
    archive = metar(tmp_path / "few.parquet", truth()[:2])
    config = recipe(tmp_path, tiny_source, archive, quarters=4)
    rows = pd.read_parquet(archive)
    rows[rows["timeObs"].dt.hour == 1].to_parquet(archive, index=False)
    with pytest.raises(UserError, match=r"no daily value.*quarters"):
        prepare(config)


def test_observations_alone_are_assimilated_and_judged(tmp_path, tiny_source, prepared, archive):
    """Assimilate real reports on days without fields."""
    config = recipe(tmp_path, tiny_source, archive)
    data = replace(
        config.data,
        store=str(tmp_path / "alone.zarr"),
        statistics_from=prepared.data.store,
        source=SourceConfig(
            kind="no_fields",
            path="2001-04-01/2001-04-12",
            grid=prepared.data.store,
            absent=list(CHANNELS),
        ),
        splits=SplitsConfig(test=["2001-04-01", "2001-04-12"]),
        test_cases=0,
    )
    stations = replace(config.observations.stations, held_out=0.25)
    config = replace(
        config,
        data=data,
        background=BackgroundConfig(kind="climatology"),
        observations=replace(config.observations, stations=stations),
        assimilation=AssimilationConfig(
            methods=["climatology", "optimal_interpolation"], members=8, bootstrap_block=1
        ),
        tracking=TrackingConfig(enabled=False),
    )
    checks.check(config)
    prepare(config)
    store = TrainingStore.open(config.data.store)
    assert json.loads(store.attributes["recipe"])["source"]["kind"] == "no_fields"
    assert np.isnan(store.read(slice(None))).all()
    run = assimilate(config, report_after=False)
    space = pd.read_parquet(run / "observation_space.parquet")
    space = space[space["region"] == "global"].set_index(["method", "use", "statistic"])["value"]
    fitted = space["optimal_interpolation"]
    for use, share in (("assimilated", 0.6), ("held_out", 1.0)):
        assert fitted[use, "o_minus_a_sd"] < share * fitted[use, "o_minus_b_sd"]
        same = space["climatology"][use, "o_minus_a_sd"]
        assert same == pytest.approx(fitted[use, "o_minus_b_sd"], rel=1e-4)
    results = pd.read_parquet(run / "results.parquet")
    assert set(results["variable"]) == {"all"}

    # As a cycle: the first day of the store has no day before it.
    cycle = replace(config.assimilation, cycle_days=11, cycle_start="climatology", cycle_bias=0.2)
    config = replace(
        config,
        experiment="cycled",
        data=replace(data, splits=SplitsConfig(test=["2001-04-02", "2001-04-12"])),
        background=BackgroundConfig(kind="damped_persistence", lag=1),
        assimilation=cycle,
    )
    checks.check(config)
    rows = pd.read_parquet(assimilate(config) / "departures.parquet")
    assert sorted(rows["date"].unique()) == [f"2001-04-{day:02d}" for day in range(2, 13)]
    rms = rows[rows["use"] == "assimilated"].pivot(
        index="date", columns="method", values="o_minus_b_rms"
    )
    np.testing.assert_allclose(*rms.iloc[0], rtol=1e-5)  # from the climatology, both
    assert rms["optimal_interpolation"].mean() < rms["climatology"].mean()


def test_no_fields_says_what_it_needs(tmp_path, prepared):
    data = replace(
        prepared.data,
        store=str(tmp_path / "x.zarr"),
        statistics_from=prepared.data.store,
        source=SourceConfig(kind="no_fields", grid=prepared.data.store, absent=CHANNELS[:2]),
    )
    with pytest.raises(UserError, match=r"outgoing_longwave_radiation is missing from the list"):
        prepare(replace(prepared, data=data))
    for path, message in (
        ("2001-04", "first and the last day"),
        ("2001-04-02/2001-04-01", "after"),
    ):
        source = replace(data.source, path=path, absent=list(CHANNELS))
        with pytest.raises(UserError, match=message):
            prepare(replace(prepared, data=replace(data, source=source)))
