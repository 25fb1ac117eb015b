"""Small ensembles with values like those of the atmosphere."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid

NAMES = (
    "temperature@500",
    "temperature@850",
    "specific_humidity@850",
    "2m_temperature",
    "total_precipitation_24hr",
    "outgoing_longwave_radiation",
)
CHANNELS = tuple(FieldSpec.parse(name) for name in NAMES)
GRID = LatLonGrid(torch.linspace(78.75, -78.75, 8, dtype=torch.float64), torch.arange(16) * 22.5)
# Mean and standard deviation of each channel.
_CLIMATE = torch.tensor([[255, 8], [280, 9], [7e-3, 2e-3], [288, 10], [0, 4], [240, 30]])
# 2022-01-07 and 2021-12-30: cases need not be in order.
TIME = torch.tensor([[18999.0], [18991.0]], dtype=torch.float64)


def ensemble(members: int = 3, time: Tensor = TIME) -> Ensemble:
    """Return an ensemble of members that differ, precipitation with many zeros."""
    draw = torch.Generator().manual_seed(0)
    cases, days = time.shape
    noise = torch.randn(cases, members, days, len(CHANNELS), *GRID.shape, generator=draw)
    mean, sd = (column[:, None, None] for column in _CLIMATE.T)
    values = mean + sd * noise
    values[:, :, :, 4].clamp_(min=0)
    return Ensemble("letkf", values, time, CHANNELS, GRID)


def state(one: Ensemble) -> Ensemble:
    """Return the mean of an ensemble as a state called truth."""
    return replace(one, method="truth", members=one.mean[:, None])


def counts(one: Ensemble) -> Tensor:
    """Return numbers of observations `(B, T, C, H, W)`."""
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 4, one.mean.shape, generator=draw)
