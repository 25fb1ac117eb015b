"""Opening a table that a user names: CSV or Parquet, also compressed or alone in an archive."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_modules.containers.unpacking import open_bytes
from slams.errors import UserError

__all__ = ["is_table", "open_table"]

# How a table is read, by the suffix of its file.
_TABLES = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
_PACKED = (".gz", ".bz2", ".xz", ".zip")


def is_table(path: str | Path) -> bool:
    """Return whether a file is a table by its name, such as `x.csv`, `x.parquet` or `x.csv.gz`."""
    return _suffix(path) in _TABLES


def _suffix(path: str | Path) -> str:
    file = Path(path)
    return (file.with_suffix("") if file.suffix in _PACKED else file).suffix


def open_table(path: str | Path, where: str) -> pd.DataFrame:
    """Read a table as it is.

    Args:
        path: The file.
        where: Key or option that names it, for messages.

    Raises:
        UserError: The file is missing, has another suffix, or cannot be read.
    """
    file = Path(path)
    reader = _TABLES.get(_suffix(file))
    if reader is None:
        raise UserError(f"{where}: found {path}, expected a .csv or .parquet file")
    if not file.is_file():
        found = "a directory" if file.is_dir() else "no such file"
        raise UserError(f"{where}: {path}: found {found}, expected a table of reports")
    try:
        with open_bytes(file, where) as plain:
            return reader(plain)
    except UserError:
        raise
    except (ValueError, OSError) as error:  # the errors of pandas and pyarrow are subclasses
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where}: {path} cannot be read as a table ({reason})") from None
