"""The directory of a command's output, given by `--output`, and the tables in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slams.errors import UserError
from slams.runtime.atomic import replacing
from slams.runtime.console import print_tables

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["make_output", "publish"]


def make_output(output: Path) -> Path:
    """Make the directory of a command's output, and return it.

    Args:
        output: The directory; it and its parents are made where they are missing.

    Raises:
        UserError: It is a file, or lies in one.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output: {output} is or lies in a file, expected a directory") from None
    return output


def publish(
    output: Path,
    tables: Mapping[str, pd.DataFrame],
    *pages: Table,
    number_format: str = "%.5g",
) -> None:
    """Print the results of a command, write them, and print where they are.

    Args:
        output: The directory.
        tables: Name of the file, without `.csv` -> table; each is written completely or not at
            all.
        pages: Tables to print.
        number_format: Format of the numbers in the files that are not whole.
    """
    print_tables(*pages)
    for name, table in tables.items():
        with replacing(output / f"{name}.csv") as path:
            table.to_csv(path, index=False, float_format=number_format)
    print(f"the results are in {output}", flush=True)
