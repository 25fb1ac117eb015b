"""Durations as SLURM writes them."""

from __future__ import annotations

import pytest

from slams.config.time_limits import parse_limit
from slams.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("12:00:00", 43200),
        ("2-12", 2 * 86400 + 43200),
        ("1-02:30", 86400 + 9000),
        ("1-02:30:15", 86400 + 9015),
        (" 5 ", 300),
    ],
)
def test_the_forms_of_slurm(text: str, seconds: int) -> None:
    assert parse_limit("--time", text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "1:2:3:4", "-5", "1-", "1.5", "0", "0:00", "٣", "12:"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--time: found"):
        parse_limit("--time", text)
