"""A world of first-order autoregression, for the calibration of ensembles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.fields import Background, Batch, FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import DAYS_PER_YEAR, Normaliser
from tests.assimilators.problems import small_grid

__all__ = ["Autoregressive"]

LAG = 2
PERSISTENCE = 0.8**LAG


class Autoregressive:
    """Makes days x' = 0.8 x + noise, times an amplitude that varies with the season.

    The background is persistence over two days, damped by 0.64; its error variance is 1 - 0.64^2
    times the squared amplitude, 0.5904 in the mean over the year without seasons.

    Args:
        days: Length of the archive.
        amplitude: Relative amplitude of the seasonal cycle of the standard deviation.
    """

    def __init__(self, days: int, amplitude: float = 0.0) -> None:
        self.grid: LatLonGrid = small_grid(4, 8)
        channels = (FieldSpec.parse("2m_temperature"),)
        self.normaliser = Normaliser(
            channels,
            torch.full((1, 1, *self.grid.shape), 280.0),
            torch.full((1, *self.grid.shape), 2.0),
        )
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(days + 1500, 1, *self.grid.shape, generator=generator)
        series = [noise[0]]
        for step in noise[1:]:
            series.append(0.8 * series[-1] + 0.6 * step)
        self.time = 12 * DAYS_PER_YEAR + torch.arange(len(series), dtype=torch.float64)
        season = 1 + amplitude * torch.cos(2 * math.pi * self.time / DAYS_PER_YEAR)
        self.states = torch.stack(series) * season[:, None, None, None].float()
        self.days = days
        first = torch.arange(LAG, days)
        self.archive = Archive(
            fields=self.states[first][:, None],
            background=PERSISTENCE * self.states[first - LAG][:, None],
            time=self.time[first][:, None],
        )

    def batch(self, case: Tensor) -> Batch:
        """Make a batch of days after the archive, without observations.

        Args:
            case: `(B,)` days after the archive's last.
        """
        index = self.days + case
        fields = self.states[index][:, None]
        mean = PERSISTENCE * self.states[index - LAG][:, None]
        time = self.time[index][:, None]
        return Batch(
            fields=fields,
            mask=torch.ones_like(fields, dtype=torch.bool),
            time=time,
            case=index,
            climatology=self.normaliser.climatology(time),
            background=Background(mean, torch.full_like(mean, 1 - PERSISTENCE**2)),
        )
