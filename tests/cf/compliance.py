"""What the compliance checker (PyPI: compliance-checker) says of a NetCDF file."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["complaints"]


def complaints(path: Path) -> list[str]:
    """Return everything that the file does otherwise than CF-1.11 demands or recommends.

    Skips the test where the checker is not installed.
    """
    reason = "compliance-checker is not installed: pip install -e '.[test]'"
    suites = pytest.importorskip("compliance_checker.suite", reason=reason)
    suites.CheckSuite.load_all_available_checkers()
    suite = suites.CheckSuite()
    with suite.load_dataset(str(path)) as opened:
        results, errors = suite.run_all(opened, ["cf:1.11"])["cf:1.11"]
    assert not errors
    assert len(results) > 30
    return [text for r in results if r.value[0] != r.value[1] for text in [r.name, *r.msgs]]
