"""The first key in which two plain trees differ."""

from __future__ import annotations

import pytest

from data_modules.store.identity import store_difference
from slams.config.difference import Difference, first_difference

EXPECTED = {"kind": "era5", "grid": {"rows": 8, "columns": 16}, "levels": [850, 500]}


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        (EXPECTED, None),
        (EXPECTED | {"kind": "cf"}, Difference("kind", "cf", "era5")),
        (
            EXPECTED | {"levels": [850], "grid": {"rows": 4, "columns": 8}},
            Difference("grid.rows", 4, 8),
        ),
        (EXPECTED | {"levels": [850]}, Difference("levels", [850], [850, 500])),
        (EXPECTED | {"grid": None}, Difference("grid", None, EXPECTED["grid"])),
        (EXPECTED | {"origin": "here"}, Difference("origin", "here", None)),
        ({}, Difference("kind", None, "era5")),
        ({"levels": [850], "kind": "cf"}, Difference("kind", "cf", "era5")),
    ],
)
def test_the_first_key_in_the_order_of_the_recipe(
    found: dict, difference: Difference | None
) -> None:
    assert first_difference(found, EXPECTED) == difference


def test_a_difference_is_worded_for_runs_and_for_stores() -> None:
    found = EXPECTED | {"levels": [850]}
    assert (
        str(first_difference(found, EXPECTED, "data"))
        == "key 'data.levels', found [850], expected [850, 500]"
    )
    assert (
        store_difference(found, EXPECTED, "data")
        == "data.levels: [850] in the store, [850, 500] in the recipe"
    )
    assert store_difference(EXPECTED, EXPECTED) == ""
