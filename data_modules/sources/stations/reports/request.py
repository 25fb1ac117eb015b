"""A request for reports of a station archive: its files, its days, and the repairs made."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from data_modules.sources.stations.reports.table import COLUMNS, StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError

__all__ = ["ReportRequest", "open_text", "parse_times", "read_csv"]


@dataclass(frozen=True)
class ReportRequest:
    """Reports requested of an archive, and the repairs made while they are read.

    Attributes:
        config: The archive's section of the recipe.
        variables: Variables to read, without levels.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.
        repairs: Number of repairs by kind.
    """

    config: StationSourceConfig
    variables: Sequence[str]
    first: np.datetime64
    last: np.datetime64
    key: str
    repairs: Counter[str] = field(default_factory=Counter)

    def files(self, *suffixes: str) -> list[Path]:
        """Return the files of the archive, sorted by name.

        Args:
            suffixes: Endings of the names of files in a directory.

        Raises:
            UserError: There is no such file.
        """
        path = self.config.path
        if "*" in path:
            files = [Path(name) for name in sorted(glob(path))]
        elif Path(path).is_dir():
            files = sorted(p for p in Path(path).iterdir() if p.name.endswith(suffixes))
        else:
            files = [Path(path)] if Path(path).is_file() else []
        if not files:
            raise UserError(
                f"{self.key}.path: {path or 'nothing'} does not exist, expected a file, a "
                f"directory with {' or '.join(suffixes)} files, or a pattern with *"
            )
        return files

    def elements(self, known: Mapping[str, str], archive: str) -> list[str]:
        """Return the elements to read: those of the recipe, or all, of requested variables.

        Args:
            known: Variable of each element that the reader supports.
            archive: Name of the archive, for the message.

        Raises:
            UserError: The recipe lists an element that the reader does not support.
        """
        for element in self.config.elements:
            if element not in known:
                raise UserError(
                    f"{self.key}.elements: {element!r} is not read from {archive}; "
                    f"expected some of {', '.join(known)}"
                )
        elements = self.config.elements or known
        return [element for element in elements if known[element] in self.variables]

    def inside(self, rows: pd.DataFrame, time: str = "time") -> pd.DataFrame:
        """Return the rows of the requested days and of the day after them.

        Periods that end early on the following day may belong to the last one.
        """
        end = self.last + np.timedelta64(2, "D")
        return rows[rows[time].between(self.first, end, inclusive="left")]

    def reports(
        self, parts: Sequence[pd.DataFrame], conventions: Mapping[str, str]
    ) -> StationReports:
        """Join, check and sort the tables that were read (see `station_reports`)."""
        parts = [part for part in parts if len(part)]
        table = (
            pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
        )
        return station_reports(table, self.config.path, self.key, conventions, self.repairs)


@contextmanager
def open_text(path: str | Path, key: str) -> Iterator[TextIO]:
    """Open a text file, plain or compressed with gzip.

    Args:
        path: The file.
        key: Dotted key of the recipe that names it, for messages.

    Raises:
        UserError: The file is missing, truncated, or not a gzip file although its name ends so.
    """
    try:
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rt", encoding="ascii", errors="replace", newline="") as file:
            yield file  # type: ignore[misc]
    except (OSError, EOFError) as error:
        raise UserError(f"{key}: {path} cannot be read, missing or truncated ({error})") from None


def read_csv(path: str | Path, key: str, needed: Sequence[str], expected: str) -> pd.DataFrame:
    """Read a CSV file with a header, as text.

    Args:
        path: The file.
        key: Dotted key of the recipe that names it, for messages.
        needed: Columns that it must have.
        expected: Description of the expected file, for the message.

    Raises:
        UserError: The file is missing, is not CSV, or lacks a column.
    """
    with open_text(path, key) as text:
        try:
            rows = pd.read_csv(text, dtype=str, keep_default_na=False, skipinitialspace=True)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise UserError(
                f"{key}: {path} cannot be read as CSV ({error}), expected {expected}"
            ) from None
    rows.columns = [str(name).strip() for name in rows.columns]
    missing = [name for name in needed if name not in rows]
    if missing:
        raise UserError(
            f"{key}: the header of {path} lacks {', '.join(missing)}, expected {expected}"
        )
    return rows


def parse_times(text: pd.Series, layout: str, where: str | Path, expected: str) -> pd.Series:
    """Convert text to times.

    Args:
        text: `(n,)` text.
        layout: Format for `strptime`.
        where: Path of the archive, for messages.
        expected: Description of the format, for the message.

    Raises:
        UserError: A text is not such a time.
    """
    time = pd.to_datetime(text, format=layout, errors="coerce")
    if time.isna().any():
        raise UserError(
            f"station archive {where}: {text.name} {text[time.isna()].iloc[0]!r} is not a time, "
            f"expected {expected}"
        )
    return time.astype("datetime64[ns]")
