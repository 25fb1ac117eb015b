"""METAR in Parquet: units, letters, corrections, faults, and the real month."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data_modules.sources.stations.readers.metar import read_metar
from data_modules.sources.stations.reports.request import ReportRequest
from slams.config.schema import StationSourceConfig
from slams.errors import UserError
from tests.data_modules.sources.stations.archives import FIRST, KEY, LAST, metar_rows

BOTH = ("2m_temperature", "total_precipitation_24hr")


def read_file(path, variables=BOTH, first=FIRST, last=LAST, **options):
    config = StationSourceConfig(kind="metar", path=str(path), **options)
    return read_metar(ReportRequest(config, variables, first, last, KEY))


def read(tmp_path, rows, variables=BOTH, **options):
    path = tmp_path / "metar.parquet"
    rows.to_parquet(path, index=False)
    return read_file(path, variables, **options)


def test_reports_become_rows(tmp_path):
    reports = read(tmp_path, metar_rows())
    table = reports.table
    warm = table[table["variable"] == "2m_temperature"]
    assert warm["value"].tolist() == list(range(270, 278))
    assert warm["hours"].unique().tolist() == [0.0]
    assert warm["time"].iloc[0] == np.datetime64("2020-01-01T00:53")
    rain = table[table["variable"] == "total_precipitation_24hr"]
    np.testing.assert_allclose(rain["value"], 0.5)
    assert rain["hours"].unique().tolist() == [3.0]
    assert table[["latitude", "longitude", "elevation"]].drop_duplicates().values.tolist() == [
        [40.5, -80.25, 282.0]
    ]


def test_letters_reject_and_missing_values_are_counted(tmp_path):
    rows = metar_rows()
    rows.loc[1, "temperatureDD"] = "Q"
    rows.loc[2, "temperatureDD"] = "X"
    rows.loc[3, "temperatureDD"] = "Z"
    rows.loc[4, "temperature"] = np.nan
    reports = read(tmp_path, rows, ("2m_temperature",))
    assert reports.counts() == {"reports": 7, "flag: letter Q": 1, "flag: letter X": 1}
    assert reports.repairs == {"missing temperatures left out": 1}
    assert reports.table.loc[reports.table["accepted"], "value"].tolist() == [
        270,
        273,
        275,
        276,
        277,
    ]


def test_a_corrected_report_takes_the_place_of_the_first(tmp_path):
    rows = metar_rows()
    again = rows.iloc[[2]].assign(
        temperature=np.float32(280.0), timeReceived=rows["timeReceived"][2] + pd.Timedelta("1h")
    )
    reports = read(tmp_path, pd.concat([again, rows]), ("2m_temperature",))
    assert reports.table["value"].tolist() == [270, 271, 280, 273, 274, 275, 276, 277]
    assert reports.repairs == {"reports corrected by a later one": 1}


def test_elements_narrow_what_is_read(tmp_path):
    reports = read(tmp_path, metar_rows(), elements=["precip3Hour"])
    assert set(reports.table["variable"]) == {"total_precipitation_24hr"}
    with pytest.raises(UserError, match=r"elements: 'dewpoint'"):
        read(tmp_path, metar_rows(), elements=["dewpoint"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (metar_rows().drop(columns="timeObs"), r"column timeObs is missing"),
        (metar_rows().drop(columns="precip6Hour"), r"column precip6Hour is missing"),
        (metar_rows(latitude=np.float32(-99.0)), r"station KABC: latitude -99 is outside"),
        (metar_rows(longitude=np.float32(np.nan)), r"station KABC: longitude nan is outside"),
        (metar_rows(temperature=np.arange(8.0)), r"median of 2m_temperature is 3\.5 K"),
        (metar_rows(timeObs=pd.Timestamp("2031-01-01")), r"found no value"),
    ],
)
def test_faults_are_refused(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, rows)


def test_contradictory_rows_without_a_time_of_reception_are_refused(tmp_path):
    rows = metar_rows().drop(columns="timeReceived")
    again = rows.iloc[[2]].assign(temperature=np.float32(280.0))
    with pytest.raises(UserError, match=r"KABC at 2020-01-01T06:53 occurs more than once"):
        read(tmp_path, pd.concat([rows, again]))


ZONES = {
    "UTC": lambda time: time.dt.tz_localize("UTC"),
    "New York": lambda time: time.dt.tz_localize("UTC").dt.tz_convert("America/New_York"),
    "seconds": lambda time: time.astype("datetime64[s]").astype("int64"),
    "nanoseconds": lambda time: time.astype("datetime64[ns]").astype("int64"),
    "floats": lambda time: time.astype("datetime64[s]").astype("int64").astype("float64"),
    "text": lambda time: time.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
}


@pytest.mark.parametrize("kind", ZONES)
def test_times_of_every_type_are_the_same_times(tmp_path, kind):
    rows = metar_rows()
    plain = read(tmp_path, rows).table
    times = ["timeObs", "timeReceived"]
    changed = rows.assign(**{name: ZONES[kind](rows[name]) for name in times})
    pd.testing.assert_frame_equal(read(tmp_path, changed).table, plain)


def test_of_one_minute_twice_the_value_received_last_counts(tmp_path):
    rows = metar_rows()
    later = rows["timeReceived"][2] + pd.Timedelta("1h")
    again = rows.iloc[[2]].assign(
        timeObs=rows["timeObs"][2] + pd.Timedelta("20s"),
        temperature=np.float32(280.0),
        precip3Hour=np.float32(np.nan),
        timeReceived=later,
    )
    for both in (pd.concat([again, rows]), pd.concat([rows, again])):
        reports = read(tmp_path, both)
        found = reports.table[reports.table["variable"] == "2m_temperature"]
        assert found["value"].tolist() == [270, 271, 280, 273, 274, 275, 276, 277]
        # What the correction does not repeat stays.
        assert (reports.table["variable"] == "total_precipitation_24hr").sum() == 8
        assert reports.repairs["reports corrected by a later one"] == 1
        assert reports.left_out == ()
    unknown = again.assign(timeReceived=pd.NaT)
    reports = read(tmp_path, pd.concat([unknown, rows]), ("2m_temperature",))
    assert reports.table["value"].tolist() == list(range(270, 278))


def test_codes_of_missing_values_are_missing(tmp_path):
    rows = metar_rows(precip6Hour=np.float32(-9999.0), elevation=np.float32(-9999.0))
    rows.loc[[1, 4], "temperature"] = np.float32(-9999.0)
    reports = read(tmp_path, rows)
    warm = reports.table[reports.table["variable"] == "2m_temperature"]
    assert warm["value"].tolist() == [270, 272, 273, 275, 276, 277]
    assert reports.repairs == {"missing temperatures left out": 2}
    assert set(reports.table["hours"]) == {0.0, 3.0}
    assert reports.table["elevation"].isna().all()


def test_a_value_that_is_no_number_is_counted(tmp_path):
    rows = pd.concat([metar_rows(stationName=f"K{n:03d}") for n in range(5)], ignore_index=True)
    rows["temperature"] = rows["temperature"].astype(str)
    rows.loc[3, "temperature"], rows.loc[4, "temperature"] = "2,5", "nan"
    reports = read(tmp_path, rows, ("2m_temperature",))
    assert len(reports.table) == 38
    assert [(one.why, one.number) for one in reports.left_out] == [("value no number", 1)]
    assert "has temperature '2,5'" in reports.left_out[0].example


def test_a_report_without_a_time_is_left_out(tmp_path):
    rows = pd.concat([metar_rows(stationName=f"K{n:03d}") for n in range(5)], ignore_index=True)
    rows["timeObs"] = rows["timeObs"].where(rows.index != 3)
    reports = read(tmp_path, rows, ("2m_temperature",))
    assert len(reports.table) == 39
    assert [(one.why, one.number) for one in reports.left_out] == [("time unreadable", 1)]
    with pytest.raises(UserError, match=r"1 of 40 reports \(2\.5%\).*at most 2\.0%.*K000"):
        read(tmp_path, rows, ("2m_temperature",), left_out=0.02)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ({"latitude": 0.0, "longitude": 0.0}, "position 0, 0"),
        ({"latitude": np.nan}, "position missing or outside the globe"),
        ({"longitude": -9999.0}, "position missing or outside the globe"),
        ({"latitude": 140.5}, "position missing or outside the globe"),
    ],
)
def test_a_station_at_an_impossible_place_is_left_out(tmp_path, place, why):
    rows = [metar_rows(stationName=f"K{n:03d}") for n in range(30)]
    rows[7] = rows[7].assign(**{k: np.float32(v) for k, v in place.items()})
    reports = read(tmp_path, pd.concat(rows), ("2m_temperature",))
    assert reports.table["station_id"].nunique() == 29
    assert "K007" not in set(reports.table["station_id"])
    assert [(one.why, one.number) for one in reports.left_out] == [(why, 8)]
    assert "K007" in reports.left_out[0].example


def test_contradictions_without_a_time_of_reception_are_left_out(tmp_path):
    rows = pd.concat([metar_rows(stationName=f"K{n:03d}") for n in range(10)], ignore_index=True)
    rows = rows.drop(columns="timeReceived")
    again = rows.iloc[[2]].assign(temperature=np.float32(280.0))
    reports = read(tmp_path, pd.concat([rows, again]), ("2m_temperature",))
    # Nothing says which of the two is right.
    assert len(reports.table) == 79
    assert [(one.why, one.number) for one in reports.left_out] == [("several values at once", 2)]
    assert "K000 at 2020-01-01T06:53" in reports.left_out[0].example


def test_no_parquet_and_no_variable(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"cannot be read as Parquet"):
        read_file(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"METAR reports provide none of temperature"):
        read(tmp_path, metar_rows(), ("temperature",))


def test_the_real_month(shared_data):
    path = shared_data / "real" / "weatherbenchX_metar_2020-01.parquet"
    if not path.exists():
        pytest.skip("the real reports are not there")
    raw = pd.read_parquet(path)
    first, last = np.datetime64("2020-01-01"), np.datetime64("2020-01-31")
    reports = read_file(path, ("2m_temperature",), first, last)
    inside = raw[raw["timeObs"] >= "2020-01-01"]
    there = inside["temperature"].notna()
    assert reports.counts()["reports"] == int(there.sum()) == 12507
    questioned = inside["temperatureDD"].eq("Q") & there
    assert reports.counts()["flag: letter Q"] == int(questioned.sum()) == 19
    assert reports.table["station_id"].nunique() == 12
