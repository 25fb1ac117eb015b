"""The directory that `--output` names, and the results in it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from slams.errors import UserError
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish


def test_it_is_made_with_those_above_it_and_kept_where_it_is_there(tmp_path: Path) -> None:
    output = tmp_path / "a" / "b"
    assert make_output(output) == output
    (output / "table.csv").touch()
    assert make_output(output) == output
    assert [p.name for p in output.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("below", ["", "table.csv"])
def test_a_file_and_what_lies_in_one_are_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"--output: .* is or lies in a file, expected a directory"
    ):
        make_output(tmp_path / "file" / below)


def test_tables_are_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"name": ["one", "other"], "seconds": [1 / 3, 2.0]})
    page = make_table("Cost", ("name", "s"), [("one", 1), ("a long name", 20)], "all of it")
    publish(tmp_path, {"cost": table}, page, number_format="%.2f")
    assert (tmp_path / "cost.csv").read_text() == "name,seconds\none,0.33\nother,2.00\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cost.csv"]
    lines = capsys.readouterr().out.splitlines()
    assert "Cost" in lines[0]
    # Texts to the left, numbers to the right.
    assert any(line.startswith("│ one         │  1 │") for line in lines)
    assert any(line.startswith("│ a long name │ 20 │") for line in lines)
    assert lines[-1] == f"the results are in {tmp_path}"
