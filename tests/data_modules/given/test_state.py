"""A state in memory: any order, name, unit and grid gives the same values; refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from data_modules.given.state import GivenState, read_state
from data_modules.preparation.regridding import Regridder
from data_modules.preparation.target_grid import dataset_grid, regular_grid
from data_modules.store.training_store import TrainingStore
from slams.calendar.days import days_since_epoch
from slams.cf.dataset import analysis_dataset
from slams.errors import UserError
from slams.fields import Ensemble, FieldSpec
from tests.synthetic import nature_run

NAMES = ["temperature@850", "temperature@500", "2m_temperature", "total_precipitation_24hr"]
CHANNELS = tuple(FieldSpec.parse(name) for name in NAMES)
GRID = regular_grid(12, 24)
DATE = "2001-01-03"


def state() -> xr.Dataset:
    """Return one state with time, levels and units, on the grid of the model."""
    run = nature_run(days=3)
    return run.isel(time=2).drop_vars("outgoing_longwave_radiation")


def read(dataset: xr.Dataset, absent: tuple[str, ...] = (), channels=CHANNELS) -> GivenState:
    return read_state(dataset, channels, GRID, "background", absent)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return read(state()).values


def test_a_state_on_the_grid_is_the_state() -> None:
    dataset = state()
    found = read(dataset)
    assert found.values.dtype == np.float32
    assert found.day == float(days_since_epoch(np.datetime64(DATE)))
    assert found.notes == ()
    np.testing.assert_array_equal(found.values[:2], dataset["temperature"].values)
    np.testing.assert_array_equal(found.values[2], dataset["2m_temperature"].values)


def rolled(dataset: xr.Dataset) -> xr.Dataset:
    """Run the longitudes from -180 to 180."""
    east = ((dataset["longitude"] + 180) % 360) - 180
    return dataset.assign_coords(longitude=east).sortby("longitude")


def in_pa(dataset: xr.Dataset) -> xr.Dataset:
    level = ("level", dataset["level"].values * 100.0, {"units": "Pa"})
    return dataset.assign_coords(level=level).rename(level="plev")


def standard(dataset: xr.Dataset) -> xr.Dataset:
    """Name variables as nobody does, and state standard names."""
    names = {"temperature": "one", "2m_temperature": "two", "total_precipitation_24hr": "three"}
    dataset = dataset.rename(names)
    for name, standard_name in (
        ("one", "air_temperature"),
        ("two", "air_temperature"),
        ("three", "lwe_precipitation_rate"),
    ):
        dataset[name].attrs["standard_name"] = standard_name
    return dataset


def with_lead(dataset: xr.Dataset) -> xr.Dataset:
    """Make a forecast of two days as WeatherBench2 has it, with dimensions of one element."""
    start = dataset["time"].values - np.timedelta64(2, "D")
    dataset = dataset.assign_coords(time=start).expand_dims("time")
    lead = np.array([np.timedelta64(48, "h")], "timedelta64[ns]")
    return dataset.expand_dims(prediction_timedelta=lead)


SHORT = {"temperature": "t", "2m_temperature": "t2m", "total_precipitation_24hr": "tp"}
CHANGES = {
    "south to north": lambda d: d.isel(latitude=slice(None, None, -1)),
    "-180 to 180": rolled,
    "longitude before latitude": lambda d: d.transpose("longitude", "level", "latitude"),
    "levels in another order": lambda d: d.isel(level=[1, 0]),
    "more levels": lambda d: xr.concat([d.assign_coords(level=[1, 2]), d], "level", "minimal"),
    "Pa": in_pa,
    "dask": lambda d: d.chunk({"latitude": 5}),
    "short names": lambda d: d.rename(SHORT | {"latitude": "lat", "longitude": "lon"}),
    "standard names": standard,
    "time as a dimension": lambda d: d.expand_dims("time"),
    "members of one": lambda d: d.expand_dims("number"),
    "a forecast": with_lead,
    "valid time": lambda d: d.rename(time="valid_time"),
    "in double precision": lambda d: d.astype(np.float64),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_form_does_not_matter(change, expected: np.ndarray) -> None:
    before = state()
    dataset = change(before)
    found = read(dataset)
    np.testing.assert_array_equal(found.values, expected)
    assert found.day == float(days_since_epoch(np.datetime64(DATE)))


def test_units_are_converted(expected: np.ndarray) -> None:
    dataset = state()
    dataset["temperature"] = (dataset["temperature"] - 273.15).assign_attrs(units="degC")
    rain = "total_precipitation_24hr"
    dataset[rain] = (dataset[rain] / 1000).assign_attrs(units="m")
    found = read(dataset)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6, atol=1e-6)
    assert "temperature: degC converted to K" in found.notes


def test_units_that_are_not_stated_are_canonical_except_for_rain(expected: np.ndarray) -> None:
    dataset = state()
    dataset["temperature"].attrs.clear()
    found = read(dataset)
    np.testing.assert_array_equal(found.values, expected)
    assert "temperature: no units stated, taken as K" in found.notes
    assert "units" not in dataset["temperature"].attrs
    dataset["total_precipitation_24hr"].attrs.clear()
    with pytest.raises(UserError, match="states no units; set its attribute units, such as 'mm d"):
        read(dataset)


def test_a_single_level_that_is_no_dimension() -> None:
    dataset = state().sel(level=850)[["temperature"]]
    found = read(dataset, channels=CHANNELS[:1])
    np.testing.assert_array_equal(found.values[0], dataset["temperature"].values)


def test_a_state_without_time_has_no_day(expected: np.ndarray) -> None:
    found = read(state().drop_vars("time"))
    assert math.isnan(found.day)
    np.testing.assert_array_equal(found.values, expected)


def test_other_grids_are_regridded_as_by_prepare() -> None:
    rows, columns = np.linspace(90, -90, 19), np.arange(36) * 10.0
    dataset = state().interp(latitude=rows, longitude=columns, kwargs={"fill_value": None})
    found = read(dataset)
    assert any("regridded from 19 x 36 points (conservative)" in note for note in found.notes)
    regridder = Regridder(dataset_grid(dataset), GRID, "conservative")
    same = regridder(dataset["2m_temperature"].values.astype(np.float32)).astype(np.float32)
    np.testing.assert_array_equal(found.values[2], same)


def test_a_day_of_a_source_is_the_day_of_its_store(tiny_source, tiny_prepared) -> None:
    store = TrainingStore.open(tiny_prepared)
    fields = zarr.open_group(tiny_prepared, mode="r")["fields"]
    run = xr.open_zarr(tiny_source, consolidated=False)
    for day in (0, 57):
        found = read_state(run.isel(time=day), store.channels, store.grid, "background")
        np.testing.assert_array_equal(found.values, fields[day])
        assert found.day == store.time[day]


def test_channels_that_may_be_absent() -> None:
    dataset = state().sel(level=[850])
    with pytest.raises(UserError, match=r"level 500 hPa of temperature is missing; found 850 hPa"):
        read(dataset)
    found = read(dataset, absent=tuple(NAMES))
    assert np.isnan(found.values[1]).all()
    assert np.isfinite(found.values[[0, 2, 3]]).all()
    assert found.notes[-1] == "missing: temperature@500"
    dataset = dataset.drop_vars("2m_temperature")
    with pytest.raises(UserError, match=r"2m_temperature is missing; found temp.*missing=\"clim"):
        read(dataset, absent=("temperature@500",))
    found = read(dataset, absent=("temperature", "2m_temperature"))
    assert np.isnan(found.values).all(axis=(1, 2)).tolist() == [False, True, True, False]
    with pytest.raises(UserError, match=r"found nothing, none of which is a channel of the model"):
        read(dataset.drop_vars(list(dataset.data_vars)), absent=tuple(NAMES))


def test_noise_of_humidity_below_zero_is_zero() -> None:
    run = nature_run(days=1, winds=True).isel(time=0)
    run["specific_humidity"][0, 0, :2] = -1e-6
    channels = (FieldSpec.parse("specific_humidity@850"),)
    found = read(run, channels=channels)
    assert found.values[0, 0, :2].tolist() == [0.0, 0.0]
    assert "2 negative values of humidity set to zero" in found.notes


def test_an_analysis_is_a_background() -> None:
    """Read the mean or a member of what `slams.cf` writes."""
    members = torch.from_numpy(read(state()).values)[None, None, None].repeat(1, 3, 1, 1, 1, 1)
    members[:, 1] *= 1.01
    time = torch.tensor([[11324.0]], dtype=torch.float64)
    analysis = analysis_dataset(Ensemble("enkf", members, time, CHANNELS, GRID))
    with pytest.raises(UserError, match=r"has 3 values along realization.*\.mean\('real"):
        read(analysis)
    found = read(analysis.isel(realization=1))
    np.testing.assert_array_equal(found.values, members[0, 1, 0].numpy())
    assert found.day == 11324.0
    mean = read(analysis.drop_dims("realization"))
    np.testing.assert_allclose(mean.values, members.mean(dim=1)[0, 0].numpy(), rtol=1e-6)


def test_gaps_stay_and_are_noted() -> None:
    dataset = state()
    dataset["2m_temperature"][0, :3] = np.nan
    found = read(dataset)
    assert int(np.isnan(found.values[2]).sum()) == 3
    assert "2m_temperature: 3 of 288 points missing" in found.notes


def celsius(dataset: xr.Dataset) -> xr.Dataset:
    attributes = {"units": "K"}
    return dataset.assign(temperature=(dataset["temperature"] - 273.15).assign_attrs(attributes))


def twice(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.rename({"2m_temperature": "t2m"}).assign(tas=dataset["2m_temperature"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: d.isel(latitude=slice(0, 6)),
            "latitude reaches from 82.5 to 7.5, expected a",
        ),
        (lambda d: d.isel(longitude=slice(0, 12)), "12 longitudes .* not equally spaced around"),
        (lambda d: d.isel(latitude=slice(0, 1)), "found 1 latitudes, expected a global grid"),
        (lambda d: d.isel(longitude=slice(0, 0)), "found no longitudes, expected a global grid"),
        (lambda d: d.isel(level=slice(0, 0)), "level 850, 500 hPa of temperature is missing"),
        (lambda d: d.assign_coords(level=["a", "b"]), "coordinate 'level' is not numbers"),
        (lambda d: d.assign_coords(latitude=list("abcdefghijkl")), "'latitude' is not numbers"),
        (lambda d: d.isel(latitude=0), "dimension 'latitude' is missing"),
        (celsius, r"temperature@850 has the value -?[\d.]+, expected 100 to 400 K.*such as degC"),
        (lambda d: d.isel(level=0, drop=True), "'temperature' .temperature. has no levels"),
        (
            lambda d: d.assign_coords(level=("level", [85000, 50000])),
            "found a level of 85000 hPa; set the attribute units of the coordinate level",
        ),
        (twice, "t2m and tas may both be 2m_temperature; leave out one of them"),
        (lambda d: xr.concat([d, d], "number"), "has 2 values along number, expected one state"),
        (
            lambda d: xr.concat(
                [d, d.assign_coords(time=np.datetime64("2001-01-05", "ns"))], "time"
            ),
            r"found 2 values of time, 2001-01-03T00:00, 2001-01-05T00:00; expected one .*isel",
        ),
    ],
)
def test_states_that_cannot_be(change, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        read(change(state()))
    text = str(refusal.value)
    assert text.startswith("background: ")
    assert "\n" not in text
    assert "source" not in text.replace("nature_run", "")


def test_several_lead_times_and_other_objects_are_refused() -> None:
    forecast = with_lead(state())
    longer = forecast.assign_coords(
        prediction_timedelta=forecast["prediction_timedelta"] + np.timedelta64(1, "D")
    )
    both = xr.concat([forecast, longer], "prediction_timedelta")
    with pytest.raises(UserError, match=r"found 2 values of prediction_timedelta.*select one"):
        read(both)
    with pytest.raises(UserError, match="found DataArray, expected an xarray Dataset"):
        read(state()["temperature"])


def test_a_lead_time_of_a_file_is_a_number_with_units() -> None:
    """Files are opened without decoding differences of time; a number alone has no meaning."""
    start = state().assign_coords(time=np.datetime64("2001-01-02", "ns"))
    for step, units in ((1, "days"), (24, "hours"), (1440.0, "minutes")):
        dataset = start.assign_coords(step=xr.Variable((), step, {"units": units}))
        assert read(dataset).day == float(days_since_epoch(np.datetime64(DATE)))
    for units in ({}, {"units": "1"}, {"units": "months"}):
        with pytest.raises(UserError, match="the lead time is 24 with the units"):
            read(start.assign_coords(step=xr.Variable((), 24, units)))


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("dated", [True, False])
def test_one_state_has_one_time(count: int, dated: bool) -> None:
    dataset = nature_run(days=3).isel(time=slice(0, count))
    dataset = dataset if dated else dataset.drop_vars("time")
    with pytest.raises(UserError, match=f"found {count} values of time.*expected one state"):
        read(dataset)


def test_a_channel_without_any_value_is_missing() -> None:
    dataset = state()
    dataset["temperature"] = dataset["temperature"].where(dataset["level"] < 800)
    with pytest.raises(UserError, match="temperature@850 has no value"):
        read(dataset)
    for absent in ("temperature@850", "temperature"):
        found = read(dataset, absent=(absent,))
        assert "missing: temperature@850" in found.notes
        assert np.isnan(found.values[0]).all()
    with pytest.raises(UserError, match="no value in any channel"):
        read(state() * np.nan, absent=tuple(NAMES))
