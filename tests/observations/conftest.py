from __future__ import annotations

import pytest
import torch

from slams.fields import FieldSpec
from slams.grid import LatLonGrid


@pytest.fixture
def grid() -> LatLonGrid:
    """Twelve rows that stop short of the poles, not equally spaced, as a Gaussian grid's."""
    latitude = torch.tensor([81.0, 67, 52, 38, 23, 8], dtype=torch.float64)
    return LatLonGrid(
        torch.cat([latitude, -latitude.flip(0)]), torch.arange(24, dtype=torch.float64) * 15
    )


@pytest.fixture
def channels() -> tuple[FieldSpec, ...]:
    names = ("temperature@850", "2m_temperature", "total_precipitation_24hr")
    return tuple(FieldSpec.parse(n) for n in (*names, "outgoing_longwave_radiation"))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
