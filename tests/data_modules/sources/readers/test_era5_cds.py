"""ERA5 of the Climate Data Store, in the layouts before and since 2024.

Names, dimensions and attributes as on ECMWF's pages "GRIB to netCDF conversion on new CDS and ADS
systems" and, for `expver` as a dimension, "ERA5 CDS requests which return a mixture of ERA5 and
ERA5T data" (forum of ECMWF). Not confirmed from a file at hand: the data type of `expver`, and
that `sp` has the standard name "surface_air_pressure".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

LATITUDE, LONGITUDE = np.linspace(90, -90, 5), 45.0 * np.arange(8)
START = np.datetime64("2024-03-01T00", "ns")
HOUR = np.timedelta64(1, "h")
STEPS = 49  # two days and the midnight that ends them
UNKNOWN = {"standard_name": "unknown", "long_name": "as the archive has it"}
RAIN, OLR = "total_precipitation_24hr", "outgoing_longwave_radiation"


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Hourly ERA5 as one dataset with every variable, 00 UTC of 1 March to 00 UTC of 3 March."""
    draw = np.random.default_rng(23)
    shape = (STEPS, len(LATITUDE), len(LONGITUDE))
    dims = ("valid_time", "latitude", "longitude")

    def made(low: float, high: float, units: str, kind: str, level: bool = False, **more: str):
        full = (shape[0], 3, *shape[1:]) if level else shape
        attrs = {"units": units, "GRIB_stepType": kind, **UNKNOWN, **more}
        names = (dims[0], "pressure_level", *dims[1:]) if level else dims
        return names, draw.uniform(low, high, full).astype("f4"), attrs

    return xr.Dataset(
        {
            "t": made(200, 300, "K", "instant", True, standard_name="air_temperature"),
            "q": made(0, 0.01, "kg kg**-1", "instant", True),
            "t2m": made(250, 300, "K", "instant"),
            "sp": made(9e4, 1.05e5, "Pa", "instant", standard_name="surface_air_pressure"),
            "tp": made(0, 0.001, "m", "accum"),
            "ttr": made(
                -9e5, -6e5, "J m**-2", "accum", standard_name="toa_outgoing_longwave_flux"
            ),
        },
        coords={
            "valid_time": ("valid_time", START + np.arange(STEPS) * HOUR),
            "pressure_level": ("pressure_level", [1000.0, 850.0, 500.0], {"units": "hPa"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
            "number": 0,
            "expver": ("valid_time", np.array(["0001"] * 30 + ["0005"] * 19)),
        },
    )


def write(dataset: xr.Dataset, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    encoding = {"valid_time": {"units": "seconds since 1970-01-01", "dtype": "i8"}}
    present = {name: one for name, one in encoding.items() if name in dataset.variables}
    dataset.to_netcdf(path, encoding=present)
    return str(path)


def opened(files: list[str], channels: list[str], **keys: object) -> xr.Dataset:
    config = SourceConfig(kind="era5_cds", files=files, **keys)
    return open_source(config, tuple(FieldSpec.parse(one) for one in channels))


def daily(truth: xr.Dataset, name: str, how: str) -> np.ndarray:
    """Return the two days of an hourly variable; an hour ends at its stamp."""
    hours = truth[name].values[1:].astype(np.float64).reshape(2, 24, 5, 8)
    return hours.sum(axis=1) if how == "sum" else hours.mean(axis=1)


def days_of(truth: xr.Dataset, directory: Path, names: list[str]) -> list[str]:
    """Write a file per day and step type, as the archive delivers them."""
    files = []
    for day in range(3):
        part = truth[names].isel(valid_time=slice(24 * day, 24 * day + 24))
        for kind in ("instant", "accum"):
            own = [n for n in names if part[n].attrs["GRIB_stepType"] == kind]
            levels = [n for n in own if "pressure_level" in part[n].dims]
            for label, chosen in (("pl", levels), ("sl", [n for n in own if n not in levels])):
                if chosen:
                    path = directory / f"era5_{label}_{kind}_{day}.nc"
                    drop = [] if label == "pl" else ["pressure_level"]
                    files.append(write(part[chosen].drop_vars(drop, errors="ignore"), path))
    return files


CHANNELS = ["temperature@500", "temperature@1000", "2m_temperature", RAIN, OLR]


def test_files_of_days_levels_and_step_types_are_one_source(truth, tmp_path):
    days_of(truth, tmp_path, ["t", "t2m", "tp", "ttr"])
    config = SourceConfig(kind="era5_cds", path=str(tmp_path / "*.nc"))
    found = open_source(config, tuple(FieldSpec.parse(one) for one in CHANNELS))
    assert found["time"].values.tolist() == [19783.0, 19784.0]  # 2024-03-01, 02
    midnights = truth.isel(valid_time=[0, 24])
    np.testing.assert_array_equal(found["temperature"].values, midnights["t"].values[:, [2, 0]])
    np.testing.assert_array_equal(found["2m_temperature"].values, midnights["t2m"].values)
    np.testing.assert_allclose(found[RAIN].values, 1000 * daily(truth, "tp", "sum"), rtol=1e-5)
    olr = -daily(truth, "ttr", "mean") / 3600  # J m-2 of an hour to W m-2
    assert olr.min() > 150
    np.testing.assert_allclose(found[OLR].values, olr, rtol=1e-5)
    assert any(
        "expver: preliminary data (ERA5T) on 2 days, 2024-03-02 to 2024-03-03" in one
        for one in found.attrs["repairs"]
    )
    assert "instant at 00 UTC" in found.attrs["time"]
    assert f"{RAIN}: total of the UTC day, sum of 24 values over 1 h" in found.attrs["time"]


def test_the_hour_that_ends_at_midnight_belongs_to_the_day_before(truth, tmp_path):
    wet = truth.copy(deep=True)
    wet["tp"].values[:] = 0
    wet["tp"].values[24] = 0.004
    found = opened([write(wet[["tp"]], tmp_path / "a.nc")], [RAIN])
    assert found[RAIN].values.max(axis=(1, 2)) == pytest.approx([4.0, 0.0])


def test_levels_in_files_of_their_own_are_joined(truth, tmp_path):
    files = []
    for number, level in enumerate((850.0, 1000.0, 500.0)):
        part = truth[["t"]].sel(pressure_level=level)  # a scalar coordinate
        if number == 1:  # float32, as other tools write it
            part = part.assign_coords(
                longitude=("longitude", (LONGITUDE + 1e-6).astype("f4"), {"units": "degrees_east"})
            )
        files.append(write(part, tmp_path / f"{number}.nc"))
    found = opened(files, ["temperature@1000", "temperature@850", "temperature@500"])
    expected = truth["t"].isel(valid_time=[0, 24, 48]).values
    np.testing.assert_array_equal(found["temperature"].values, expected)


def test_variables_on_other_levels_keep_their_own(truth, tmp_path):
    files = [
        write(truth[["t"]], tmp_path / "t.nc"),
        write(truth[["q"]].isel(pressure_level=[1]), tmp_path / "q.nc"),
    ]
    found = opened(files, ["temperature@500", "temperature@1000", "specific_humidity@850"])
    assert found["specific_humidity"].dims[1] == "level_of_specific_humidity"
    np.testing.assert_array_equal(
        found["specific_humidity"].values, truth["q"].values[[0, 24, 48], 1:2]
    )
    assert found["temperature"].shape[1] == 2


def test_layout_before_2024_has_both_versions_on_a_dimension(truth, tmp_path):
    """`expver(1, 5)`: preliminary from the 31st hour on, missing where the other has values."""
    old = truth[["tp", "t2m"]].drop_vars(["expver", "number"]).rename(valid_time="time")
    late = np.arange(STEPS) >= 30
    both = xr.concat(
        [old.where(xr.DataArray(~late, dims="time")), old.where(xr.DataArray(late, dims="time"))],
        dim=xr.Variable("expver", np.array([1, 5], "i4")),
    ).transpose("time", "expver", ...)
    for name in ("tp", "t2m"):
        both[name].attrs = {"units": truth[name].attrs["units"], "long_name": "as of old"}
    found = opened([write(both, tmp_path / "old.nc")], ["2m_temperature", RAIN])
    np.testing.assert_array_equal(found["2m_temperature"].values, truth["t2m"].values[[0, 24]])
    np.testing.assert_allclose(found[RAIN].values, 1000 * daily(truth, "tp", "sum"), rtol=1e-5)
    note = "expver: preliminary data (ERA5T) on 2 days, 2024-03-02 to 2024-03-03"
    assert note in found.attrs["repairs"]
    wrong = both.assign_coords(expver=[1, 7])
    with pytest.raises(UserError, match="dimension expver has the values 1, 7, expected 1"):
        opened([write(wrong, tmp_path / "wrong.nc")], [RAIN])


def test_final_data_win_where_both_versions_have_values(truth, tmp_path):
    old = truth[["t2m"]].drop_vars(["expver", "number"]).rename(valid_time="time")
    both = xr.concat([old, old + 5.0], dim=xr.Variable("expver", np.array([1, 5], "i4")))
    both["t2m"].attrs = {"units": "K"}
    found = opened([write(both, tmp_path / "old.nc")], ["2m_temperature"])
    np.testing.assert_array_equal(found["2m_temperature"].values, truth["t2m"].values[[0, 24, 48]])
    assert not any("preliminary" in one for one in found.attrs["repairs"])


def test_mean_rates_are_read_as_well(truth, tmp_path):
    rates = xr.Dataset(
        {"avg_tprate": truth["tp"] / 3.6, "avg_tnlwrf": truth["ttr"] / 3600}, coords=truth.coords
    )
    rates["avg_tprate"].attrs = {"units": "kg m**-2 s**-1", "GRIB_stepType": "avg", **UNKNOWN}
    rates["avg_tnlwrf"].attrs = {"units": "W m**-2", "GRIB_stepType": "avg", **UNKNOWN}
    found = opened([write(rates, tmp_path / "rates.nc")], [RAIN, OLR])
    np.testing.assert_allclose(found[RAIN].values, 1000 * daily(truth, "tp", "sum"), rtol=1e-5)
    np.testing.assert_allclose(found[OLR].values, -daily(truth, "ttr", "mean") / 3600, rtol=1e-5)


def test_a_step_in_two_files_is_taken_once_or_refused(truth, tmp_path):
    one = write(truth[["t2m"]].isel(valid_time=slice(0, 25)), tmp_path / "one.nc")
    two = write(truth[["t2m"]].isel(valid_time=slice(24, 49)), tmp_path / "two.nc")
    found = opened([one, two], ["2m_temperature"])
    np.testing.assert_array_equal(found["2m_temperature"].values, truth["t2m"].values[[0, 24, 48]])
    assert any("that two files have with the same values" in r for r in found.attrs["repairs"])
    other = write(truth[["t2m"]].isel(valid_time=slice(24, 49)) + 1, tmp_path / "other.nc")
    with pytest.raises(UserError, match=r"one\.nc and .*other\.nc both have 2024-03-02T00:00:00"):
        opened([one, other], ["2m_temperature"])


def test_faults_are_refused(truth, tmp_path):
    number = iter(range(100))

    def refused(match: str, dataset: xr.Dataset, channels: list[str]) -> None:
        with pytest.raises(UserError, match=match):
            opened([write(dataset, tmp_path / f"{next(number)}.nc")], channels)

    monthly = truth[["t2m"]].isel(valid_time=[0])
    monthly["t2m"].attrs["GRIB_stepType"] = "avgua"
    refused("t2m has the step type 'avgua', expected instant", monthly, ["2m_temperature"])
    refused(r"no file has tp or avg_tprate or mtpr", truth[["t2m"]], [RAIN])
    sixes = truth[["tp"]].isel(valid_time=slice(0, None, 6))
    refused("covers 1 h at steps of 6 h", sixes, [RAIN])
    refused("2024-03-02 has 22 of its 24", truth[["tp"]].drop_isel(valid_time=[26, 27]), [RAIN])
    members = truth[["t2m"]].drop_vars("number").expand_dims(number=[0, 1])
    refused(r"has dimensions", members, ["2m_temperature"])
    feet = truth[["t2m"]].copy()
    feet["t2m"].attrs["units"] = "K day-1"
    refused("has units 'K day-1', expected K", feet, ["2m_temperature"])
