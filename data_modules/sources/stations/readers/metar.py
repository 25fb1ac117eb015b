"""Reader of METAR reports in Parquet, in MADIS's variables (like WeatherBench-X's test data).

One row per report: `stationName`, `latitude`, `longitude`, `elevation` (m), `timeObs` (UTC),
`temperature` (K), `precip1Hour` .. `precip24Hour` (m), each with a column `...DD` of MADIS's
quality letter. Accepted are Z (not checked), C, S, V (passed level 1, 1-2, 1-3) and G (good);
rejected are X (failed level 1), Q (failed level 2 or 3), B (bad, set manually), K and T. A
corrected report is repeated with a later `timeReceived`, and replaces the first.

Source: NOAA MADIS, quality control descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from data_modules.sources.stations.reports.files import archive_files
from data_modules.sources.stations.reports.table import StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["read_metar"]

_NEEDED = ("stationName", "latitude", "longitude", "elevation", "timeObs")
_PERIODS = {f"precip{hours}Hour": float(hours) for hours in (1, 3, 6, 24)}
_GOOD = ("Z", "C", "S", "V", "G")


def read_metar(
    config: StationSourceConfig,
    variables: Sequence[str],
    first: np.datetime64,
    last: np.datetime64,
    key: str,
) -> StationReports:
    """Read Parquet files.

    Args:
        config: The archive's section of the recipe; `path` is a file, a directory of them, or a
            pattern, `elements` are the columns read, by default all that provide a requested
            variable.
        variables: Variables to read.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.

    Raises:
        UserError: A file is not a Parquet file, or lacks a column.
    """
    names = {
        "2m_temperature": {"temperature": 0.0},
        "total_precipitation_24hr": _PERIODS,
    }
    columns = {c: (v, h) for v in variables for c, h in names.get(v, {}).items()}
    for element in config.elements:
        if element not in ("temperature", *_PERIODS):
            raise UserError(
                f"{key}.elements: {element!r} is not read from METAR; "
                f"expected some of temperature, {', '.join(_PERIODS)}"
            )
    if config.elements:
        columns = {c: v for c, v in columns.items() if c in config.elements}
    files = archive_files(config.path, (".parquet",), key)
    parts = [_read(file, list(columns)) for file in files]
    rows = pd.concat(parts, ignore_index=True)
    # Periods that end early on the following day may belong to the last one.
    inside = rows["timeObs"].between(first, last + np.timedelta64(2, "D"), inclusive="left")
    rows = rows[inside]
    repairs: dict[str, int] = {}
    order = ["stationName", "timeObs"]
    if "timeReceived" in rows:
        rows = rows.sort_values([*order, "timeReceived"], kind="stable")
        earlier = rows.duplicated(order, keep="last")
        repairs["reports corrected by a later one"] = int(earlier.sum())
        rows = rows[~earlier]
    tables = []
    for column, (variable, hours) in columns.items():
        there = rows[rows[column].notna()]
        if hours == 0:
            repairs["missing temperatures left out"] = len(rows) - len(there)
        letter = there.get(column + "DD", pd.Series("Z", index=there.index)).astype(str)
        good = letter.isin(_GOOD)
        value = there[column].astype(np.float64)
        tables.append(
            pd.DataFrame(
                {
                    "station_id": there["stationName"].astype(str).str.strip(),
                    "latitude": there["latitude"].astype(np.float64).round(4),
                    "longitude": there["longitude"].astype(np.float64).round(4),
                    "elevation": there["elevation"].astype(np.float64),
                    "time": there["timeObs"],
                    "hours": hours,
                    "variable": variable,
                    "value": value if hours == 0 else value * 1000.0,
                    "accepted": good,
                    "reason": ("flag: letter " + letter).where(~good, ""),
                }
            )
        )
    if not tables:
        raise UserError(
            f"{key}.kind: METAR reports provide none of "
            f"{', '.join(variables)}; expected 2m_temperature or total_precipitation_24hr under "
            f"observations.stations.variables"
        )
    return station_reports(
        pd.concat(tables, ignore_index=True),
        config.path,
        key,
        {
            "day": "UTC; instants, and periods that end at the time of the report",
            "flags": f"MADIS letters other than {', '.join(_GOOD)} reject",
        },
        repairs,
    )


def _read(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the required columns of one file, and those of the optional ones that it has."""
    try:
        names = pyarrow.parquet.read_schema(file).names
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise UserError(
            f"station archive {file}: cannot be read as Parquet, it is truncated or has another "
            f"format ({error})"
        ) from None
    missing = [name for name in (*_NEEDED, *columns) if name not in names]
    if missing:
        raise UserError(
            f"station archive {file}: column {', '.join(missing)} is missing, expected METAR "
            f"reports in MADIS's variables; found {', '.join(names[:8])}..."
        )
    wanted = [*_NEEDED, "timeReceived", *columns, *(f"{c}DD" for c in columns)]
    table = pyarrow.parquet.read_table(file, columns=[n for n in wanted if n in names])
    return table.to_pandas(ignore_metadata=True)
