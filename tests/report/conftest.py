"""One synthetic experiment for all tests of the report."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pytest

from tests.report.synthetic import Runs, small_world, write_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A whole experiment with four settings; tests that change files copy them first."""
    return write_runs(tmp_path_factory.mktemp("runs"), small_world())


@pytest.fixture(autouse=True, scope="session")
def coarse_figures() -> Iterator[None]:
    """Save figures with few dots where a test draws a section by itself."""
    with mpl.rc_context({"savefig.dpi": 30}):
        yield
