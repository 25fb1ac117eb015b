"""Layouts of the files of GHCN-Daily (NOAA NCEI), read as lines of the same eight columns.

By year or by station, comma-separated, with or without a header line::

    ID,DATE,ELEMENT,DATA_VALUE,M_FLAG,Q_FLAG,S_FLAG,OBS_TIME

By station as a table, one row per day (`access/ID.csv`)::

    STATION,DATE,LATITUDE,LONGITUDE,ELEVATION,NAME,PRCP,PRCP_ATTRIBUTES,TMAX,TMAX_ATTRIBUTES,...

where `_ATTRIBUTES` are "M_FLAG,Q_FLAG,S_FLAG[,OBS_TIME]", and by station with fixed width
(`ID.dly`), one line per month and element: ID 1-11, YEAR 12-15, MONTH 16-17, ELEMENT 18-21, then
for each day VALUE (5 characters), MFLAG, QFLAG, SFLAG (1 each).

Source: https://www.ncei.noaa.gov/pub/data/ghcn/daily/readme.txt and readme-by_station.txt; the
header line is that of the copy in the bucket `noaa-ghcn-pds`. The table of `access/` is written
from memory of its documentation and could not be confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pandas as pd

from data_modules.sources.stations.reports.request import open_text
from slams.errors import UserError, first_line

__all__ = ["FIELDS", "LINE", "SUFFIXES", "read_ghcn_lines"]

FIELDS = ("id", "date", "element", "value", "mflag", "qflag", "sflag", "obstime")
LINE = "ID,YYYYMMDD,ELEMENT,VALUE,MFLAG,QFLAG,SFLAG,OBSTIME with or without a header line"
SUFFIXES = (".csv", ".csv.gz", ".dly", ".dly.gz")
# Names of the columns in header lines, without underscores.
_NAMES = {
    "ID": "id",
    "STATION": "id",
    "DATE": "date",
    "YYYYMMDD": "date",
    "YEAR/MONTH/DAY": "date",
    "ELEMENT": "element",
    "DATAVALUE": "value",
    "VALUE": "value",
    "MFLAG": "mflag",
    "QFLAG": "qflag",
    "SFLAG": "sflag",
    "OBSTIME": "obstime",
}
_NEEDED = ("id", "date", "element", "value", "qflag")
_DAYS = range(31)


def read_ghcn_lines(
    file: Path, elements: Sequence[str], rows: int, key: str
) -> Iterator[pd.DataFrame]:
    """Read a file as lines.

    Args:
        file: The file.
        elements: Elements to read, where a layout has a column for each.
        rows: Rows of the file to read at a time.
        key: Dotted key of the recipe that names it, for messages.

    Yields:
        Tables with the columns `FIELDS` as text.

    Raises:
        UserError: The file is missing, truncated, or has none of these layouts.
    """
    with open_text(file, key) as text:
        try:
            if file.name.removesuffix(".gz").endswith(".dly"):
                yield from _monthly(text, elements, rows)
                return
            header = [name.strip('"\ufffd\r\n ').upper() for name in text.readline().split(",")]
            text.seek(0)
            if "ELEMENT" in header:
                yield from _with_header(text, header, rows, file)
            elif {"STATION", "DATE"} <= {*header}:
                yield from _daily(text, header, elements, rows)
            else:
                yield from _chunks(text, rows, header=None, names=list(FIELDS))
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise UserError(
                f"station archive {file}: expected lines {LINE} ({first_line(error)})"
            ) from None


def _chunks(text: TextIO, rows: int, **options: object) -> Iterator[pd.DataFrame]:
    for chunk in pd.read_csv(text, dtype=str, keep_default_na=False, chunksize=rows, **options):
        yield chunk.fillna("")  # fields that a line ends without


def _with_header(text: TextIO, header: list[str], rows: int, file: Path) -> Iterator[pd.DataFrame]:
    names = [_NAMES.get(name.replace("_", ""), name) for name in header]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise UserError(
            f"station archive {file}: the header lacks {', '.join(missing)}, expected lines {LINE}"
        )
    for chunk in _chunks(text, rows, header=0, names=names):
        yield chunk.reindex(columns=list(FIELDS), fill_value="").assign(
            date=chunk["date"].str.replace("-", "")
        )


def _daily(
    text: TextIO, header: list[str], elements: Sequence[str], rows: int
) -> Iterator[pd.DataFrame]:
    """Read the table of one station: a column per element, and one of its attributes."""
    for chunk in _chunks(text, rows, header=0, names=header):
        date = chunk["DATE"].str.replace("-", "")
        for element in elements:
            if element not in chunk:
                continue
            there = chunk[element].str.strip().ne("")
            flags = chunk.get(f"{element}_ATTRIBUTES", pd.Series("", index=chunk.index))
            parts = flags[there].str.split(",", expand=True)
            parts = parts.reindex(columns=range(4), fill_value="").fillna("")
            table = {
                "id": chunk["STATION"][there].str.strip(),
                "date": date[there],
                "element": element,
                "value": chunk[element][there],
                **dict(zip(FIELDS[4:], (parts[number] for number in range(4)), strict=True)),
            }
            yield pd.DataFrame(table, columns=list(FIELDS))


def _monthly(text: TextIO, elements: Sequence[str], rows: int) -> Iterator[pd.DataFrame]:
    """Read lines of one month and element."""
    found: list[tuple[str, ...]] = []
    for line in text:
        if not line.strip():
            continue
        line, element = line.rstrip("\r\n"), line[17:21]
        if len(line) < 26:  # not even one value: reported as a line of another layout
            found.append((line, "", element, "", "", "", "", ""))
        for day in _DAYS if element in elements else ():
            start = 21 + 8 * day
            value = line[start : start + 5].strip()
            flags = line[start + 5 : start + 8].ljust(3)
            if value and value != "-9999":  # also the days that a month does not have
                date = f"{line[11:17]}{day + 1:02d}"
                found.append((line[:11], date, element, value, *flags, ""))
        if len(found) >= rows:
            yield pd.DataFrame(found, columns=list(FIELDS))
            found = []
    yield pd.DataFrame(found, columns=list(FIELDS), dtype=str)
