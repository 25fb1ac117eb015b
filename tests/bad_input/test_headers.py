"""Random headers over every reader: values read rightly, or one sentence.

A dozen cases of each of a few seeds here; `make test-headers` runs 500 with a seed of its own.
"""

from __future__ import annotations

import os

import pytest

from tests.faults.headers import READERS, run_case
from tests.faults.image_headers import IMAGES
from tests.faults.station_headers import ARCHIVES

# A failure names the seed and the case: `python -m tests.faults.headers --seed S --only N`.
_SEED = int(os.environ.get("SLAMS_HEADERS_SEED", "23"))


@pytest.mark.parametrize("number", range(36))
def test_a_random_header_is_read_rightly_or_refused(tmp_path, number):
    print(f"seed {_SEED}, case {number}")
    run_case(_SEED, number, tmp_path)


def test_a_case_is_the_same_again(tmp_path):
    ends = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        ends.append(run_case(_SEED, 3, folder).replace(str(folder), ""))
    assert ends[0] == ends[1]


@pytest.mark.slow
def test_five_hundred_headers(tmp_path):
    """All readers take part, and neither end is rare: a fuzz that only refuses tests nothing."""
    print(f"seed {_SEED}")
    ends = []
    for number in range(500):
        folder = tmp_path / str(number)
        folder.mkdir()
        ends.append(run_case(_SEED, number, folder))
    assert {text.split(":")[0] for text in ends} == {*READERS, *ARCHIVES, *IMAGES}
    assert sum(text.endswith(": read") for text in ends) > 150
    assert sum(": refused: " in text for text in ends) > 100
    assert sum(": not written " in text for text in ends) < 25
