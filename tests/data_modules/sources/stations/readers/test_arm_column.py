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
