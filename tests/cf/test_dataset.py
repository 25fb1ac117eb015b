"""Datasets have the values, dimensions, names and attributes that CF-1.11 and users expect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from slams.cf import analysis_dataset, day_methods, state_dataset
from slams.errors import UserError
from slams.variables import SHORT_NAMES, UNITS
from tests.cf.examples import CHANNELS, GRID, TIME, counts, ensemble, state

LEVELS = ("time", "realization", "level", "latitude", "longitude")
SURFACE = tuple(name for name in LEVELS if name != "level")


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    one = ensemble()
    return analysis_dataset(
        one,
        counts=counts(one),
        history="made for a test",
        attributes={"comment": "nothing is real"},
        day_methods={"temperature": "point", "2m_temperature": "mean"},
    )


def test_members_have_the_order_of_dimensions_that_is_promised(dataset: xr.Dataset) -> None:
    assert dataset["temperature"].dims == LEVELS
    assert dataset["t2m"].dims == SURFACE
    for name in ("temperature_mean", "temperature_spread", "temperature_observation_count"):
        assert dataset[name].dims == ("time", "level", "latitude", "longitude")
    assert dataset["tp_mean"].dims == ("time", "latitude", "longitude")
    assert dataset["realization"].values.tolist() == [1, 2, 3]
    assert int(dataset["realization_count"]) == 3


def test_values_are_found_by_date_member_and_level(dataset: xr.Dataset) -> None:
    one = ensemble()
    values = one.members.numpy()
    later = dataset.sel(time="2022-01-07")
    np.testing.assert_array_equal(
        later["temperature"].sel(realization=2, level=850), values[0, 1, 0, 1]
    )
    np.testing.assert_array_equal(dataset["olr"].isel(time=0), values[1, :, 0, 5])
    np.testing.assert_array_equal(later["t2m_mean"], one.mean[0, 0, 3])
    np.testing.assert_array_equal(later["temperature_spread"].sel(level=500), one.spread[0, 0, 0])
    np.testing.assert_array_equal(
        later["specific_humidity_observation_count"].sel(level=850), counts(one)[0, 0, 2]
    )
    assert dataset["time"].to_index().is_monotonic_increasing


def test_all_variables_share_an_axis_of_levels_from_the_ground_up(dataset: xr.Dataset) -> None:
    assert dataset["level"].values.tolist() == [850, 500]
    humidity = dataset.sel(level=500)
    assert humidity["specific_humidity"].isnull().all()
    assert humidity["specific_humidity_mean"].isnull().all()
    assert (humidity["specific_humidity_observation_count"] == 0).all()
    assert dataset["specific_humidity"].dtype == np.float32
    assert dataset["temperature"].notnull().all()


def test_several_days_of_several_cases_become_one_axis_of_time() -> None:
    time = torch.tensor([[10.0, 11.0], [2.0, 3.0]], dtype=torch.float64)
    one = ensemble(time=time)
    found = analysis_dataset(one)
    dates = ["1970-01-03", "1970-01-04", "1970-01-11", "1970-01-12"]
    assert found["time"].dt.strftime("%Y-%m-%d").values.tolist() == dates
    np.testing.assert_array_equal(
        found["t2m"].sel(time="1970-01-12"), one.members[0, :, 1, 3].numpy()
    )


def test_windows_that_overlap_are_refused() -> None:
    time = torch.tensor([[10.0, 11.0], [11.0, 12.0]], dtype=torch.float64)
    with pytest.raises(
        UserError, match=r"letkf, 2 cases of 2 days, have 1970-01-12T00:00:00 more"
    ):
        analysis_dataset(ensemble(time=time))


def test_a_day_is_a_mean_an_instant_or_not_said(dataset: xr.Dataset) -> None:
    def said(name: str) -> str:
        return dataset[name].attrs.get("cell_methods", "")

    assert said("temperature") == "time: point"
    assert said("temperature_mean") == "time: point realization: mean"
    assert said("t2m_spread") == "time: mean realization: standard_deviation"
    assert said("tp") == "time: mean"  # a total in mm day-1 is a mean rate
    assert said("specific_humidity") == ""
    assert said("specific_humidity_mean") == "realization: mean"
    days = dataset["time_bnds"].values
    np.testing.assert_array_equal(days[:, 0], dataset["time"].values)
    assert (days[:, 1] - days[:, 0] == np.timedelta64(1, "D")).all()


def test_a_mean_of_a_step_covers_the_step_that_begins() -> None:
    one = ensemble()
    steps = replace(one, time=one.time.floor() / 4 + 0.25)
    found = analysis_dataset(steps, step=0.25)
    bounds = found["time_bnds"].values
    np.testing.assert_array_equal(bounds[:, 0], found["time"].values)
    assert (bounds[:, 1] - bounds[:, 0] == np.timedelta64(6, "h")).all()


def test_instants_have_no_bounds_of_time() -> None:
    one = replace(ensemble(), members=ensemble().members[:, :, :, :4], channels=CHANNELS[:4])
    found = analysis_dataset(one, day_methods={"temperature": "point"})
    assert "time_bnds" not in found
    assert "bounds" not in found["time"].encoding


def test_cells_are_those_of_the_grid(dataset: xr.Dataset) -> None:
    rows, columns = dataset["lat_bnds"].values, dataset["lon_bnds"].values
    np.testing.assert_array_equal(rows[:, 0], GRID.latitude_bounds[:-1])
    np.testing.assert_array_equal(rows[:, 1], GRID.latitude_bounds[1:])
    np.testing.assert_array_equal(columns[:, 0], GRID.longitude - 11.25)
    np.testing.assert_array_equal(columns[1:, 0], columns[:-1, 1])
    assert columns[-1, 1] - columns[0, 0] == 360


def test_coordinates_say_what_they_are(dataset: xr.Dataset) -> None:
    expected = {
        "time": ("time", "T", None),
        "level": ("air_pressure", "Z", "hPa"),
        "latitude": ("latitude", "Y", "degrees_north"),
        "longitude": ("longitude", "X", "degrees_east"),
        "realization": ("realization", None, "1"),
    }
    for name, (standard_name, axis, units) in expected.items():
        attributes = dataset[name].attrs
        assert attributes["standard_name"] == standard_name
        assert attributes.get("axis") == axis
        assert attributes.get("units") == units
    assert dataset["level"].attrs["positive"] == "down"


def test_variables_say_what_they_are(dataset: xr.Dataset) -> None:
    spread = dataset["temperature_spread"].attrs
    assert spread["standard_name"] == "air_temperature"
    assert spread["units"] == "K"
    # 2 K of spread are not -271.15 degrees Celsius.
    assert spread["units_metadata"] == "temperature: difference"
    assert dataset["t2m"].attrs["units_metadata"] == "temperature: on_scale"
    assert dataset["t2m"].attrs["weatherbench2_name"] == "2m_temperature"
    assert dataset["tp"].attrs["units"] == "mm day-1"
    number = dataset["tp_observation_count"]
    assert (number.attrs["standard_name"], number.dtype) == ("number_of_observations", np.int32)
    related = dataset["tp_mean"].attrs["ancillary_variables"]
    assert related == "tp_spread tp_observation_count"
    assert dataset["tp"].attrs["ancillary_variables"] == "tp_observation_count"
    assert dataset.attrs["Conventions"] == "CF-1.11"
    assert dataset.attrs["history"] == "made for a test"
    assert dataset.attrs["comment"] == "nothing is real"
    assert (dataset.attrs["method"], dataset.attrs["ensemble"]) == ("letkf", "free")


def test_every_variable_has_a_name_that_cf_allows() -> None:
    assert set(SHORT_NAMES) == set(UNITS)
    assert len(set(SHORT_NAMES.values())) == len(UNITS)
    assert all(name.isidentifier() for name in SHORT_NAMES.values())


def test_one_member_has_no_spread_and_is_related_to_none() -> None:
    found = analysis_dataset(ensemble(members=1))
    assert "t2m_mean" in found
    assert not [name for name in found.variables if "spread" in str(name)]
    assert "ancillary_variables" not in found["t2m_mean"].attrs


def test_a_state_has_no_members() -> None:
    one = state(ensemble())
    found = state_dataset(one, day_methods={"temperature": "mean"})
    assert found["temperature"].dims == ("time", "level", "latitude", "longitude")
    assert found["temperature"].attrs["cell_methods"] == "time: mean"
    assert "realization" not in found.variables
    assert "realization_count" not in found.variables
    assert set(found.data_vars) == {"temperature", "specific_humidity", "t2m", "tp", "olr"}
    np.testing.assert_array_equal(
        found["olr"].sel(time="2021-12-30"), one.members[TIME[:, 0].argmin(), 0, 0, 5].numpy()
    )
    assert found.attrs["title"] == "truth"


def test_a_store_says_how_a_day_was_made() -> None:
    notes = [
        "temperature: instant at 00 UTC; 2m_temperature: mean of 4 instants per day",
        "total_precipitation_24hr: total of the UTC day, sum of 4 values over 6 h",
        "specific_humidity: one value per day, stamped at 12 UTC",
    ]
    attributes = {"sources": [*({"time": note} for note in notes), {"kind": "old"}]}
    assert day_methods(attributes) == {
        "temperature": "point",
        "2m_temperature": "mean",
        "total_precipitation_24hr": "mean",
    }
    assert day_methods({}) == {}
