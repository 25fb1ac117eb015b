"""The directory that `--output` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from slams.errors import UserError
from slams.runtime.output import make_output


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
