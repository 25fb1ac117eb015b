"""Tables of results: the report reads what the evaluation writes, and what older ones wrote."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from slams.metrics.columns import TABLE_COLUMNS
from slams.report.reading import read_assimilation

ATTRIBUTES = {
    "results": "results",
    "cases": "cases",
    "rank_histogram": "ranks",
    "observations": "innovations",
    "observation_space": "observation_space",
    "observation_ranks": "observation_ranks",
    "regions": "regions",
    "spectra": "spectra",
}


def write(directory: Path, *without: str) -> None:
    for name, columns in TABLE_COLUMNS.items():
        kept = [c for c in columns if c not in without or (name == "results" and c == "setting")]
        pd.DataFrame({c: ["850"] for c in kept}).to_parquet(directory / f"{name}.parquet")


@pytest.mark.parametrize("without", [(), ("setting", "chi2")])
def test_every_table_is_read_whatever_its_age(tmp_path: Path, without: tuple[str, ...]) -> None:
    write(tmp_path, *without)
    run = read_assimilation(tmp_path)
    assert set(ATTRIBUTES) == set(TABLE_COLUMNS)
    for attribute in ATTRIBUTES.values():
        assert len(getattr(run, attribute)) == 1
    assert not [sentence for sentence in run.missing if "lacks" in sentence]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_table_that_lacks_a_column_is_left_out_with_a_sentence(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path)
    path = tmp_path / f"{name}.parquet"
    pd.read_parquet(path).drop(columns="method").to_parquet(path)
    run = read_assimilation(tmp_path)
    assert getattr(run, ATTRIBUTES[name]) is None
    assert any(f"{path} lacks the columns method" in sentence for sentence in run.missing)
