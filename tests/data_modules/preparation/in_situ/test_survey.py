"""The dry run shows the reports of every archive: number, days, gaps, mean and range."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_modules.preparation.in_situ import survey
from data_modules.preparation.in_situ.survey import describe_stations
from slams.config.schema import StationsConfig, StationSourceConfig, StationVariableConfig
from tests.data_modules.sources.stations import archives
from tests.data_modules.sources.stations.readers import test_arm_column, test_ghcn_daily, test_isd
from tests.faults.station_headers import ARCHIVES

DAY = 18262  # 2020-01-01
# Archives of the fuzz that have no precipitation.
WITHOUT = {(kind, "total_precipitation_24hr") for kind in ("ghcnh", "reports")}
_NUMBER = r"-?[\d.]+(?:e[+-]?\d+)?"


def stations(kind: str, path: Path, channels: tuple[str, ...], **keys: str) -> StationsConfig:
    variables = [StationVariableConfig(channel=name, error=1.0) for name in channels]
    source = StationSourceConfig(kind, str(path), left_out=0.5, **keys)
    return StationsConfig(variables=variables, source=source)


def written(kind: str, folder: Path) -> dict[str, str]:
    """Write an archive; return the keys of its list of stations."""
    name, make, _ = ARCHIVES[kind]
    content = make()
    if kind == "arm_column":
        content.to_netcdf(folder / name)
    elif kind == "metar":
        content.to_parquet(folder / name, index=False)
    else:
        (folder / name).write_text(content)
    if kind == "ghcn_daily":
        archives.ghcn_stations(folder / "list.txt", test_ghcn_daily.STATIONS)
    elif kind == "isd_lite":
        archives.write_lines(folder / "list.txt", test_isd.HISTORY)
    return {"station_list": str(folder / "list.txt")} if (folder / "list.txt").exists() else {}


@pytest.mark.parametrize("kind", list(ARCHIVES))
def test_each_variable_of_each_archive_has_a_line(kind: str, tmp_path: Path) -> None:
    keys = written(kind, tmp_path)
    name, _, variables = ARCHIVES[kind]
    first = DAY
    if kind == "arm_column":
        first = int(test_arm_column.FIRST.astype("datetime64[D]").astype(int))
    channels = tuple(f"{one}@850" if one == "temperature" else one for one in variables)
    section = stations(kind, tmp_path / name, channels, **keys)
    head, *lines = describe_stations(section, first + np.arange(3.0)).split("\n")
    assert re.search(r": reports \d+, stations \d$", head), head
    for variable, line in zip(variables, lines, strict=False):
        if (kind, variable) in WITHOUT:
            assert line == f"  {variable}: no report on the days of the store"
            continue
        days = r"\d+ reports, \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, (no gaps|without .*)"
        values = rf"mean {_NUMBER}, {_NUMBER} to {_NUMBER} (K|mm|W m-2)(; \d+ rejected .*)?"
        assert re.fullmatch(rf"  {variable}: {days}; {values}", line), line


def table(days: list[int], values: list[float]) -> pd.DataFrame:
    time = np.datetime64("2020-01-01T12:00") + np.array(days) * np.timedelta64(1, "D")
    return pd.DataFrame(
        {
            "station": "a",
            "time": time,
            "latitude": 10.0,
            "longitude": 20.0,
            "variable": "2m_temperature",
            "value": values,
        }
    )


def test_numbers_and_gaps_are_those_of_the_reports(tmp_path: Path) -> None:
    table([0, 1, 3], [280.0, 290.0, 285.5]).to_csv(tmp_path / "r.csv", index=False)
    channels = ("2m_temperature", "total_precipitation_24hr")
    section = stations("reports", tmp_path / "r.csv", channels)
    text = describe_stations(section, DAY + np.arange(9.0)).split("\n")
    assert text[1] == (
        "  2m_temperature: 3 reports, 2020-01-01 to 2020-01-04, without 2020-01-03; "
        "mean 285.2, 280 to 290 K"
    )
    assert text[2] == "  total_precipitation_24hr: no report on the days of the store"


def test_reading_ends_when_enough_was_seen(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(survey, "_ENOUGH", 3)
    table([0, 1, 3], [280.0, 290.0, 285.5]).to_csv(tmp_path / "r.csv", index=False)
    section = stations("reports", tmp_path / "r.csv", ("2m_temperature",))
    head = describe_stations(section, DAY + np.arange(9.0)).split("\n")[0]
    assert head.endswith("reports 3, stations 1 in its first parts (1), where reading ended")
