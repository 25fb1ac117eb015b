"""IGRA 2: profiles, codes, positions, faults, and the real soundings of Vienna."""

from __future__ import annotations

import gzip
import zipfile

import numpy as np
import pytest

from data_modules.sources.stations.readers.igra2 import read_igra2
from data_modules.sources.stations.reports.request import ReportRequest
from data_modules.sources.stations.reports.station_list import read_station_list
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import (
    FIRST,
    KEY,
    LAST,
    igra2_sounding,
    write_lines,
)

LEVELS = [(99200, 38), (92500, 6), (85000, -15), (50000, -9999), (30000, -8888), (-9999, 12)]
LIST = [
    f"{'AUM00011035':<11} {48.2486:8.4f} {16.3564:9.4f} {200.0:6.1f}    WIEN/HOHE WARTE",
    f"{'ZZXUAICE030':<11} {-98.8888:8.4f} {-998.8888:9.4f} {-998.8:6.1f}    NP30",
]


def read(tmp_path, lines, listed=True, name="AUM00011035-data.txt"):
    stations = write_lines(tmp_path / "igra2-station-list.txt", LIST) if listed else ""
    path = write_lines(tmp_path / name, lines)
    config = StationSourceConfig(kind="igra2", path=str(path), station_list=str(stations))
    return read_igra2(ReportRequest(config, ("temperature",), FIRST, LAST, KEY))


def test_a_sounding_becomes_a_profile_in_kelvin(tmp_path):
    reports = read(tmp_path, igra2_sounding("2020 01 02 12", LEVELS))
    good = reports.table[reports.table["accepted"]]
    assert dict(zip(good["level"], good["value"].round(6), strict=True)) == {
        850.0: 271.65,
        925.0: 273.75,
        992.0: 276.95,
    }
    assert (good["time"] == np.datetime64("2020-01-02T12")).all()
    assert good["elevation"].unique().tolist() == [200.0]
    # The position of the sounding rather than that of the list.
    assert good[["latitude", "longitude"]].drop_duplicates().values.tolist() == [[48.2333, 16.35]]
    assert reports.counts() == {"reports": 4, "flag: removed by the archive (-8888)": 1}
    assert reports.repairs == {
        "missing temperatures (-9999) left out": 1,
        "levels without pressure left out": 1,
    }


def test_days_outside_are_skipped_and_packed_files_read(tmp_path):
    lines = [
        *igra2_sounding("2019 12 31 12", LEVELS),
        *igra2_sounding("2020 01 03 00", LEVELS),
        *igra2_sounding("2020 01 04 00", LEVELS),
    ]
    found = read(tmp_path, lines, listed=False, name="AUM00011035-data.txt.gz").table
    assert set(found["time"]) == {np.datetime64("2020-01-03")}
    assert np.isnan(found["elevation"]).all()


def test_the_release_time_stands_in_for_a_nominal_hour(tmp_path):
    lines = igra2_sounding("2020 01 02 99", LEVELS, release="1134")
    assert read(tmp_path, lines).table["time"].iloc[0] == np.datetime64("2020-01-02T11:34")


def test_repeated_levels_are_dropped_and_counted(tmp_path):
    reports = read(tmp_path, igra2_sounding("2020 01 02 12", [(85000, -15), (85000, -20)]))
    assert reports.table["value"].round(6).tolist() == [271.65]
    assert reports.repairs["repeated levels of a sounding dropped"] == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (igra2_sounding("2020 01 02 12", LEVELS)[1:], r"line 1 .*header of a sounding"),
        (igra2_sounding("2020 01 02 12", LEVELS, count=9), r"expected 9 levels.*truncated"),
        (
            igra2_sounding("2020 01 02 12", LEVELS, count=9)
            + igra2_sounding("2020 01 02 18", LEVELS),
            r"expected 9 levels",
        ),
        (igra2_sounding("2020 13 02 12", LEVELS), r"not the header"),
        (igra2_sounding("2020 01 02 99", LEVELS, release="9999"), r"not the header"),
        (igra2_sounding("2020 01 02 12", LEVELS, name="XXM00099999"), r"XXM00099999 is not in"),
        (igra2_sounding("2020 01 02 12", LEVELS, latitude=95.0), r"latitude 95 is outside"),
        (igra2_sounding("2020 01 02 12", LEVELS) * 2, None),
        (
            igra2_sounding("2020 01 02 12", [(85000, 10)])
            + igra2_sounding("2020 01 02 12", [(85000, 20)]),
            r"temperature at 850 hPa.*2020-01-02T12:00 occurs more than once",
        ),
        (["#AUM00011035,2020,01,02"], r"not the header"),
        (["#AUM"], r"not the header"),
    ],
)
def test_faults_are_refused_or_repaired(tmp_path, lines, message):
    if message is None:
        assert read(tmp_path, lines).repairs["repeated rows dropped"] == 4
        return
    with pytest.raises(UserError, match=message):
        read(tmp_path, lines)


def test_levels_of_another_width_are_refused(tmp_path):
    lines = igra2_sounding("2020 01 02 12", LEVELS)
    lines[1] = "10 -9999,99200,38"
    with pytest.raises(UserError, match=r"line 2 is not a level"):
        read(tmp_path, lines)


def year(hours=("00", "12")):
    """Return many soundings."""
    return [
        line
        for day in (1, 2, 3)
        for hour in hours
        for line in igra2_sounding(f"2020 01 0{day} {hour}", LEVELS)
    ]


@pytest.mark.parametrize(
    ("bad", "why", "number"),
    [
        (
            igra2_sounding("2020 01 02 99", [(85000, 10)], release="9999"),
            "sounding without an hour",
            1,
        ),
        (igra2_sounding("2020 01 02 18", [(85000, 10)], count=2), "sounding of another layout", 1),
        (igra2_sounding("2020 13 02 18", [(85000, 10)]), "sounding of another layout", 1),
        (
            igra2_sounding("2020 01 02 18", [(85000, 10)], name="XXM00099999"),
            "station not in the list",
            1,
        ),
        (igra2_sounding("2020 01 02 18", [(85000, 10)], latitude=0.0, longitude=0.0), "0, 0", 1),
        (
            [
                line.replace(" 482333 ", " " * 8)
                for line in igra2_sounding("2020 01 02 18", [(85000, 10)])
            ],
            "position missing",
            1,
        ),
    ],
)
def test_one_bad_sounding_is_left_out_and_counted(tmp_path, bad, why, number):
    lines = year()
    whole = read(tmp_path, lines).table
    for order in (lines[:7] + bad + lines[7:], bad + lines):
        reports = read(tmp_path, order)
        assert reports.table.equals(whole)
        (one,) = reports.left_out
        assert why in one.why
        assert one.number == number
    assert len(whole) == 24


def test_files_as_the_archive_publishes_them(tmp_path):
    """`ID-data.txt.zip` and `ID-data-begYYYY.txt.zip`, and the list in the same directory."""
    lines = year()
    plain = read(tmp_path, lines).table
    folder = tmp_path / "igra"
    folder.mkdir()
    for name, part in (("data", lines[:14]), ("data-beg2020", lines[14:])):
        with zipfile.ZipFile(folder / f"AUM00011035-{name}.txt.zip", "w") as archive:
            archive.writestr(f"AUM00011035-{name}.txt", "".join(line + "\n" for line in part))
    listed = write_lines(folder / "igra2-station-list.txt", LIST)
    config = StationSourceConfig(kind="igra2", path=str(folder), station_list=str(listed))
    request = ReportRequest(config, ("temperature",), FIRST, LAST, KEY)
    assert read_igra2(request).table.equals(plain)
    with zipfile.ZipFile(folder / "AUM00011036-data.txt.zip", "w") as archive:
        archive.writestr("a.txt", "")
        archive.writestr("b.txt", "")
    with pytest.raises(UserError, match=r"2 files \(a\.txt, b\.txt\), expected one"):
        read_igra2(request)
    (folder / "AUM00011036-data.txt.zip").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(UserError, match=r"AUM00011036-data\.txt\.zip cannot be read"):
        read_igra2(request)


def elevations(path):
    return read_station_list(str(path), KEY, "igra2-station-list.txt")["elevation"]


def test_the_station_list(tmp_path):
    found = elevations(write_lines(tmp_path / "list.txt", LIST))
    assert found["AUM00011035"] == 200.0
    assert np.isnan(found["ZZXUAICE030"])
    with pytest.raises(UserError, match=r"AUM00011035 is listed twice"):
        elevations(write_lines(tmp_path / "twice.txt", [LIST[0], LIST[0]]))
    with pytest.raises(UserError, match=r"line 1 .*fixed-width"):
        elevations(write_lines(tmp_path / "bad.txt", ["AUM00011035;48.2;16.3"]))


def test_real_soundings_of_vienna(shared_data):
    path = shared_data / "real" / "AUM00011035-data.txt.gz"
    listed = shared_data / "real" / "igra2-station-list.txt"
    if not path.exists():
        pytest.skip("the real soundings are not there")
    config = StationSourceConfig(kind="igra2", path=str(path), station_list=str(listed))
    first, last = np.datetime64("2015-01-01"), np.datetime64("2015-06-30")
    reports = read_igra2(ReportRequest(config, ("temperature",), first, last, KEY))
    # According to a count of the file's lines.
    with gzip.open(path, "rt") as file:
        lines = [line for line in file if line[0] != "#"]
    codes = [line[22:27] for line in lines]
    assert reports.counts()["reports"] == len(lines) - codes.count("-9999") == 14533
    assert reports.counts()["flag: removed by the archive (-8888)"] == codes.count("-8888") == 1
    assert reports.table["time"].nunique() == 321
    assert len(elevations(listed)) == 2761
    noon = reports.table[reports.table["time"] == np.datetime64("2015-01-23T12")]
    assert noon.set_index("level").loc[500.0, "value"] == pytest.approx(273.15 - 26.5)
