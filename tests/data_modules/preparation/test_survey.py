"""Some days are read before anything is written: impossible and constant channels are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.preparation.gaps import describe_gaps, missing_days
from data_modules.preparation.plan import plan
from data_modules.preparation.survey import survey
from data_modules.store.periods import Period, window_cases
from data_modules.store.training_store import TrainingStore
from slams.config.schema import Config, SourceConfig, SourceVariableConfig, SplitsConfig
from slams.errors import UserError
from slams.stages.sources import prepare
from slams.variables import PLAUSIBLE_MEANS, UNITS
from tests.synthetic import nature_run, tiny_recipe

OLR = "outgoing_longwave_radiation"


def recipe_of(directory: Path, dataset: xr.Dataset, *variables: SourceVariableConfig) -> Config:
    dataset.to_netcdf(directory / "run.nc")
    recipe = tiny_recipe(directory, "x")
    recipe.data.source = SourceConfig(
        kind="cf", path=str(directory / "run.nc"), variables=list(variables)
    )
    return recipe


def test_every_variable_has_a_plausible_mean() -> None:
    assert PLAUSIBLE_MEANS.keys() == UNITS.keys()


def test_each_channel_has_a_line_of_units_conversion_mean_and_range(tmp_path) -> None:
    dataset = nature_run()
    dataset["temperature"] = dataset["temperature"] - 273.15
    dataset["temperature"].attrs["units"] = "degC"
    dataset[OLR] = -dataset[OLR]
    dataset[OLR].attrs.update(units="W m-2")
    recipe = recipe_of(tmp_path, dataset, SourceVariableConfig(OLR, factor=-1.0))
    head, *lines = survey(plan(recipe.data).parts)
    assert "110 days, 2001-01-01 to 2001-04-20, no gaps" in head
    assert head.endswith("read 2001-01-01, 2001-01-28, 2001-02-24, 2001-03-24, 2001-04-20:")
    assert len(lines) == 4
    days = [0, 27, 54, 82, 109]
    raw = dataset["temperature"].sel(level=850).values[days].astype(np.float64) + 273.15
    bounds = np.deg2rad(np.linspace(90, -90, 13))
    mean = np.average(raw.mean(axis=(0, 2)), weights=np.sin(bounds[:-1]) - np.sin(bounds[1:]))
    expected = f"mean {mean:.4g}, {raw.min():.4g} to {raw.max():.4g} K"
    assert "temperature@850: temperature in degC plus 273.15, " in lines[0]
    assert lines[0].endswith(expected)
    assert f"{OLR} in W m-2 times -1, " in lines[3]


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        (OLR, lambda v: -v, "mean of -23"),
        ("temperature", lambda v: v - 273.15, "mean of "),
        ("total_precipitation_24hr", lambda v: v / 1000, "mean of 0.00"),
    ],
    ids=["sign", "celsius", "metres"],
)
def test_a_mean_that_cannot_be_is_refused_in_both(tmp_path, name, change, found) -> None:
    """Signs and units that the file does not state, or states wrongly."""
    dataset = nature_run()
    attributes = dataset[name].attrs
    dataset[name] = change(dataset[name]).assign_attrs(attributes)
    recipe = recipe_of(tmp_path, dataset)
    for work in (lambda: survey(plan(recipe.data).parts), lambda: prepare(recipe)):
        with pytest.raises(UserError, match=f"{name}.*{found}.*which cannot be") as refused:
            work()
        assert "2001-01-01" in str(refused.value)
    assert not Path(recipe.data.store).exists()


def test_pressure_in_hpa_without_its_unit_is_refused(tmp_path) -> None:
    dataset = nature_run()
    dataset["surface_pressure"] = (dataset[OLR] + 700).assign_attrs(units="Pa")
    recipe = recipe_of(tmp_path, dataset)
    recipe.data.channels = [*recipe.data.channels, "surface_pressure"]
    with pytest.raises(UserError, match=r"surface_pressure, .* mean of 9.* Pa .* 50000 to"):
        survey(plan(recipe.data).parts)


@pytest.mark.parametrize("kind", ["constant", "frozen", "zero"])
def test_a_channel_that_does_not_vary_is_refused_by_name(tmp_path, kind) -> None:
    dataset = nature_run()
    field = dataset["temperature"]
    if kind == "constant":
        field[:, 0] = 280.0
    elif kind == "frozen":
        field[:, 0] = field[0, 0].values
    else:
        field[:, 0] = 0.0
    recipe = recipe_of(tmp_path, dataset)
    expected = "temperature@850, .*(does not vary|which cannot be)"
    with pytest.raises(UserError, match=expected):
        survey(plan(recipe.data).parts)
    with pytest.raises(UserError, match=expected):
        prepare(recipe)


@pytest.mark.parametrize(("name", "number"), [(OLR, 0.0), ("total_precipitation_24hr", 0.0)])
def test_a_day_of_one_number_among_others_is_refused(tmp_path, name, number) -> None:
    """Zeros of a day that was not written, between the days that the survey reads."""
    dataset = nature_run()
    dataset[name][15] = number
    recipe = recipe_of(tmp_path, dataset)
    assert survey(plan(recipe.data).parts)
    with pytest.raises(UserError, match=f"{name} of 2001-01-16 is 0 .* everywhere"):
        prepare(recipe)
    dataset[name][15, 0] = np.nan  # what is known of a day may be alike
    recipe = recipe_of(tmp_path, dataset)
    recipe.data.source.gaps = [name]
    prepare(recipe)


def test_missing_days_are_listed_recorded_and_crossed_by_no_window(tmp_path) -> None:
    """4 of 13 days are not in the file."""
    kept = [0, 1, 2, 5, 6, 7, 9, 10, 12]
    recipe = recipe_of(tmp_path, nature_run(days=13).isel(time=kept))
    recipe.data.splits = SplitsConfig(train=["2001-01-01", "2001-01-13"])
    recipe.data.lags = [1]
    work = plan(recipe.data)
    gaps = "without 2001-01-04 to 2001-01-05, 2001-01-09, 2001-01-12"
    assert f"9 steps from 2001-01-01 to 2001-01-13, {gaps}" in work.describe()
    assert gaps in survey(work.parts)[0]
    store = TrainingStore.open(prepare(recipe))
    assert store.attributes["missing_days"] == [
        ["2001-01-04", "2001-01-05"],
        ["2001-01-09", "2001-01-09"],
        ["2001-01-12", "2001-01-12"],
    ]
    period = Period.of("train", ["2001-01-01", "2001-01-13"])
    assert list(window_cases(store.time, period, 3)) == [0, 3]
    assert list(window_cases(store.time, period, 2)) == [0, 1, 3, 4, 6]


def test_days_of_missing_values_are_refused_by_name_and_date(tmp_path) -> None:
    dataset = nature_run(days=13)
    dataset[OLR][[3, 4, 8, 11]] = np.nan
    recipe = recipe_of(tmp_path, dataset)
    recipe.data.splits = SplitsConfig(train=["2001-01-01", "2001-01-13"])
    expected = f"{OLR} of 2001-01-04 has no value at all.*data.source.gaps"
    with pytest.raises(UserError, match=expected):
        survey(plan(recipe.data).parts)
    with pytest.raises(UserError, match=expected):
        prepare(recipe)


def test_gaps_of_an_axis() -> None:
    assert missing_days(np.array([3.0, 4.0, 5.0])) == []
    assert describe_gaps(np.array([0.0, 10, 20, 30, 40, 50])).endswith("and 2 more gaps")
