"""Tables on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["make_table", "print_tables"]

# A pipe has no width of its own; a table of numbers broken over lines is unreadable.
_WIDTH = 130


def make_table(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Iterable[object]],
    caption: str = "",
    texts: int = 1,
) -> Table:
    """Make a table to print.

    Args:
        title: Title above it.
        headings: Headings of the columns.
        rows: Cells of each row, formatted.
        caption: Explanation below it.
        texts: Number of columns, from the left, that hold texts; the others hold numbers, which
            are aligned to the right and not broken over lines.
    """
    from rich.table import Table

    table = Table(title=title, caption=caption or None)
    for place, heading in enumerate(headings):
        number = place >= texts
        table.add_column(heading, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def print_tables(*tables: Table, console: Console | None = None) -> None:
    """Print tables below one another, at least 130 columns wide.

    Args:
        tables: Tables to print.
        console: Destination; `None` is standard output.
    """
    from rich.console import Console  # slow to import, and few verbs print a table

    console = console or Console()
    console.width = max(console.width, _WIDTH)
    for table in tables:
        console.print(table)
