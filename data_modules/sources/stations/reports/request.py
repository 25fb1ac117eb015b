"""A request for reports of a station archive: its files, its days, and what was done to them."""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from data_modules.containers.unpacking import open_bytes
from data_modules.sources.stations.reports.accounting import Accounting
from data_modules.sources.stations.reports.table import COLUMNS, StationReports, station_reports
from slams.config.schema import StationSourceConfig
from slams.errors import UserError, first_line

__all__ = ["ReportRequest", "keep_times", "open_text", "read_csv"]


@dataclass(frozen=True)
class ReportRequest:
    """Reports requested of an archive, and what is repaired and left out while they are read.

    Attributes:
        config: The archive's section of the recipe.
        variables: Variables to read, without levels.
        first: First day.
        last: Last day, inclusive.
        key: Dotted key of the archive in the recipe, for messages.
        repairs: Number of repairs by kind.
        left_out: Account of the reports that are left out.
    """

    config: StationSourceConfig
    variables: Sequence[str]
    first: np.datetime64
    last: np.datetime64
    key: str
    repairs: Counter[str] = field(default_factory=Counter)
    left_out: Accounting = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.left_out is None:
            object.__setattr__(self, "left_out", self.account())

    def part(self) -> ReportRequest:
        """Return the same request with accounts of its own, for a part of the archive.

        The limit is that of the whole archive, so that a part has none.
        """
        return replace(self, repairs=Counter(), left_out=self.account(1.0))

    def account(self, limit: float | None = None) -> Accounting:
        """Return an empty account, by default with the limit of the recipe."""
        limit = self.config.left_out if limit is None else limit
        return Accounting(f"station archive {self.config.path}", f"{self.key}.left_out", limit)

    def files(self, *suffixes: str, name: str = "") -> list[Path]:
        """Return the files of the archive, sorted by name.

        Args:
            suffixes: Endings of the names of files in a directory.
            name: Pattern (`re`) that the names of files in a directory have as well.

        Raises:
            UserError: There is no such file.
        """
        path = self.config.path
        if "*" in path:
            files = [Path(name) for name in sorted(glob(path))]
        elif Path(path).is_dir():
            found = sorted(p for p in Path(path).iterdir() if p.name.endswith(suffixes))
            files = [file for file in found if re.search(name, file.name)]
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
        self,
        parts: Sequence[pd.DataFrame],
        conventions: Mapping[str, str],
        listed: pd.DataFrame | None = None,
    ) -> StationReports:
        """Join, check and sort the tables that were read (see `station_reports`).

        Args:
            parts: Long tables.
            conventions: See `StationReports`.
            listed: Latitude, longitude and country of the archive's stations by name, or `None`.
        """
        parts = [part for part in parts if len(part)]
        table = (
            pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
        )
        return station_reports(
            table,
            self.config.path,
            self.key,
            conventions,
            self.repairs,
            left_out=self.left_out,
            listed=listed,
        )


@contextmanager
def open_text(path: str | Path, key: str) -> Iterator[TextIO]:
    """Open a text file, plain, compressed, or alone in an archive (see `data_modules.containers`).

    Args:
        path: The file.
        key: Dotted key of the recipe that names it, for messages.

    Raises:
        UserError: The file is missing, truncated, an error page, or an archive of several files.
    """
    with open_bytes(path, key) as file:
        # Text is read byte by byte, for archives of fixed width: the mark is not one character.
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        yield io.TextIOWrapper(file, encoding="ascii", errors="replace", newline="")


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
                f"{key}: {path} cannot be read as CSV ({first_line(error)}), expected {expected}"
            ) from None
    rows.columns = [str(name).strip() for name in rows.columns]
    missing = [name for name in needed if name not in rows]
    if missing:
        raise UserError(
            f"{key}: the header of {path} lacks {', '.join(missing)}, expected {expected}"
        )
    return rows


def keep_times(
    rows: pd.DataFrame,
    text: pd.Series,
    layout: tuple[str, str],
    where: str | Path,
    left_out: Accounting,
) -> pd.DataFrame:
    """Return rows with a column `time`; those whose text is not a time are left out.

    Args:
        rows: `n` rows.
        text: `(n,)` text, whose name is that of the column.
        layout: Format for `strptime`, and its description.
        where: The file, for messages.
        left_out: The account.
    """
    time = pd.to_datetime(text, format=layout[0], errors="coerce")
    rows = rows.assign(time=time.astype("datetime64[ns]").to_numpy())
    return left_out.keep(
        rows,
        rows["time"].notna(),
        "time unreadable",
        lambda _: (
            f"{where}: {text.name} {text[time.isna()].iloc[0]!r} is not a time, expected "
            f"{layout[1]}"
        ),
    )
