"""What is left out of an archive: counted, described, and refused above a share."""

from __future__ import annotations

import pandas as pd
import pytest

from data_modules.sources.stations.reports.accounting import (
    Accounting,
    LeftOut,
    describe_left_out,
    merge_left_out,
)
from slams.errors import UserError

ROWS = pd.DataFrame({"name": list("abcde")})


def kept(account: Accounting, why: str = "bad", bad: str = "bd") -> list[str]:
    good = ~ROWS["name"].isin(list(bad))
    return account.keep(ROWS, good, why, lambda row: f"row {row['name']}")["name"].tolist()


def test_bad_rows_are_left_out_and_counted_by_reason() -> None:
    account = Accounting("archive", "key", limit=0.5)
    assert kept(account) == ["a", "c", "e"]
    assert kept(account, bad="c") == ["a", "b", "d", "e"]
    assert kept(account, "worse", "e") == ["a", "b", "c", "d"]
    assert account.records == (LeftOut("bad", 3, "row b"), LeftOut("worse", 1, "row e"))
    assert kept(account, bad="") == list("abcde")
    account.check(4)
    with pytest.raises(UserError, match=r"archive: 4 of 7 reports \(57\.1%\) cannot be used, .*"):
        account.check(3)


def test_the_refusal_says_how_many_why_and_which() -> None:
    account = Accounting("archive", "source.left_out", limit=0.05)
    account.add("few", 1, "row x")
    account.add("many", 5, "row y")
    account.check(200)
    with pytest.raises(UserError) as refusal:
        account.check(94)
    assert str(refusal.value) == (
        "archive: 6 of 100 reports (6.0%) cannot be used, expected at most 5.0% "
        "(source.left_out): many 5 (row y); few 1 (row x)"
    )


def test_without_a_share_the_first_bad_row_is_refused() -> None:
    with pytest.raises(UserError, match=r"^archive: row b$"):
        kept(Accounting("archive"))
    assert kept(Accounting("archive"), bad="") == list("abcde")


def test_what_is_neither_true_nor_false_is_not_good() -> None:
    account = Accounting("archive", limit=0.9)
    good = pd.Series([True, None, float("nan"), False, True], dtype=object)
    assert account.keep(ROWS, good, "bad", lambda row: row["name"])["name"].tolist() == ["a", "e"]
    assert account.records == (LeftOut("bad", 3, "b"),)


def test_parts_are_summed_and_described_in_one_line() -> None:
    one, other = (LeftOut("bad", 3, "row b"),), (LeftOut("worse", 1, "e"), LeftOut("bad", 2, "c"))
    whole = merge_left_out([one, other])
    assert whole == (LeftOut("bad", 5, "row b"), LeftOut("worse", 1, "e"))
    line = describe_left_out(whole, 94)
    assert line == "left out: 6 of 100 reports (6.00%): bad 5 (row b); worse 1 (e)"
    assert describe_left_out((), 94) == ""
