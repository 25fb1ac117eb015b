"""A linear world of two pieces with a gap, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.state.linear_world import linear_store

# A gap of a year between the pieces.
PIECES = [("2001-01-01", 600), ("2003-09-01", 400)]


@pytest.fixture(scope="session")
def linear_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the store: 600 days from 2001-01-01 and 400 from 2003-09-01."""
    return linear_store(tmp_path_factory.mktemp("linear") / "store.zarr", PIECES)


@pytest.fixture
def recipe(tmp_path: Path, linear_world: Path) -> Path:
    """Return the path of a recipe for it: 400 and 700 days of training, 150 of validation."""
    path = tmp_path / "state.yaml"
    path.write_text(f"""
store: {linear_world}
train:
  - {{name: short, days: [2001-01-01, 2002-02-04]}}
  - {{name: long, days: [2001-01-01, 2002-02-04, 2003-09-01, 2004-06-26]}}
validation: [2002-03-01, 2002-07-28]
levels: [850]
regression:
  patch: [1, 3]
  wind_patch: [1, 1]
  before_patch: [1, 1]
  penalties: [0.0001, 0.01, 1.0]
  held_out: 20
  apart: 3
network:
  states: [pressure, winds]
  channels: [8]
  optimizer: {{steps: 2, warmup_steps: 1}}
""")
    return path
