"""Data classes: names of channels, selection and moving of batches, ensembles as xarray."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from slams.fields import (
    Background,
    Batch,
    Ensemble,
    FieldSpec,
    Observations,
    Window,
    channel_index,
)
from slams.grid import LatLonGrid
from slams.observations.stations import StationOperator

NAMES = ("temperature@850", "2m_temperature", "temperature@500", "total_precipitation_24hr")
CHANNELS = tuple(FieldSpec.parse(n) for n in NAMES)
GRID = LatLonGrid(
    torch.linspace(67.5, -67.5, 4, dtype=torch.float64),
    torch.arange(8, dtype=torch.float64) * 45,
)


def batch(size: int = 3, days: int = 2) -> Batch:
    draw = torch.Generator().manual_seed(0)
    shape = (size, days, 4, 4, 8)
    station = StationOperator(
        GRID, CHANNELS, "2m_temperature", torch.tensor([10.0, -20.0]), torch.tensor([5.0, 200.0])
    )
    values = torch.randn(size, days, 2, generator=draw)
    return Batch(
        fields=torch.randn(shape, generator=draw),
        mask=torch.rand(shape, generator=draw) < 0.9,
        time=torch.arange(size * days, dtype=torch.float64).reshape(size, days),
        case=torch.arange(size),
        climatology=torch.randn(shape, generator=draw),
        background=Background(
            torch.randn(shape, generator=draw),
            torch.rand(shape, generator=draw),
            "file",
            torch.rand(shape, generator=draw) < 0.5,
        ),
        observations=(
            Observations("stations/2m_temperature", station, values, values > 0, values.square()),
        ),
    )


@pytest.mark.parametrize("name", NAMES)
def test_channels_have_names_units_and_transforms(name: str) -> None:
    spec = FieldSpec.parse(name)
    assert spec.name == name
    assert channel_index(CHANNELS, name) == NAMES.index(name)
    rain = name == "total_precipitation_24hr"
    assert spec.units == ("mm day-1" if rain else "K")
    assert spec.channel_units == ("log(1 + mm day-1)" if rain else "K")
    assert spec.transform == ("log1p" if rain else "identity")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("temprature@850", "'temprature' is unknown; did you mean 'temperature'"),
        ("temperature@8.5", "level '8.5' is not a whole number of hPa"),
        ("temperature@-1", "not a whole number"),
    ],
)
def test_channel_names_that_mean_nothing(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FieldSpec.parse(name)


def test_an_unknown_transform_and_a_channel_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="found 'sqrt', expected one of identity, log1p"):
        FieldSpec("temperature", 850, transform="sqrt")
    with pytest.raises(KeyError, match="'temperature@300' does not exist; found temperature@850"):
        channel_index(CHANNELS, "temperature@300")


def test_select_takes_cases_from_every_part() -> None:
    whole = batch()
    part = whole.select(slice(1, 3))
    assert len(part) == 2
    for name in ("fields", "mask", "time", "case", "climatology"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[1:3])
    for name in ("mean", "variance", "known"):
        assert torch.equal(getattr(part.background, name), getattr(whole.background, name)[1:3])
    assert part.background.kind == "file"
    (one,), (other,) = part.observations, whole.observations
    for name in ("values", "mask", "error_variance"):
        assert torch.equal(getattr(one, name), getattr(other, name)[1:3])
    assert (one.name, one.operator, one.modality) == (other.name, other.operator, "stations")

    bare = replace(whole, background=None, observations=()).select(slice(0, 1))
    assert bare.background is None
    assert bare.observations == ()


def test_moving_moves_every_tensor_and_nested_carrier() -> None:
    moved = batch().to("meta")
    found = [moved.fields, moved.mask, moved.time, moved.case, moved.climatology]
    found += [moved.background.mean, moved.background.variance, moved.background.known]
    (one,) = moved.observations
    found += [one.values, one.mask, one.error_variance]
    assert {str(x.device) for x in found} == {"meta"}
    assert one.name == "stations/2m_temperature"

    window = Window(torch.zeros(1, 1, 4, 4, 8), torch.zeros(1, 1), torch.zeros(1)).to("meta")
    assert window.fields.is_meta
    assert window.previous is None


def ensemble(members: int = 3) -> Ensemble:
    draw = torch.Generator().manual_seed(0)
    return Ensemble(
        method="made",
        members=torch.randn(2, members, 2, 4, 4, 8, generator=draw),
        time=torch.tensor([[0.0, 1.0], [10957.0, 10958.25]], dtype=torch.float64),
        channels=CHANNELS,
        grid=GRID,
    )


def test_mean_and_unbiased_spread() -> None:
    one = ensemble()
    values = one.members.numpy()
    np.testing.assert_allclose(one.mean.numpy(), values.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(one.spread.numpy(), values.std(axis=1, ddof=1), atol=1e-6)


def test_xarray_is_the_cf_dataset_of_the_ensemble() -> None:
    one = ensemble()
    dataset = one.to_xarray()
    assert dataset["temperature"].dims == (
        "time", "realization", "level", "latitude", "longitude",
    )  # fmt: skip
    assert dataset["t2m"].dims == ("time", "realization", "latitude", "longitude")
    values = one.members.numpy()
    last = dataset.sel(time="2000-01-02T06")
    np.testing.assert_array_equal(last["temperature"].sel(level=500), values[1, :, 1, 2])
    np.testing.assert_array_equal(last["t2m_mean"], one.mean[1, 1, 1])
    np.testing.assert_array_equal(dataset["latitude"], GRID.latitude)
    expected = ["1970-01-01", "1970-01-02", "2000-01-01", "2000-01-02T06"]
    np.testing.assert_array_equal(dataset["time"], np.array(expected, "datetime64[ns]"))
    assert dataset.attrs["method"] == "made"
    assert all("long_name" in dataset[v].attrs for v in dataset.data_vars)


def test_xarray_survives_a_file(tmp_path) -> None:
    """What a user writes without the functions of this package."""
    dataset = ensemble().to_xarray()
    dataset.to_zarr(tmp_path / "analysis.zarr", zarr_format=3, consolidated=False)
    again = xr.open_zarr(tmp_path / "analysis.zarr", consolidated=False, decode_coords="all")
    xr.testing.assert_identical(again.load(), dataset)
    dataset.to_netcdf(tmp_path / "analysis.nc")
    with xr.open_dataset(tmp_path / "analysis.nc", decode_coords="all") as again:
        xr.testing.assert_identical(again.load(), dataset)


def test_stamps_are_rounded_and_not_cut() -> None:
    """21 s is not a binary fraction of a day: truncation would lose one second."""
    seconds = torch.tensor([[0.0, 21.0], [3600.0, 86399.0]], dtype=torch.float64)
    stamps = replace(ensemble(), time=19000 + seconds / 86400).to_xarray()["time"].values
    assert np.datetime_as_string(stamps, "s").ravel().tolist() == [
        f"2022-01-08T{clock}" for clock in ("00:00:00", "00:00:21", "01:00:00", "23:59:59")
    ]


def test_variables_with_other_levels_share_one_axis_and_are_missing_where_they_have_none() -> None:
    names = (
        "temperature@850",
        "temperature@300",
        "specific_humidity@850",
        "specific_humidity@500",
    )
    channels = tuple(FieldSpec.parse(name) for name in names)
    members = torch.randn(2, 3, 1, 4, 4, 8, generator=torch.Generator().manual_seed(0))
    time = torch.arange(2, dtype=torch.float64)[:, None]
    found = Ensemble("one", members, time, channels, GRID).to_xarray()
    assert found["level"].values.tolist() == [850, 500, 300]
    humidity = found["specific_humidity"]
    assert humidity.attrs["units"] == "kg kg-1"
    assert humidity.attrs["standard_name"] == "specific_humidity"
    np.testing.assert_array_equal(humidity.sel(level=[850, 500]), members[:, :, 0, 2:].numpy())
    assert humidity.sel(level=300).isnull().all()
    np.testing.assert_array_equal(
        found["temperature"].sel(level=[850, 300]), members[:, :, 0, :2].numpy()
    )
    assert found["temperature"].dtype == np.float32
