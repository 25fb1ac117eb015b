"""Tables are opened whatever they are packed in; what is no table is refused in one sentence."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from data_modules.tables.opening import is_table, open_table
from slams.errors import UserError

TABLE = pd.DataFrame({"time": ["2001-03-28", "2001-03-29"], "value": [1.5, 2.0]})


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.xz", "t.csv.zip", "t.parquet"])
def test_a_table_is_read_by_its_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    TABLE.to_parquet(path) if name.endswith("parquet") else TABLE.to_csv(path, index=False)
    assert is_table(path)
    pd.testing.assert_frame_equal(open_table(path, "key"), TABLE)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_packed_table_may_have_the_plain_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    TABLE.to_parquet(path) if name.endswith("parquet") else TABLE.to_csv(path, index=False)
    path.write_bytes(gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(open_table(path, "key"), TABLE)


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("<html><title>Sign in</title>")
    with pytest.raises(UserError, match=r"^key: .*web page \(HTML\) that says 'Sign in'"):
        open_table(path, "key")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "time")
        archive.writestr("b.csv", "time")
    with pytest.raises(UserError, match=r"archive of 2 files \(a\.csv, b\.csv\), expected one"):
        open_table(path, "key")
    assert not is_table("t.nc.gz")
    with pytest.raises(UserError, match=r"expected a \.csv or \.parquet file"):
        open_table(tmp_path / "t.nc.gz", "key")
