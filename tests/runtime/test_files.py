"""Records in JSON: read as what they were written from, or refused with the entry at fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slams.errors import UserError
from slams.runtime.files import parse_record


@dataclass(frozen=True)
class _Record:
    name: str
    count: int
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    days: list[str] = field(default_factory=list)


def parse(**values: object) -> _Record:
    return parse_record(_Record, Path("a.json"), values, "remove it")


def test_a_record_is_read_with_its_defaults_and_without_keys_of_later_versions() -> None:
    assert parse(name="a", count=2) == _Record("a", 2)
    whole = parse(name="a", count=2, parts={"x": {"seed": 1}}, days=["1980-01-01"], later=3)
    assert whole == _Record("a", 2, {"x": {"seed": 1}}, ["1980-01-01"])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "a.json is damaged: it has no name, count; remove it"),
        ({"count": 2, "days": []}, "a.json is damaged: it has no name; remove it"),
        ({"name": 1, "count": 2}, "found int under 'name', expected str; remove it"),
        ({"name": "a", "count": True}, "found bool under 'count', expected int"),
        ({"name": "a", "count": 2, "parts": []}, "found list under 'parts', expected dict"),
        ({"name": "a", "count": 2, "parts": {"x": 1}}, "found int under 'x', expected dict"),
    ],
)
def test_a_damaged_record_is_refused_with_its_entry(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        parse(**values)
    assert sentence in str(caught.value)
