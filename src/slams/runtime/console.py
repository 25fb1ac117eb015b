"""Tables on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_tables"]

# A pipe has no width of its own; a table of numbers broken over lines is unreadable.
_WIDTH = 130


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
