"""GRIB through cfgrib: levels, surface fields and accumulations of one file, as MARS writes them.

Keys of the messages are those of ERA5 in the parameter database of ECMWF (t 130, 2t 167, tp 228,
ttr 179); accumulations are forecasts from 06 and 18 UTC with steps of 1 to 12 hours
(https://confluence.ecmwf.int/display/CKB/ERA5+data+documentation).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

ROWS, COLUMNS = 5, 8
RAIN, OLR = "total_precipitation_24hr", "outgoing_longwave_radiation"
T500 = "temperature@500"


def message(file, values: np.ndarray, date: int, hour: int, **keys: int | str) -> None:
    """Append one field (north to south, eastwards from 0) to a file."""
    import eccodes

    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
    grid = {
        "Ni": COLUMNS,
        "Nj": ROWS,
        "latitudeOfFirstGridPointInDegrees": 90.0,
        "latitudeOfLastGridPointInDegrees": -90.0,
        "longitudeOfFirstGridPointInDegrees": 0.0,
        "longitudeOfLastGridPointInDegrees": 315.0,
        "iDirectionIncrementInDegrees": 45.0,
        "jDirectionIncrementInDegrees": 45.0,
        "dataDate": date,
        "dataTime": 100 * hour,
        "bitsPerValue": 24,
    }
    for key, value in {**grid, **keys}.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set_values(handle, values.reshape(-1))
    eccodes.codes_write(handle, file)
    eccodes.codes_release(handle)


def forecast(valid: int) -> tuple[int, int, int]:
    """Return date, hour and step of the forecast whose last hour ends at an hour of 1 March."""
    start = 12 * ((valid - 7) // 12) + 6
    return 20240301 + start // 24 if start >= 0 else 20240229, start % 24, valid - start


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    pytest.importorskip("cfgrib", reason="reading GRIB needs the extra `grib`")
    pytest.importorskip("eccodes", reason="writing GRIB needs the extra `grib`")
    draw = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("grib") / "era5.grib"
    shape = (2, ROWS, COLUMNS)
    truth = {
        "t": draw.uniform(220, 280, (2, *shape)),
        "2t": draw.uniform(250, 300, shape),
        "tp": draw.uniform(0, 1e-3, (24, ROWS, COLUMNS)),
        "ttr": draw.uniform(-9e5, -6e5, (24, ROWS, COLUMNS)),
    }
    with path.open("wb") as file:
        for day in range(2):
            for number, level in enumerate((500, 1000)):
                keys = {"indicatorOfTypeOfLevel": 100, "level": level, "paramId": 130}
                message(file, truth["t"][day, number], 20240301 + day, 0, **keys)
            message(file, truth["2t"][day], 20240301 + day, 0, paramId=167)
        for hour in range(1, 25):
            date, base, step = forecast(hour)
            for name, number in (("tp", 228), ("ttr", 179)):
                keys = {"paramId": number, "stepType": "accum", "stepRange": f"{step - 1}-{step}"}
                message(file, truth[name][hour - 1], date, base, **keys)
    return path, truth


def opened(path: Path, kind: str, *channels: str):
    config = SourceConfig(kind=kind, path=str(path))
    return open_source(config, tuple(FieldSpec.parse(one) for one in channels))


def test_era5_in_grib_is_one_source(archive):
    path, truth = archive
    found = opened(path, "era5_cds", T500, "2m_temperature", RAIN, OLR)
    assert found["time"].values.tolist() == [19783.0]  # the day that has all its hours
    np.testing.assert_allclose(found["temperature"].values[0, 0], truth["t"][0, 0], rtol=1e-6)
    np.testing.assert_allclose(found["2m_temperature"].values[0], truth["2t"][0], rtol=1e-6)
    np.testing.assert_allclose(found[RAIN].values[0], 1000 * truth["tp"].sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[OLR].values[0], -truth["ttr"].mean(axis=0) / 3600, rtol=1e-5)
    assert [one.name for one in path.parent.iterdir()] == [path.name]  # no index beside it


def test_grib_of_levels_and_surface_through_cf(archive, tmp_path):
    """What fits into one dataset is read; what does not names the ways out."""
    path, truth = archive
    with pytest.raises(UserError, match=r"different levels or times.*kind era5_cds.*grib_copy"):
        opened(path, "cf", T500)
    own = tmp_path / "instants.grib"
    with own.open("wb") as file:
        for day in range(2):
            keys = {"indicatorOfTypeOfLevel": 100, "level": 500, "paramId": 130}
            message(file, truth["t"][day, 0], 20240301 + day, 0, **keys)
            message(file, truth["2t"][day], 20240301 + day, 0, paramId=167)
    found = opened(own, "cf", T500)
    np.testing.assert_allclose(found["temperature"].values[:, 0], truth["t"][:, 0], rtol=1e-6)


def test_without_the_extra_both_ways_are_named(tmp_path, monkeypatch):
    path = tmp_path / "named.nc"
    path.write_bytes(b"GRIB" + bytes(100))
    monkeypatch.setitem(sys.modules, "cfgrib", None)
    with pytest.raises(UserError, match=r"is GRIB and needs the extra `grib`.*grib_to_netcdf"):
        opened(path, "cf", T500)


def test_a_damaged_file_is_refused_in_one_sentence(tmp_path):
    pytest.importorskip("cfgrib", reason="reading GRIB needs the extra `grib`")
    path = tmp_path / "damaged.grib"
    path.write_bytes(b"GRIB" + bytes(100))
    with pytest.raises(UserError, match=r"cannot be read as GRIB|has no GRIB messages"):
        opened(path, "era5_cds", T500)
