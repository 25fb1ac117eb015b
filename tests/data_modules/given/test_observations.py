"""Reports in memory: the values of `slams prepare`, errors, counts, and refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from data_modules.given.observations import Given, observe
from data_modules.preparation.in_situ.archive import station_days
from data_modules.preparation.in_situ.daily import profile_value
from data_modules.sources.stations import open_station_parts
from slams.calendar.days import days_since_epoch
from slams.config.schema import (
    SatelliteConfig,
    StationQualityConfig,
    StationsConfig,
    StationSourceConfig,
    StationVariableConfig,
)
from slams.errors import UserError
from slams.fields import Observations
from slams.plugins.station_sources import STATION_SOURCES
from slams.stages.data import multimodal
from slams.stages.sources import prepare
from slams.variables import DEFAULT_ERRORS
from tests.data_modules.given.models import CHANNELS, DATE, GRID, NORMALISER, table, used
from tests.data_modules.preparation.in_situ.test_archive import metar, recipe, truth

WARM = "stations/2m_temperature"


def closed(counts: dict[str, int]) -> bool:
    """Return whether everything that was given was used, or was left out for a reason."""
    return counts["given"] == sum(counts.values()) - counts["given"]


def one(found: Given, name: str = WARM) -> Observations:
    (observations,) = [o for o in found.observations if o.name == name]
    assert bool(observations.mask.all())
    assert observations.values.dtype == torch.float32
    return observations


@pytest.fixture(scope="module")
def bad_archive(tmp_path_factory, tiny_source):
    """Return a prepared recipe and its archive, with two bad days and settings of the checks."""
    directory: Path = tmp_path_factory.mktemp("given")
    values = truth()
    values[5, 1] += 40.0  # against its three neighbours
    values[9, 2] += 150.0  # out of range
    archive = metar(directory / "bad.parquet", values)
    quality = StationQualityConfig(step=0.0, buddy_km=3000.0, buddy_limit=10.0)
    config = recipe(directory, tiny_source, archive, qc=quality, thinning_km=1.0)
    prepare(config)
    return config, archive


def test_values_errors_and_operators_are_those_of_the_prepared_archive(bad_archive) -> None:
    config, archive = bad_archive
    module = multimodal(config)
    array = zarr.open_group(config.data.store, mode="r")["stations"]
    raw = pd.read_parquet(archive)
    columns = {"stationName": "station_id", "timeObs": "time", "temperature": "value"}
    reports = raw.rename(columns=columns).assign(variable="t2m")
    state = torch.randn(len(module.channels), *module.grid.shape)
    for day in (0, 5, 9, 31):
        time = float(module.store.time[78 + day])
        stored = torch.from_numpy(array[78 + day : 79 + day])[None]
        (prepared,) = module.stations.observer.stored(stored, torch.tensor([[time]]))
        found = observe(
            [reports],
            time,
            config.observations.stations,
            config.observations.satellite,
            module.channels,
            module.grid,
            module.normaliser,
            None,
        )
        given, there = one(found), prepared.mask[0, 0]
        assert torch.equal(given.values[0, 0], prepared.values[0, 0, there])
        assert torch.equal(given.error_variance[0, 0], prepared.error_variance[0, 0, there])
        assert torch.equal(given.operator(state), prepared.operator(state)[there])
        counts = found.counts[WARM]
        assert closed(counts)
        assert counts["outside the day"] == 31 * 16
        assert counts.get("buddy", 0) == (day == 5)
        assert counts.get("range", 0) == 4 * (day == 9)
        assert counts["used"] == 4 - (day in (5, 9))


@pytest.mark.parametrize(
    ("kind", "path", "day"),
    [
        ("metar", "weatherbenchX_metar_2020-01.parquet", "2020-01-15"),
        (
            "arm_column",
            "sgp3hIOPsndgBasedV2.0*.cdf",
            "1997-07-01",
        ),
        ("igra2", "AUM00011035-data.txt.gz", "2015-03-08"),
    ],
)
def test_long_tables_of_real_archives_give_their_daily_values(
    kind, path, day, shared_data
) -> None:
    """Read the same reports through both doors: soundings, rain, radiation and temperature."""
    real = shared_data / "real"
    source = StationSourceConfig(
        kind=kind, path=str(real / path), station_list=str(real / "igra2-station-list.txt")
    )
    provided = STATION_SOURCES.get(kind, "kind").variables
    specs = [spec for spec in CHANNELS if spec.variable in provided]
    stations = StationsConfig(
        variables=[StationVariableConfig(spec.name) for spec in specs], source=source
    )
    date = np.datetime64(day, "D")
    time = np.array([float(days_since_epoch(date))])
    prepared = station_days(stations, CHANNELS, GRID, time, NORMALISER, None)
    reports = next(open_station_parts(source, provided, date, date)).table
    table = reports[reports["accepted"]].drop(columns=["accepted", "reason"])
    found = observe(
        [table], time[0], stations, SatelliteConfig(), CHANNELS, GRID, NORMALISER, None
    )
    assert prepared.network is not None
    compared = 0
    for number, spec in enumerate(specs):
        values = prepared.values[0, :, number]
        there = np.isfinite(values)
        if not there.any():
            continue
        given = one(found, f"stations/{spec.name}")
        positions = given.operator.latitude.tolist()
        index = [positions.index(y) for y in prepared.network.latitude[there].tolist()]
        np.testing.assert_array_equal(given.values[0, 0, index].numpy(), values[there])
        compared += len(index)
    assert compared == prepared.counts["values"] > 0


def test_one_report_is_a_daily_value_and_is_noted() -> None:
    found = used(table(time=f"{DATE}T17:20"))
    assert one(found).values.tolist() == [[[285.0]]]
    assert found.counts == {WARM: {"given": 1, "used": 1}}
    assert "1 of 1 daily values have fewer reports than those in 4 quarters" in found.notes[0]
    quarters = [f"{DATE}T{hour:02d}" for hour in (0, 6, 12, 18)]
    found = used(table(time=quarters, value=[280.0, 282.0, 284.0, 286.0]))
    assert one(found).values.tolist() == [[[283.0]]]
    assert found.counts == {WARM: {"given": 4, "averaged over the day": 3, "used": 1}}
    assert not found.notes


def test_errors_of_reports_recipe_and_defaults() -> None:
    stations = StationsConfig(
        variables=[StationVariableConfig("2m_temperature", 0.5, representativeness=1.2)]
    )
    reports = pd.concat(
        [
            table(longitude=[0.0, 20.0, 40.0], error=[0.7, np.nan, 0.9]),
            table(variable="t", level=850, value=275.0),
        ]
    )
    found = used(reports, stations=stations)
    error = one(found).error_variance.sqrt().flatten().tolist()
    # By name of the station, that is its position.
    assert error == pytest.approx([0.7, 1.3, 0.9])
    default = one(found, "stations/temperature@850").error_variance.sqrt()
    assert float(default) == pytest.approx(DEFAULT_ERRORS["temperature"])


@pytest.mark.parametrize(
    ("variable", "level", "value", "error", "expected"),
    [
        # d log(1 + x) = dx / (1 + x), d sqrt(x) = dx / (2 sqrt(x))
        ("tp", None, 4.0, 1.5, 1.5 / 5),
        ("tp", None, 0.0, 1.5, 1.5),
        ("q", 850, 0.0064, 0.0008, 0.0008 / (2 * 0.08)),
        ("q", 850, 0.0, 0.0004, 0.0004 / (2 * 0.02)),
        ("t2m", None, 285.0, 1.5, 1.5),
    ],
)
def test_errors_are_converted_by_the_slope(variable, level, value, error, expected) -> None:
    columns = {} if level is None else {"level": level}
    (o,) = used(table(variable=variable, value=value, error=error, **columns)).observations
    assert float(o.error_variance.sqrt()) == pytest.approx(expected, rel=1e-6)
    assert o.bound == (0.0 if variable == "tp" else -math.inf)


def test_errors_of_a_day_are_combined_as_the_values_are() -> None:
    hours = [f"{DATE}T{hour:02d}" for hour in (6, 12, 18)] + ["2001-03-29"]
    reports = table(variable="tp", time=hours, hours=6.0, value=[0.0, 3.0, 0.0, 0.0], error=0.5)
    found = used(reports)
    rain = one(found, "stations/total_precipitation_24hr")
    assert float(rain.values) == pytest.approx(math.log1p(3.0))
    # Fully correlated: 2 mm in all.
    assert float(rain.error_variance.sqrt()) == pytest.approx(2.0 / 4.0)
    # A report without an error counts as one with the mean error of the others.
    known = used(reports.assign(error=[0.5, np.nan, 0.5, 0.5]))
    again = one(known, "stations/total_precipitation_24hr").error_variance
    torch.testing.assert_close(again, rain.error_variance)
    mean = used(table(time=hours[:3], value=[280.0, 281.0, 282.0], error=[1.0, 2.0, np.nan]))
    assert float(one(mean).error_variance.sqrt()) == pytest.approx(1.5)


def test_soundings_are_interpolated_to_the_levels_of_the_model() -> None:
    pressure = [1000.0, 900.0, 800.0, 600.0, 500.0, 300.0]
    temperature = [290.0, 284.0, 278.0, 268.0, 252.0, 230.0]
    reports = table(variable="ta", level=pressure, value=temperature, time=f"{DATE}T11:30")
    found = used(reports)
    assert {o.name for o in found.observations} == {
        "stations/temperature@850",
        "stations/temperature@500",
    }
    expected = profile_value(np.array(pressure), np.array(temperature), 850.0)
    assert float(one(found, "stations/temperature@850").values) == pytest.approx(expected)
    assert float(one(found, "stations/temperature@500").values) == 252.0
    # 300 hPa is too far from 500, the nearest level; three others are nearest to 850.
    assert found.counts["stations/temperature"] == {
        "given": 1,
        "not a channel of this model": 1,
        "used": 0,
    }
    counts = found.counts["stations/temperature@850"]
    assert counts == {"given": 3, "averaged over the day": 2, "used": 1}
    assert "stations/temperature: 1 reports: not a channel of this model" in found.notes


def test_a_report_that_cannot_be_interpolated_is_counted() -> None:
    reports = pd.concat([table(variable="t", level=700.0, value=270.0), table()])
    found = used(reports)
    counts = found.counts["stations/temperature@850"]
    assert counts == {"given": 1, "too far from the level": 1, "used": 0}


def test_a_site_may_observe_longwave_radiation_and_rain() -> None:
    reports = pd.concat([table(variable="olr", value=240.0), table(variable="tp", value=2.0)])
    found = used(reports)
    assert float(one(found, "stations/outgoing_longwave_radiation").values) == 240.0
    assert float(one(found, "stations/total_precipitation_24hr").values) == pytest.approx(
        math.log(3.0)
    )


def test_positions_heights_and_distances_are_checked() -> None:
    reports = table(
        latitude=[10.0, 10.0005, 10.5, 40.0, 60.0],
        station_id=list("ABCDE"),
        elevation=[0.0, 0.0, 0.0, 900.0, 0.0],
        value=[286.0, 285.0, 287.0, 288.0, 100.0],
        error=[0.1, 0.2, 0.3, 0.4, 0.5],
    )
    # B has rain too, and therefore stays in the place of A.
    rain = table(variable="tp", value=1.0, latitude=10.0005, elevation=0.0, station_id="B")
    reports = pd.concat([reports, rain])
    found = used(
        reports,
        terrain=np.zeros(GRID.shape),
        height_difference=500.0,
        thinning_km=100.0,
    )
    assert one(found).values.tolist() == [[[285.0]]]
    assert float(one(found).error_variance) == pytest.approx(0.04)
    assert found.counts[WARM] == {
        "given": 5,
        "range": 1,
        "stations at the place of another left out": 1,
        "height: too far from the terrain": 1,
        "stations thinned out": 1,
        "used": 1,
    }


def test_the_model_is_adjusted_to_the_height_of_the_station() -> None:
    found = used(table(elevation=1000.0), terrain=np.zeros(GRID.shape))
    state = torch.full((len(CHANNELS), *GRID.shape), 285.0)
    assert float(one(found).operator(state)) == pytest.approx(285.0 - 6.5)


def test_a_spike_is_rejected_by_reports_of_the_days_around() -> None:
    times = ["2001-03-27T18:00", f"{DATE}T00:00", f"{DATE}T06:00"]
    found = used(table(time=times, value=[280.0, 310.0, 281.0]))
    assert found.counts[WARM] == {"given": 3, "outside the day": 1, "step": 1, "used": 1}
    assert one(found).values.tolist() == [[[281.0]]]


def test_several_tables_are_one() -> None:
    parts = table(station_id="A"), table(station_id="B", longitude=60.0)
    assert one(used(*parts)).values.shape == (1, 1, 2)
    # The same report twice is one.
    found = used(parts[0], parts[0])
    assert found.counts[WARM] == {"given": 1, "used": 1}
    assert "stations: repeated rows dropped: 1" in found.notes
    other = table(station_id="A", value=286.0)
    with pytest.raises(UserError, match=r"observations\[0\] and observations\[1\]: 2m_temp.*once"):
        used(parts[0], other)


def test_what_is_given_in_vain_is_refused() -> None:
    with pytest.raises(UserError, match=r"all 1 reports are of 2001-03-30, expected .*2001-03-28"):
        used(table(time="2001-03-30"))
    both = ["2001-03-30", "2001-04-02"]
    with pytest.raises(UserError, match=r"observations\[1\]: all 2.*2001-03-30 to 2001-04-02"):
        used(table(), table(time=both))
    with pytest.raises(UserError, match=r"of 2001-03-28: nothing is left.*not a channel .* 1"):
        used(table(variable="ps", value=1e5))
    with pytest.raises(UserError, match=r"nothing is left.*range 1, used 0"):
        used(pd.concat([table(value=[100.0]), table(time="2001-03-27", value=[285.0] * 2)]))
    with pytest.raises(UserError, match="found list, expected a pandas DataFrame"):
        used([1.0])
    assert used() == Given()


def test_channels_outside_the_model_are_noted() -> None:
    winds = table(variable=["u", "v"], level=850, value=3.0)
    found = used(pd.concat([table(), table(variable="ps", value=1e5), winds]))
    assert found.counts["stations/u_component_of_wind"]["given"] == 1
    assert found.counts["stations/surface_pressure"] == {
        "given": 1,
        "not a channel of this model": 1,
        "used": 0,
    }
    assert "stations/surface_pressure: 1 reports: not a channel of this model" in found.notes


def test_rain_that_covers_part_of_the_day_is_counted() -> None:
    reports = pd.concat([table(variable="tp", value=2.0, hours=6.0, time=f"{DATE}T06"), table()])
    counts = used(reports).counts["stations/total_precipitation_24hr"]
    assert counts == {"given": 1, "too few for a daily value": 1, "used": 0}


def test_settings_of_the_recipe_are_kept() -> None:
    """The quarters of a recipe do not reject a user's report, its other settings apply."""
    source = StationSourceConfig(quarters=2, qc=StationQualityConfig(range=False, buddy_km=0.0))
    found = used(table(value=[350.0, 285.0, 285.0], longitude=[0.0, 30.0, 60.0]), **vars(source))
    assert 350.0 in one(found).values
    assert "in 2 quarters" in found.notes[0]
