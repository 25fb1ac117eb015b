"""Random headers of fields and stations: read rightly, or refused in one sentence.

`make test-faults` runs 500 of them with a new seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.headers import run_case

_SEED = 23


@pytest.mark.parametrize("number", range(24))
def test_a_random_header_is_read_or_refused(number: int, tmp_path: Path) -> None:
    run_case(_SEED, number, tmp_path)
