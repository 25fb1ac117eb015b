"""Any CF source: found by standard names, by a mapping in the recipe, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig, SourceDimensionsConfig, SourceVariableConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import fields

T850 = (FieldSpec.parse("temperature@850"),)
RAIN = (FieldSpec.parse("total_precipitation_24hr"),)
OLR = (FieldSpec.parse("outgoing_longwave_radiation"),)
PRESSURE = (FieldSpec.parse("surface_pressure"),)
LATITUDE, LONGITUDE = np.linspace(-75, 75, 6), 30.0 * np.arange(12)


def made(days: int = 4, step: int = 24, offset: float = 0.0) -> xr.Dataset:
    """Make a CMIP-like dataset: ta on plev, pr in kg m-2 s-1, rlut, under their own names."""
    hours = np.arange(0, 24 * days, step) + offset
    time = np.datetime64("2001-01-01", "ns") + (hours * 3600).astype(int) * np.timedelta64(1, "s")
    base = fields(hours, LATITUDE, LONGITUDE, 240, 1)
    dims = ("time", "lat", "lon")
    rain = np.maximum(base - 250, 0) / 86400
    dataset = xr.Dataset(
        {
            "ta": (
                ("time", "plev", "lat", "lon"),
                np.stack([base + 20, base], axis=1),
                {"units": "K", "standard_name": "air_temperature"},
            ),
            "pr": (
                dims,
                rain.astype("f4"),
                {"units": "kg m-2 s-1", "standard_name": "precipitation_flux"},
            ),
            "rlut": (
                dims,
                base,
                {"units": "W m-2", "standard_name": "toa_outgoing_longwave_flux"},
            ),
            "ps": (dims, base + 700, {"units": "hPa", "standard_name": "surface_air_pressure"}),
        },
        coords={
            "time": ("time", time, {"standard_name": "time", "axis": "T"}),
            "plev": ("plev", [100000.0, 85000.0], {"units": "Pa", "axis": "Z"}),
            "lat": ("lat", LATITUDE, {"standard_name": "latitude"}),
            "lon": ("lon", LONGITUDE, {"standard_name": "longitude"}),
        },
        attrs={"institution": "made up"},
    )
    return dataset


def opened(dataset: xr.Dataset, directory: Path, channels=T850, **keys: object) -> xr.Dataset:
    # An opened file stays open, so each has a different name.
    path = directory / f"made{len(list(directory.iterdir()))}.nc"
    dataset.to_netcdf(path)
    return open_source(SourceConfig(kind="cf", path=str(path), **keys), channels)


def test_a_grid_with_dimensions_of_other_names_is_read(tmp_path: Path) -> None:
    """`lat(y)`, `lon(x)`, also where a file does not call them coordinates."""
    named = made()
    plain = named.rename_dims(lat="y", lon="x")
    found = []
    for name, dataset in {"a": named, "b": plain, "c": plain.reset_coords()}.items():
        dataset.to_netcdf(tmp_path / f"{name}.nc")
        config = SourceConfig(kind="cf", path=str(tmp_path / f"{name}.nc"))
        found.append(open_source(config, OLR))
    for other in found[1:]:
        xr.testing.assert_equal(found[0].drop_attrs(), other.drop_attrs())
        assert "dimensions y named lat, x named lon" in other.attrs["repairs"]


def test_variables_are_found_by_standard_name(tmp_path):
    dataset = made()
    found = opened(dataset, tmp_path, (*T850, *RAIN, *OLR, *PRESSURE))
    for ours, theirs in (
        ("temperature", dataset["ta"][:, 1:]),
        ("total_precipitation_24hr", 86400 * dataset["pr"]),
        ("outgoing_longwave_radiation", dataset["rlut"]),
        ("surface_pressure", 100 * dataset["ps"]),
    ):
        expected = theirs.isel(lat=slice(None, None, -1)).values
        np.testing.assert_allclose(found[ours].values, expected, rtol=1e-6)
    assert found.attrs["institution"] == "made up"
    assert "pr: kg m-2 s-1 converted to mm day-1" in found.attrs["repairs"]


def test_mapping_of_the_recipe_comes_first(tmp_path):
    dataset = made().rename(lat="north", lon="east", plev="z", time="t")
    for name in dataset.variables:
        dataset[name].attrs.pop("standard_name", None)
        dataset[name].attrs.pop("axis", None)
    dataset["ta"].attrs["units"] = "degrees Kelvin, roughly"
    keys = {
        "dimensions": SourceDimensionsConfig("t", "z", "north", "east"),
        "variables": [SourceVariableConfig("temperature", "ta", units="K")],
    }
    found = opened(dataset, tmp_path, **keys)
    expected = dataset["ta"].values[:, 1:, ::-1]
    np.testing.assert_array_equal(found["temperature"].values, expected)
    assert any("replaced by K according to the recipe" in r for r in found.attrs["repairs"])
    with pytest.raises(UserError, match=r"data\.source\.dimensions\.level: 'height' is no"):
        opened(
            dataset,
            tmp_path,
            variables=keys["variables"],
            dimensions=SourceDimensionsConfig("t", "height", "north", "east"),
        )


def test_downward_flux_is_turned(tmp_path):
    dataset = made()
    dataset["rlut"] = -dataset["rlut"]
    dataset["rlut"].attrs = {"units": "W m-2", "standard_name": "toa_net_downward_longwave_flux"}
    named = opened(dataset, tmp_path, OLR)[OLR[0].variable].values
    asked = [SourceVariableConfig(OLR[0].variable, "rlut", factor=-1.0)]
    dataset["rlut"].attrs.pop("standard_name")
    mapped = opened(dataset, tmp_path, OLR, variables=asked)[OLR[0].variable].values
    np.testing.assert_array_equal(named, made()["rlut"].values[:, ::-1])
    np.testing.assert_array_equal(mapped, named)


def as_ttr(values: np.ndarray, standard_name: str, name: str = "ttr") -> xr.Dataset:
    """Make hourly net thermal radiation of ECMWF, J m-2, positive downwards."""
    dataset = made(step=1)[["rlut"]].rename(rlut=name)
    dataset[name] = (dataset[name].dims, values, {"units": "J m**-2"})
    if standard_name:
        dataset[name].attrs["standard_name"] = standard_name
    return dataset


@pytest.mark.parametrize(
    ("name", "standard_name", "more"),
    [
        ("ttr", "toa_outgoing_longwave_flux", {}),  # as the archive's conversion names it
        ("ttr", "unknown", {}),
        ("ttr", "", {}),
        ("top_net_thermal_radiation", "", {}),
        ("var179", "", {"GRIB_paramId": 179}),
        ("x", "toa_outgoing_longwave_flux", {"GRIB_shortName": "ttr"}),
    ],
)
def test_net_radiation_of_ecmwf_is_positive_downwards(tmp_path, name, standard_name, more):
    """About -8.5e5 J m-2 in an hour are 236 W m-2 outgoing, whatever the standard name says."""
    rlut = made(step=1)["rlut"].values
    dataset = as_ttr(-3600 * rlut, standard_name, name)
    dataset[name].attrs.update(more)
    asked = [SourceVariableConfig(OLR[0].variable, name, hours=1, stamp="start")]
    found = opened(dataset, tmp_path, OLR, variables=asked)[OLR[0].variable].values
    expected = rlut.reshape(4, 24, 6, 12)[:, :, ::-1].mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Who turns it by hand, as was necessary before, does not turn it twice.
    asked = [SourceVariableConfig(OLR[0].variable, name, factor=-1.0, hours=1, stamp="start")]
    again = opened(dataset, tmp_path, OLR, variables=asked)[OLR[0].variable].values
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("name", ["mtnlwrf", "avg_tnlwrf"])
def test_mean_rates_of_ecmwf_are_positive_downwards(tmp_path, name):
    dataset = made()[["rlut"]].rename(rlut=name)
    dataset[name] = -dataset[name]
    dataset[name].attrs = {"units": "W m**-2", "standard_name": "toa_outgoing_longwave_flux"}
    found = opened(dataset, tmp_path, OLR)[OLR[0].variable].values
    np.testing.assert_array_equal(found, made()["rlut"].values[:, ::-1])


@pytest.mark.parametrize("name", ["rlut", "olr", "ulwrf"])
def test_outgoing_radiation_of_other_archives_is_left(tmp_path, name):
    dataset = made()[["rlut"]].rename(rlut=name)
    found = opened(dataset, tmp_path, OLR)[OLR[0].variable].values
    np.testing.assert_array_equal(found, made()["rlut"].values[:, ::-1])


def test_a_swath_is_refused_in_one_sentence(tmp_path):
    """Pixels over (scan, pixel), as level-2 files of polar orbiters have them."""
    scans, pixels = 5, 7
    places = np.random.default_rng(2).uniform(-60, 60, (scans, pixels))
    for dims in (("scan", "pixel"), ("time", "pixel")):
        swath = xr.Dataset(
            {"olr": (dims, 240 + places, {"units": "W m-2"})},
            coords={
                "latitude": (dims, places, {"standard_name": "latitude"}),
                "longitude": (dims, 2 * places, {"standard_name": "longitude"}),
                "time": (dims[0], made(scans)["time"].values),
            },
        )
        for names in ({}, {"latitude": "LAT", "longitude": "LON"}):
            with pytest.raises(UserError, match=r"two dimensions, \(\w+, pixel\), as in a swath"):
                opened(swath.rename(names), tmp_path, OLR)


def with_bounds(dataset: xr.Dataset, before: float, after: float) -> xr.Dataset:
    time = dataset["time"].values
    hours = np.timedelta64(3600, "s")
    bounds = np.stack([time - before * hours, time + after * hours], axis=1)
    dataset["time"].attrs["bounds"] = "time_bnds"
    return dataset.assign(time_bnds=(("time", "bnds"), bounds))


@pytest.mark.parametrize(("before", "after", "offset"), [(0, 6, 0.0), (6, 0, 6.0), (3, 3, 3.0)])
def test_bounds_say_what_a_mean_covers(tmp_path, before, after, offset):
    """Stamps at the start, the end or the middle of six hours: the same days."""
    dataset = with_bounds(made(step=6), before, after)
    time = made(step=6)["time"].values + np.timedelta64(int(offset * 3600), "s")
    bounds = dataset["time_bnds"].values + np.timedelta64(int(offset * 3600), "s")
    dataset = dataset.assign_coords(time=("time", time, dataset["time"].attrs))
    dataset["time_bnds"] = (("time", "bnds"), bounds)
    found = opened(dataset, tmp_path, OLR)
    values = dataset["rlut"].values.reshape(4, 4, 6, 12)[:, :, ::-1]
    expected = values.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(found[OLR[0].variable].values, expected, rtol=1e-7)
    assert found["time"].values.tolist() == [11323.0 + d for d in range(4)]


def test_several_steps_a_day_of_unknown_meaning_are_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"every 6 h, but does not state whether its values are instants, means"
    ):
        opened(made(step=6), tmp_path, OLR)
    dataset = made(step=6)
    dataset["rlut"].attrs["cell_methods"] = "time: point"
    assert "instant at 00 UTC" in opened(dataset, tmp_path, OLR).attrs["time"]
    asked = [SourceVariableConfig(OLR[0].variable, "rlut", hours=0)]
    assert "instant at 00" in opened(made(step=6), tmp_path, OLR, variables=asked).attrs["time"]


def test_amounts_are_added_up_over_the_hours_stated(tmp_path):
    dataset = made(step=6)
    dataset["pr"].attrs = {"units": "mm", "standard_name": "precipitation_amount"}
    with pytest.raises(UserError, match="does not state"):
        opened(dataset, tmp_path, RAIN)
    asked = [SourceVariableConfig(RAIN[0].variable, hours=6, stamp="start")]
    found = opened(dataset, tmp_path, RAIN, variables=asked)
    values = dataset["pr"].values.reshape(4, 4, 6, 12)[:, :, ::-1]
    np.testing.assert_allclose(
        found[RAIN[0].variable].values, values.sum(axis=1, dtype=np.float64), rtol=1e-6
    )


def test_midday_stamps_of_daily_means_are_their_days(tmp_path):
    found = opened(with_bounds(made(offset=12.0), 12, 12), tmp_path, OLR)
    assert found["time"].values.tolist() == [11323.0 + d for d in range(4)]
    assert found.attrs["time"].endswith("mean of the UTC day")
    with pytest.raises(UserError, match=r"stamp 06 UTC at their end, which is not a UTC day"):
        opened(with_bounds(made(offset=6.0), 24, 0), tmp_path, OLR)


def in_calendar(dataset: xr.Dataset, calendar: str) -> xr.Dataset:
    days = np.arange(dataset.sizes["time"], dtype=np.float64)
    attrs = {"units": "days since 2000-02-27", "calendar": calendar, "standard_name": "time"}
    return dataset.assign_coords(time=("time", days, attrs))


def test_calendar_without_leap_days_is_taken_and_said(tmp_path):
    found = opened(in_calendar(made(), "noleap"), tmp_path)
    # 2000-02-27, 28, then 1 and 2 March of a leap year.
    assert found["time"].values.tolist() == [11014.0, 11015.0, 11017.0, 11018.0]
    assert "time: calendar noleap, there is no 29 February" in found.attrs["repairs"]


@pytest.mark.parametrize("calendar", ["360_day", "all_leap", "julian"])
def test_calendars_that_are_not_of_the_real_world_are_refused(tmp_path, calendar):
    with pytest.raises(UserError, match=rf"calendar '({calendar}|366_day)'"):
        opened(in_calendar(made(), calendar), tmp_path)


def test_faults_are_refused(tmp_path):
    def refused(match: str, dataset: xr.Dataset, channels=T850) -> None:
        with pytest.raises(UserError, match=match):
            opened(dataset, tmp_path, channels)

    twice = made().assign(tas=made()["ta"])
    refused("ta and tas both have the standard name of temperature", twice)
    refused("no variable is named temperature or has its standard name", made()[["pr"]])
    bare = made()
    bare["ta"].attrs.pop("units")
    refused("'ta' has units None", bare)
    refused(
        r"steps? every 31 days|step every",
        made().assign_coords(
            time=np.array(["2001-01-01", "2001-02-01", "2001-03-04", "2001-04-04"], dtype="M8[ns]")
        ),
    )
    refused("not equally spaced around the globe", made().isel(lon=slice(0, 8)))
    refused("dimension 'latitude' is missing", made().rename(lat="y").drop_vars("y"))
    refused("found no time", made().isel(time=0, drop=True))


def test_members_of_one_are_dropped_and_more_are_refused(tmp_path):
    one = made()
    one["ta"] = one["ta"].expand_dims(number=[0], axis=1)
    found = opened(one, tmp_path)
    assert any("dimensions of one element dropped: number" in r for r in found.attrs["repairs"])
    two = made()
    two["ta"] = two["ta"].expand_dims(number=[0, 1], axis=1)
    with pytest.raises(UserError, match="has dimensions"):
        opened(two, tmp_path)


def test_zarr_is_read_as_well(tmp_path):
    made().to_zarr(tmp_path / "made.zarr")
    config = SourceConfig(kind="cf", path=str(tmp_path / "made.zarr"))
    np.testing.assert_array_equal(
        open_source(config, T850)["temperature"].values, made()["ta"].values[:, 1:, ::-1]
    )


def test_real_state_of_era_interim(shared_data):
    """One date without a dimension, packed, 37 levels: the grid of the original SLAMS."""
    path = shared_data / "real" / "erai_t_20050123T00_37lev_121x240.nc"
    levels = (10, 50, 100, 200, 300, 500, 700, 850, 925, 1000)
    channels = tuple(FieldSpec.parse(f"temperature@{level}") for level in levels)
    found = open_source(SourceConfig(kind="cf", path=str(path)), channels)
    values = found["temperature"].values
    assert values.shape == (1, 10, 121, 240)
    assert found["time"].values.tolist() == [12806.0]  # 2005-01-23
    assert np.isfinite(values).all()
    assert 180 < values.min() < 210
    assert 300 < values[:, -1].max() < 325
    raw = xr.open_dataset(path)["t"].sel(level=500).values
    np.testing.assert_allclose(values[0, 5], raw, rtol=1e-6)


def test_real_climatologies_are_refused(shared_data):
    gpcp = shared_data / "real" / "gpcp_pr_annualcycle.nc"
    with pytest.raises(UserError, match=r"that of a climatology|could not be decoded"):
        open_source(SourceConfig(kind="cf", path=str(gpcp)), RAIN)
    june = shared_data / "real" / "ncep_june_climo_17lev_T42.nc"
    asked = [SourceVariableConfig("temperature", "T")]
    with pytest.raises(UserError, match="could not be decoded into dates"):
        open_source(SourceConfig(kind="cf", path=str(june), variables=asked), T850)


def test_winds_and_humidity_are_found_by_standard_name(tmp_path):
    dataset = made()
    for name, standard, units, factor in (
        ("ua", "eastward_wind", "m s-1", 0.1),
        ("va", "northward_wind", "knots", 0.2),
        ("hus", "specific_humidity", "1", 1e-5),
        ("uas", "eastward_wind", "m s-1", 0.3),
    ):
        attrs = {"units": units, "standard_name": standard}
        values = dataset["rlut"] if name == "uas" else dataset["ta"]
        dataset[name] = (values.dims, (factor * values).values.astype("f4"), attrs)
    names = ("u_component_of_wind@850", "v_component_of_wind@850", "specific_humidity@1000")
    found = opened(dataset, tmp_path, tuple(FieldSpec.parse(name) for name in names))
    for ours, theirs, level, factor in (
        ("u_component_of_wind", "ua", 1, 1.0),  # not `uas`, which has no levels
        ("v_component_of_wind", "va", 1, 1852 / 3600),
        ("specific_humidity", "hus", 0, 1.0),
    ):
        expected = factor * dataset[theirs][:, [level]].isel(lat=slice(None, None, -1)).values
        np.testing.assert_allclose(found[ours].values, expected, rtol=1e-6)
