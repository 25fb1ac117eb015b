"""Nature runs of daily means, and of instants within the day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.fields import FieldSpec

CHANNELS = [FieldSpec.parse("temperature@850")]
HOURS = np.array([0, 6, 12, 18], dtype="timedelta64[h]")


@pytest.fixture
def instants(tmp_path: Path) -> Path:
    """Two days of four instants; the temperature says which (day x 10 + hour)."""
    days = np.array(["2001-03-01", "2001-03-02"], dtype="datetime64[ns]")
    time = (days[:, None] + HOURS).reshape(-1)
    values = np.array([10.0 * d + h for d in range(2) for h in (0, 6, 12, 18)]) + 250
    latitude, longitude = np.linspace(60, -60, 4), np.arange(0, 360, 45.0)
    fields = np.broadcast_to(values[:, None, None, None], (8, 1, 4, 8)).astype(np.float32)
    run = xr.Dataset(
        {"temperature": (("time", "level", "latitude", "longitude"), fields, {"units": "K"})},
        coords={"time": time, "level": [850], "latitude": latitude, "longitude": longitude},
    )
    path = tmp_path / "instants.zarr"
    run.chunk(-1).to_zarr(path, zarr_format=3, consolidated=False)
    return path


@pytest.mark.parametrize(
    ("daily", "expected"), [("instant", [250.0, 260.0]), ("mean", [259.0, 269.0])]
)
def test_a_day_of_instants(instants: Path, daily: str, expected: list[float]) -> None:
    """The instant at 00 UTC, or their mean: never one of them taken for the mean of 24 hours."""
    found = open_source(SourceConfig(path=str(instants), daily=daily), CHANNELS)
    assert found["temperature"].values[:, 0, 0, 0].tolist() == expected
    assert (np.diff(found["time"].values) == 1).all()
