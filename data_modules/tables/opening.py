"""Opening a table that a user names: CSV or Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from slams.errors import UserError

__all__ = ["TABLES", "open_table"]

# How a table is read, by the suffix of its file.
TABLES = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


def open_table(path: str | Path, where: str) -> pd.DataFrame:
    """Read a table as it is.

    Args:
        path: The file.
        where: Key or option that names it, for messages.

    Raises:
        UserError: The file is missing, has another suffix, or cannot be read.
    """
    file = Path(path)
    reader = TABLES.get(file.suffix)
    if reader is None:
        raise UserError(f"{where}: found {path}, expected a .csv or .parquet file")
    if not file.is_file():
        found = "a directory" if file.is_dir() else "no such file"
        raise UserError(f"{where}: {path}: found {found}, expected a table of reports")
    try:
        return reader(file)
    except (ValueError, OSError) as error:  # the errors of pandas and pyarrow are subclasses
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where}: {path} cannot be read as a table ({reason})") from None
