"""Tables on standard output."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from slams.runtime.console import print_tables
from tests.plugins.names import method_names


def test_a_table_is_not_broken_where_there_is_no_terminal() -> None:
    interval = "1.2345 [1.2222, 1.2468]"
    table = Table("method", "RMSE", "CRPS", "spread / skill")
    longest = max(method_names(), key=len)
    table.add_row(longest, interval, interval, interval)
    narrow = Console(file=io.StringIO(), width=40)
    print_tables(table, table, console=narrow)
    lines = narrow.file.getvalue().splitlines()
    rows = [line for line in lines if longest in line]
    assert len(rows) == 2
    assert all(row.count(interval) == 3 for row in rows)


def test_a_wide_terminal_keeps_its_width() -> None:
    wide = Console(file=io.StringIO(), width=200)
    table = Table("text")
    table.add_row("x" * 150)
    print_tables(table, console=wide)
    assert "x" * 150 in wide.file.getvalue()
