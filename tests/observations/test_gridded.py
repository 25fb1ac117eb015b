"""Innovations on the grid: closed forms for points and means, nothing where nothing is seen."""

from __future__ import annotations

import math

import pytest
import torch

from slams.fields import Observations
from slams.observations.gridded import gridded_innovations, observed_channels
from slams.observations.satellite import SatelliteOperator
from slams.observations.stations import StationOperator


def observed(operator, values, variance=4.0, mask=None, bound=-math.inf) -> Observations:
    values = values.reshape(1, 1, -1)
    seen = torch.ones_like(values, dtype=torch.bool) if mask is None else mask.reshape(1, 1, -1)
    return Observations(
        "stations/x", operator, values, seen, torch.full_like(values, variance), bound
    )


@pytest.fixture
def station(grid, channels):
    """One station on a grid point of 2 m temperature."""
    at = grid.latitude[3:4], grid.longitude[5:6]
    return StationOperator(grid, channels, "2m_temperature", *at)


@pytest.fixture
def image(grid, channels):
    return SatelliteOperator(grid, channels, "outgoing_longwave_radiation", 2)


def test_a_station_on_a_grid_point_gives_its_innovation_and_precision(station, channels, grid):
    state, sd = torch.full((1, 4, *grid.shape), 280.0), torch.full((4, *grid.shape), 2.5)
    found = observed(station, torch.tensor([285.0]), variance=4.0)
    innovation, precision = gridded_innovations([found], 0, state, sd, [1])
    # (285 - 280) / 2.5 standard deviations; 2.5^2 / 4 times the information of the climatology.
    assert innovation[0, 0, 3, 5] == pytest.approx(2.0)
    assert precision[0, 0, 3, 5] == pytest.approx(math.log1p(2.5**2 / 4))
    assert int((precision > 0).sum()) == int((innovation != 0).sum()) == 1


def test_two_reports_are_averaged_by_precision(station, channels, grid):
    state, sd = torch.full((1, 4, *grid.shape), 280.0), torch.ones(4, *grid.shape)
    both = [
        observed(station, torch.tensor([281.0]), variance=1.0),
        observed(station, torch.tensor([285.0]), variance=3.0),
    ]
    innovation, precision = gridded_innovations(both, 0, state, sd, [1])
    assert innovation[0, 0, 3, 5] == pytest.approx((1 * 1 + 5 / 3) / (1 + 1 / 3))
    assert precision[0, 0, 3, 5] == pytest.approx(math.log1p(4 / 3))


def test_an_image_gives_its_innovation_at_every_point_of_a_footprint(image, channels, grid):
    generator = torch.Generator().manual_seed(0)
    state = 240 + torch.randn(1, 4, *grid.shape, generator=generator)
    sd = torch.full((4, *grid.shape), 10.0)
    values = image(state)[0] + 7.0
    innovation, precision = gridded_innovations([observed(image, values)], 0, state, sd, [3])
    torch.testing.assert_close(innovation, torch.full_like(innovation, 0.7), rtol=1e-4, atol=1e-5)
    assert bool((precision > 0).all())


def test_what_is_masked_or_not_observed_gives_zero(station, channels, grid):
    state, sd = torch.zeros(1, 4, *grid.shape), torch.ones(4, *grid.shape)
    missing = observed(station, torch.tensor([float("nan")]), mask=torch.tensor([False]))
    innovation, precision = gridded_innovations([missing], 0, state, sd, [0, 1, 2, 3])
    assert bool((innovation == 0).all() and (precision == 0).all())


def test_a_silent_gauge_above_the_forecast_is_no_departure(station, channels, grid):
    """A gauge reads its bound for all that is below: it does not say that a dry forecast errs."""
    state, sd = torch.full((1, 4, *grid.shape), -1.0), torch.ones(4, *grid.shape)
    silent = observed(station, torch.tensor([0.0]), bound=0.0)
    innovation, precision = gridded_innovations([silent], 0, state, sd, [1])
    assert float(innovation.abs().max()) == 0
    assert float(precision.max()) > 0
    wet = gridded_innovations([silent], 0, state + 3.0, sd, [1])[0]
    assert float(wet.min()) == pytest.approx(-2.0)


def test_a_gross_innovation_is_limited(station, channels, grid):
    state, sd = torch.zeros(1, 4, *grid.shape), torch.ones(4, *grid.shape)
    innovation, _ = gridded_innovations(
        [observed(station, torch.tensor([1e6]))], 0, state, sd, [1]
    )
    assert float(innovation.max()) == 10.0


def test_observed_channels_are_those_that_operators_depend_on(station, image, grid):
    shape = (4, *grid.shape)
    assert observed_channels([image, station], shape) == [1, 3]
    assert observed_channels([], shape) == []
