"""ARM's column: all modalities at one location, faults, and the real summer."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from data_modules.sources.stations.readers.arm_column import read_arm_column
from data_modules.sources.stations.reports.request import ReportRequest
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import KEY

ALL = (
    "temperature",
    "2m_temperature",
    "total_precipitation_24hr",
    "outgoing_longwave_radiation",
)
FIRST, LAST = np.datetime64("1997-06-18"), np.datetime64("1997-07-18")


def column() -> xr.Dataset:
    dims = ("time", "y", "x")
    time = 10030.958333 + np.arange(4) / 8
    shape = (4, 1, 1)
    return xr.Dataset(
        {
            "Temp": (
                ("time", "lev", "y", "x"),
                np.full((4, 2, 1, 1), 260.0),
                {"units": "K"},
            ),
            "Ts_Air": (dims, np.full(shape, 20.0), {"units": "C"}),
            "Prec": (dims, np.full(shape, 0.5), {"units": "mm/hour"}),
            "TOA_LW_Up": (dims, np.full(shape, 240.0), {"units": "W/m2"}),
            "phis": (("y", "x"), np.full((1, 1), 3118.5)),
        },
        coords={
            "time": ("time", time, {"units": "days since 1970-1-1 0"}),
            "lev": [500.0, 850.0],
            "y": [36.61],
            "x": [-97.49],
        },
    )


def read_file(path, variables=ALL):
    config = StationSourceConfig(kind="arm_column", path=str(path))
    return read_arm_column(ReportRequest(config, variables, FIRST, LAST, KEY))


def read(tmp_path, dataset, variables=ALL):
    path = tmp_path / "column.cdf"
    dataset.to_netcdf(path)
    return read_file(path, variables)


def test_all_modalities_in_our_units(tmp_path):
    dataset = column()
    dataset["Ts_Air"][1] = np.nan
    reports = read(tmp_path, dataset)
    middle = reports.table.groupby(["variable", "level"], dropna=False)["value"]
    values = {k[0]: v for k, v in middle.mean().round(6).items()}
    assert values == {
        "2m_temperature": 293.15,
        "outgoing_longwave_radiation": 240.0,
        "temperature": 260.0,
        # 0.5 mm per hour for three hours.
        "total_precipitation_24hr": 1.5,
    }
    assert reports.repairs == {"missing values left out": 1}
    assert reports.table["elevation"].iloc[0] == pytest.approx(318.0, abs=0.1)
    assert reports.table["time"].iloc[0] == np.datetime64("1997-06-18T23:00")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("Prec"), r"'Prec' is missing"),
        (lambda d: d.assign(Ts_Air=d["Ts_Air"].assign_attrs(units="F")), r"units 'F', expected C"),
        (lambda d: xr.concat([d, d.assign_coords(x=[-96.0])], dim="x"), r"several columns"),
        (lambda d: d.assign_coords(y=[99.0]), r"latitude 99 is outside"),
    ],
)
def test_faults_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, change(column()))


def test_no_netcdf(tmp_path):
    (tmp_path / "x.cdf").write_bytes(b"CDF?")
    with pytest.raises(UserError, match=r"cannot be read as NetCDF"):
        read_file(tmp_path / "x.cdf")


def test_the_real_summer(shared_data):
    files = list((shared_data / "real").glob("sgp3h*.cdf"))
    if not files:
        pytest.skip("the real column is not there")
    reports = read_file(files[0])
    sizes = reports.table.groupby("variable").size().to_dict()
    assert sizes == {
        "2m_temperature": 233,
        "outgoing_longwave_radiation": 233,
        "temperature": 233 * 35,
        "total_precipitation_24hr": 233,
    }
    olr = reports.table[reports.table["variable"] == "outgoing_longwave_radiation"]["value"]
    assert olr.min() == pytest.approx(147.60, abs=0.01)
    assert olr.max() == pytest.approx(323.56, abs=0.01)


# Another campaign: other names, units, levels and steps.


def campaign() -> xr.Dataset:
    """Return a column with the names of later analyses (`varana`), hourly, levels in Pa."""
    base = np.datetime64("2006-01-18T03:00", "s").astype("int64")
    words = {
        "T": "Temperature",
        "T_srf": "2-m air temperature",
        "prec_srf": "Surface precipitation",
        "lw_net_toa": "TOA LW net",
    }
    values = {"T_srf": (302.0, "K"), "prec_srf": (48.0, "mm/day"), "lw_net_toa": (230.0, "W m-2")}
    variables = {
        name: ("time", np.full(6, value), {"units": units, "long_name": words[name]})
        for name, (value, units) in values.items()
    }
    profile = np.tile([300.0, 270.0, -9999.0], (6, 1))
    attributes = {"units": "K", "long_name": words["T"]}
    return xr.Dataset(
        {
            **variables,
            "T": (("time", "lev"), profile, attributes),
            "T_adv_h": (("time", "lev"), profile, {"units": "K/hour", "long_name": "Horizontal"}),
            "base_time": ((), base),
            "time_offset": ("time", 3600.0 * np.arange(6)),
            "lat": ((), -12.425, {"units": "degrees_north"}),
            "lon": ((), 130.891, {"units": "degrees_east"}),
            "alt": ((), 30.0, {"units": "m"}),
        },
        coords={"lev": ("lev", [100000.0, 50000.0, 10000.0], {"units": "Pa"})},
    )


def read_campaign(tmp_path, dataset, variables=ALL, name="twp180varanaecmwfC1.c1.20060118.nc"):
    dataset.to_netcdf(tmp_path / name)
    config = StationSourceConfig(kind="arm_column", path=str(tmp_path / name))
    first, last = np.datetime64("2006-01-18"), np.datetime64("2006-01-19")
    return read_arm_column(ReportRequest(config, variables, first, last, KEY))


def test_another_campaign_is_read_by_quantity_and_unit(tmp_path, capsys):
    reports = read_campaign(tmp_path, campaign())
    table = reports.table
    middle = table.groupby(["variable", "level"], dropna=False)["value"].mean().round(6)
    assert {key[0]: value for key, value in middle.items() if key[0] != "temperature"} == {
        "2m_temperature": 302.0,
        "outgoing_longwave_radiation": 230.0,
        # 48 mm per day for one hour.
        "total_precipitation_24hr": 2.0,
    }
    assert table.loc[table["level"] == 500.0, "value"].tolist() == [270.0] * 6
    assert sorted(table["level"].dropna().unique()) == [500.0, 1000.0]
    assert table["time"].min() == np.datetime64("2006-01-18T03:00")
    assert set(table["hours"]) == {0.0, 1.0}
    assert table[["latitude", "longitude", "elevation"]].iloc[0].tolist() == [
        -12.425,
        130.891,
        30.0,
    ]
    assert reports.repairs == {"missing values left out": 6}
    # What was taken is printed, and recorded.
    assert reports.conventions["2m_temperature from"] == "T_srf (K, 2-m air temperature)"
    printed = capsys.readouterr()
    assert "temperature from T (K, Temperature)" in printed.out + printed.err


def test_names_that_no_document_has_are_found_by_their_long_name(tmp_path):
    plain = read_campaign(tmp_path, campaign()).table
    names = {"T": "tair", "T_srf": "tas2", "prec_srf": "rain_rate", "lw_net_toa": "olr"}
    dataset = campaign().rename(names)
    dataset["olr"].attrs["long_name"] = "Outgoing longwave radiation at the top"
    dataset["olr"][:] *= -1.0
    reports = read_campaign(tmp_path, dataset, name="other.nc")
    assert reports.table.equals(plain)
    assert "with its sign changed" in reports.conventions["outgoing_longwave_radiation from"]
    dataset["tair2"] = dataset["tair"]
    with pytest.raises(UserError, match=r"temperature: 'Temp' is missing, and tair, tair2 all"):
        read_campaign(tmp_path, dataset, name="two.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("base_time"), r"'time' is missing or has no units"),
        (lambda d: d.drop_vars("lat"), r"the position is missing, expected y or lat"),
        (lambda d: d.isel(time=slice(0, 1)), r"found 1 step, expected at least two"),
        (lambda d: d.assign_coords(lev=d["lev"].assign_attrs(units="m")), r"expected pressures"),
    ],
)
def test_faults_of_another_campaign_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_campaign(tmp_path, change(campaign()))
