"""Footprints: areas of caps to rounding, means that conserve, and the adjoint."""

from __future__ import annotations

import math

import pytest
import torch

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import EARTH_RADIUS_KM, LatLonGrid, unit_vectors
from slams.observations.footprints import FootprintOperator, cap_overlap

OLR = FieldSpec.parse("outgoing_longwave_radiation")
CHANNELS = (FieldSpec.parse("2m_temperature"), OLR)


def grid(rows: int = 24, columns: int = 48) -> LatLonGrid:
    latitude = 90 - 180 / rows * (torch.arange(rows, dtype=torch.float64) + 0.5)
    return LatLonGrid(latitude, 360 / columns * torch.arange(columns, dtype=torch.float64))


@pytest.mark.parametrize("diameter", [50.0, 900.0, 5000.0, 12_000.0])
def test_shared_areas_sum_to_that_of_the_cap(diameter):
    latitude = torch.tensor([0.0, 3.3, 45.0, 86.0, 90.0, -90.0, -88.0, 60.0])
    longitude = torch.tensor([0.0, 359.0, 180.0, 10.0, 0.0, 33.0, 77.0, 181.0])
    radius = diameter / 2 / EARTH_RADIUS_KM
    overlap = cap_overlap(grid(), latitude, longitude, radius)
    expected = torch.full((8,), 2 * math.pi * (1 - math.cos(radius)), dtype=torch.float64)
    torch.testing.assert_close(overlap.sum(dim=(1, 2)), expected, rtol=2e-5, atol=0)
    assert float(overlap.min()) >= 0


def test_no_cell_shares_more_than_itself_and_a_wide_cap_all_of_it():
    g = grid()
    cell = g.weights / g.weights.sum() * 4 * math.pi / g.shape[1]
    overlap = cap_overlap(g, torch.tensor([20.0]), torch.tensor([100.0]), 0.4)[0]
    assert bool((overlap <= cell[:, None] * (1 + 1e-9)).all())
    lat, lon = g.points
    centre = unit_vectors(torch.tensor([20.0]), torch.tensor([100.0]))[0].double()
    apart = torch.acos((unit_vectors(lat, lon).double() @ centre).clamp(-1, 1)).reshape(g.shape)
    inner = apart < 0.4 - 0.2
    torch.testing.assert_close(overlap[inner], cell[:, None].expand(g.shape)[inner])
    assert float(overlap[apart > 0.4 + 0.2].sum()) == 0.0


def test_shared_areas_agree_with_counting_points():
    g = grid(12, 24)
    generator = torch.Generator().manual_seed(0)
    count = 400_000
    sine = 2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1
    lat = torch.rad2deg(torch.asin(sine))
    lon = 360 * torch.rand(count, generator=generator, dtype=torch.float64)
    row = torch.bucketize(-lat, -g.latitude_bounds[1:-1])
    column = torch.floor(lon / g.spacing + 0.5).long() % 24
    for latitude, longitude, radius in ((70.0, 5.0, 0.6), (-10.0, 200.0, 0.3)):
        centre = unit_vectors(torch.tensor([latitude]), torch.tensor([longitude]))[0].double()
        inside = unit_vectors(lat, lon).double() @ centre >= math.cos(radius)
        found = torch.zeros(12 * 24, dtype=torch.float64)
        found.index_add_(0, (row * 24 + column)[inside], torch.ones(int(inside.sum())).double())
        overlap = cap_overlap(g, torch.tensor([latitude]), torch.tensor([longitude]), radius)
        difference = found.reshape(12, 24) * 4 * math.pi / count - overlap[0]
        # Five standard deviations of a count.
        assert float(difference.abs().max()) < 5 * math.sqrt(float(overlap.max()) * 12.6 / count)


@pytest.fixture(scope="module")
def operator() -> FootprintOperator:
    return FootprintOperator(grid(), CHANNELS, OLR.name, 2, 1500.0)


def test_constants_stay_and_means_stay_inside(operator):
    state = torch.full((2, 24, 48), 240.0, dtype=torch.float64)
    torch.testing.assert_close(operator(state), torch.full((288,), 240.0).double())
    state = torch.randn(3, 2, 24, 48, dtype=torch.float64)
    seen = operator(state)
    assert float(seen.max()) < float(state[:, 1].max())
    assert float(seen.std()) < 0.7 * float(state[:, 1].std())


def test_rows_and_columns_of_the_image(operator):
    assert operator.image_shape == (12, 24)
    # A wave along longitude stays in phase with the centres, a little flatter.
    wave = torch.zeros(2, 24, 48, dtype=torch.float64)
    wave[1] = torch.cos(torch.deg2rad(grid().longitude))
    image = operator(wave).reshape(12, 24)
    expected = torch.cos(torch.deg2rad(operator.longitude.reshape(12, 24)))
    middle = image[5] / expected[5]
    assert float(middle.min()) == pytest.approx(float(middle.max()), rel=1e-9)
    # The mean of a cosine over a disc of radius r is 2 J1(r) / r of it, 1 - r^2 / 8.
    assert float(middle[0]) == pytest.approx(1 - (750 / EARTH_RADIUS_KM) ** 2 / 8, abs=2e-3)


def test_every_row_is_what_its_own_cap_gives(operator):
    g = grid()
    some = torch.tensor([3, 40, 100, 287])
    overlap = cap_overlap(
        g, operator.latitude[some], operator.longitude[some], 750 / EARTH_RADIUS_KM
    ).flatten(1)
    state = torch.randn(2, 24, 48, dtype=torch.float64)
    expected = overlap @ state[1].flatten() / overlap.sum(dim=1)
    torch.testing.assert_close(operator(state)[some], expected, rtol=1e-9, atol=1e-9)


def test_adjoint(operator):
    u = torch.randn(2, 24, 48, dtype=torch.float64)
    v = torch.randn(288, dtype=torch.float64)
    left, right = operator.linear(u) @ v, (u * operator.adjoint(v)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_faults_are_refused():
    with pytest.raises(UserError, match=r"footprint"):
        FootprintOperator(grid(), CHANNELS, OLR.name, 5, 500.0)
    for diameter in (0.0, -5.0, 25_000.0):
        with pytest.raises(UserError, match=r"satellite footprint of"):
            FootprintOperator(grid(), CHANNELS, OLR.name, 2, diameter)
