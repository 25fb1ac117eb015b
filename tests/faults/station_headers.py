"""Random headers, types and cells of station archives, over every reader.

Each case changes how a small archive of a known layout is written: the order and the spelling of
its columns, their types, line ends, a cell that is no number. Reports that are read must be among
those of the unchanged archive, with the same values; where some are missing, the reader must say
so; otherwise the archive must be refused in one sentence.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.ranges import RANGES
from data_modules.sources.stations.reports.table import StationReports
from slams.config.schema import StationSourceConfig
from slams.plugins.station_sources import STATION_SOURCES
from tests.data_modules.sources.stations import archives
from tests.data_modules.sources.stations.readers import (
    test_arm_column,
    test_ghcn_daily,
    test_ghcnh,
    test_isd,
    test_reports,
)
from tests.faults.header_changes import CHANGES, Archive
from tests.faults.judging import Failure, judged

__all__ = ["ARCHIVES", "run_case"]

_BOTH = ("2m_temperature", "total_precipitation_24hr")
_FIRST, _LAST = archives.FIRST, archives.LAST
_GARBAGE = ("abc", "1e999", "", "NaN", "-9999", "??", "1,5", "12:00", "é", "-")
_KEY = ["station_id", "time", "variable", "level", "hours"]


def _isd() -> str:
    rows = [
        archives.isd_row(f"2020-01-01T{hour:02d}:00:00", f"+{100 + hour:04d},1", "06,0012,9,5")
        for hour in range(0, 24, 3)
    ]
    return "\n".join([archives.isd_header(), *rows]) + "\n"


def _igra() -> str:
    levels = [(99200, 38), (92500, 6), (85000, -15), (70000, -99)]
    days = ("2020 01 01 12", "2020 01 02 00", "2020 01 02 12")
    return "".join(f"{line}\n" for day in days for line in archives.igra2_sounding(day, levels))


def _csv(table: pd.DataFrame, separator: str = ",") -> str:
    return table.to_csv(index=False, sep=separator)


# Archives by reader: name of the file, its text or table, variables.
ARCHIVES = {
    "isd": ("11035099999.csv", _isd, _BOTH),
    "isd_lite": ("110350-99999-2020", lambda: "\n".join(test_isd.LITE) + "\n", _BOTH),
    "ghcn_daily": ("2020.csv", lambda: "\n".join(test_ghcn_daily.ROWS) + "\n", _BOTH),
    "igra2": ("AUM00011035-data.txt", _igra, ("temperature",)),
    "ghcnh": ("GHCNh_USW00094728_2020.psv", lambda: _csv(test_ghcnh.rows(), "|"), _BOTH),
    "reports": ("own.csv", lambda: _csv(test_reports.own()), _BOTH),
    "metar": ("metar.parquet", archives.metar_rows, _BOTH),
    "arm_column": ("column.cdf", test_arm_column.column, test_arm_column.ALL),
}


def run_case(draw: np.random.Generator, folder: Path) -> str:
    """Run one case in an empty folder; see `headers.run_case`."""
    kind = list(ARCHIVES)[int(draw.integers(len(ARCHIVES)))]
    name, make, variables = ARCHIVES[kind]
    content, said, must_refuse = make(), [], False
    if kind == "arm_column":
        archive = Archive({name: content})
        change = ("units", "wrong_units", "no_units", "types", "time_units", "odd_time", "order")
        chosen = str(draw.choice([*change, "attributes", "dates", "variable_name"]))
        CHANGES[chosen](archive, draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                archive.first.to_netcdf(folder / name, encoding=archive.encoding)
            except Exception as error:
                return f"{kind}: {chosen}: not written ({type(error).__name__}: {error})"
        said, must_refuse = [chosen], archive.must_refuse
    elif kind == "metar":
        content = _table_changes(content, draw, said)
        try:
            content.to_parquet(folder / name, index=False)
        except Exception as error:
            return f"{kind}: {', '.join(said)}: not written ({type(error).__name__}: {error})"
    else:
        data = _text_changes(content, kind, draw, said)
        (folder / name).write_bytes(data)
    label = f"{kind}: {', '.join(said)}"
    # A value that is missing is no report, and there is nothing to say of it.
    may_lose = any(one.startswith(("missing precip", "missing temperature")) for one in said)
    return judged(label, lambda: _compare(kind, folder / name, variables, may_lose), must_refuse)


def _text_changes(text: str, kind: str, draw: np.random.Generator, said: list[str]) -> bytes:
    """Change the text of an archive of columns, or of fixed width, 1 or 2 times."""
    separator = "|" if kind == "ghcnh" else ","
    columns = kind in ("isd", "ghcnh", "reports")
    for _ in range(int(draw.integers(1, 3))):
        choice = str(draw.choice(list(_TEXT) if columns else ["cell", "blank", "lines"]))
        said.append(choice)
        text = _TEXT[choice](text, separator, draw)
    end = str(draw.choice(["plain", "bom", "crlf", "latin"]))
    said.append(end)
    if end == "crlf":
        text = text.replace("\n", "\r\n")
    data = text.encode("latin-1" if end == "latin" else "utf-8")
    return b"\xef\xbb\xbf" + data if end == "bom" else data


def _read(text: str, separator: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)


def _unless_ragged(
    change: Callable[[str, str, np.random.Generator], str],
) -> Callable[[str, str, np.random.Generator], str]:
    def changed(text: str, separator: str, draw: np.random.Generator) -> str:
        try:
            return change(text, separator, draw)
        except pd.errors.ParserError:
            return text

    return changed


def _permuted(text: str, separator: str, draw: np.random.Generator) -> str:
    table = _read(text, separator)
    return _csv(table[draw.permutation(list(table))], separator)


def _spelled(text: str, separator: str, draw: np.random.Generator) -> str:
    head, _, rest = text.partition("\n")
    change = [str.upper, str.lower, lambda s: s.replace(separator, f" {separator} ")][
        draw.integers(3)
    ]
    return f"{change(head)}\n{rest}"


def _dropped(text: str, separator: str, draw: np.random.Generator) -> str:
    table = _read(text, separator)
    return _csv(table.drop(columns=str(draw.choice(list(table)))), separator)


def _added(text: str, separator: str, draw: np.random.Generator) -> str:
    table = _read(text, separator)
    name = str(draw.choice(["remark", "", "value", "Unnamed: 0", "température", table.columns[0]]))
    table.insert(int(draw.integers(len(table.columns))), name, "x", allow_duplicates=True)
    return _csv(table, separator)


def _cell(text: str, separator: str, draw: np.random.Generator) -> str:
    """Replace one field of one line by something that is no number."""
    lines = text.splitlines()
    number = int(draw.choice([n for n, line in enumerate(lines) if n and line]))
    garbage = str(draw.choice(_GARBAGE)).replace(separator, ".")
    fields = lines[number].split(separator)
    if len(fields) > 2:
        fields[int(draw.integers(len(fields)))] = garbage
        lines[number] = separator.join(fields)
    else:
        start = int(draw.integers(len(lines[number])))
        line = lines[number]
        lines[number] = (line[:start] + "?" * 3 + line[start + 3 :])[: len(line)]
    return "\n".join(lines) + "\n"


def _blank(text: str, separator: str, draw: np.random.Generator) -> str:
    lines = text.splitlines()
    lines.insert(int(draw.integers(1, len(lines) + 1)), "")
    return "\n".join(lines)


def _lines(text: str, separator: str, draw: np.random.Generator) -> str:
    """Cut a line short, or give it more than its fields."""
    lines = text.splitlines()
    number = int(draw.integers(1, len(lines)))
    line = lines[number]
    half = line[: len(line) // 2]
    # Values of GHCNh may be missing: nothing tells a row that was cut from one without a value.
    cut = draw.random() < 0.5 and separator != "|"
    lines[number] = half if cut else line + separator + "1" + separator + "2"
    return "\n".join(lines) + "\n"


_TEXT: dict[str, Callable[[str, str, np.random.Generator], str]] = {
    "permuted": _unless_ragged(_permuted),
    "spelled": _spelled,
    "dropped": _unless_ragged(_dropped),
    "added": _unless_ragged(_added),
    "cell": _cell,
    "blank": _blank,
    "lines": _lines,
}


def _table_changes(
    table: pd.DataFrame, draw: np.random.Generator, said: list[str]
) -> pd.DataFrame:
    for _ in range(int(draw.integers(1, 3))):
        name = str(draw.choice(list(table)))
        choice = str(draw.choice(["permuted", "spelled", "dropped", "type", "missing", "again"]))
        said.append(f"{choice} {name}")
        if choice == "permuted":
            table = table[draw.permutation(list(table))]
        elif choice == "spelled":
            table = table.rename(columns=str.upper if draw.random() < 0.5 else str.lower)
        elif choice == "dropped":
            table = table.drop(columns=name)
        elif choice == "missing":
            table = table.copy()
            table[name] = table[name].astype(object)
            table.loc[int(draw.integers(len(table))), name] = None
        elif choice == "again":
            table = pd.concat([table, table.iloc[[0]]], ignore_index=True)
        elif table[name].dtype.kind == "M":
            table = table.assign(**{name: table[name].dt.tz_localize("UTC")})
        else:
            numbers = pd.api.types.is_numeric_dtype(table[name])
            kind = str(draw.choice(["float64" if numbers else "object", "str", "category"]))
            table = table.assign(**{name: table[name].astype(kind)})
    return table


def _reports(kind: str, path: Path, variables: tuple[str, ...]) -> StationReports:
    first, last = _FIRST, _LAST
    if kind == "arm_column":
        first, last = test_arm_column.FIRST, test_arm_column.LAST
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        listed = file.name if kind in ("ghcn_daily", "isd_lite") else ""
        if kind == "ghcn_daily":
            archives.ghcn_stations(Path(listed), test_ghcn_daily.STATIONS)
        elif kind == "isd_lite":
            archives.write_lines(Path(listed), test_isd.HISTORY)
        config = StationSourceConfig(kind, str(path), listed, left_out=0.5)
        return STATION_SOURCES.get(kind, "").read(config, variables, first, last, "key")


@cache
def _clean(kind: str) -> dict[tuple[object, ...], float]:
    name, make, variables = ARCHIVES[kind]
    with tempfile.TemporaryDirectory() as folder:
        path, content = Path(folder) / name, make()
        if kind == "arm_column":
            content.to_netcdf(path)
        elif kind == "metar":
            content.to_parquet(path, index=False)
        else:
            path.write_text(content)
        return _accepted(_reports(kind, path, variables))


def _accepted(reports: StationReports) -> dict[tuple[object, ...], float]:
    table = reports.table[reports.table["accepted"]]
    table = table.assign(time=table["time"].dt.round("s"), level=table["level"].fillna(-1.0))
    keys = zip(*(table[name] for name in _KEY), strict=True)
    return dict(zip(keys, table["value"], strict=True))


def _compare(kind: str, path: Path, variables: tuple[str, ...], may_lose: bool) -> None:
    clean = _clean(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reports = _reports(kind, path, variables)
    found = _accepted(reports)
    for key, value in found.items():
        low, high = RANGES[str(key[2])]
        if not low <= value <= high:
            continue  # rejected by the checks of `prepare`
        if key[1:] in {one[1:] for one in clean} and key not in clean:
            continue  # a name of a station that was changed is another name
        if key not in clean:
            raise Failure(f"read a report that the archive does not have: {key}, {value:g}")
        if not np.isclose(value, clean[key], rtol=1e-3):
            raise Failure(f"read {value:g} for {key}, expected {clean[key]:g}")
    rejected = not reports.table["accepted"].all()
    if len(found) < len(clean) and not (
        may_lose or reports.repairs or reports.left_out or rejected
    ):
        raise Failure(f"lost {len(clean) - len(found)} of {len(clean)} reports without a word")
