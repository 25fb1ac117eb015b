"""Cells of images: area means, whichever grid is finer, and the adjoint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.blocks import BlockOperator
from slams.observations.image_cells import ImageCellOperator, ImageGrid

OLR = FieldSpec.parse("outgoing_longwave_radiation")
CHANNELS = (FieldSpec.parse("2m_temperature"), OLR)


def grid(rows: int = 12, columns: int = 24) -> LatLonGrid:
    latitude = 90 - 180 / rows * (torch.arange(rows, dtype=torch.float64) + 0.5)
    return LatLonGrid(latitude, 360 / columns * torch.arange(columns, dtype=torch.float64))


def noaa() -> ImageGrid:
    """Return the grid of NOAA's OLR, 2.5 degrees with rows at the poles."""
    return ImageGrid.of_rows(
        torch.linspace(90, -90, 73, dtype=torch.float64),
        2.5 * torch.arange(144, dtype=torch.float64),
        2.5,
    )


def region() -> ImageGrid:
    """Return a region of 3 degrees across the meridian of 0."""
    return ImageGrid.of_rows(
        torch.tensor([31.0, 28.0, 25.0], dtype=torch.float64),
        torch.tensor([0.5, 3.5, 354.5, 357.5], dtype=torch.float64),
        3.0,
    )


IMAGES = {"noaa": noaa(), "region": region(), "blocks": ImageGrid.of_blocks(grid(), 2)}


@pytest.mark.parametrize("name", IMAGES)
def test_the_adjoint_is_the_transpose(name):
    operator = ImageCellOperator(grid(), CHANNELS, OLR.name, IMAGES[name])
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(3, 2, 12, 24, generator=generator, dtype=torch.float64)
    values = torch.randn(3, len(operator), generator=generator, dtype=torch.float64)
    one = (operator.linear(state) * values).sum()
    other = (state * operator.adjoint(values)).sum()
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", IMAGES)
def test_a_constant_is_seen_as_it_is(name):
    operator = ImageCellOperator(grid(), CHANNELS, OLR.name, IMAGES[name])
    state = torch.zeros(2, 12, 24, dtype=torch.float64)
    state[1] = 240.0
    seen = operator(state)
    torch.testing.assert_close(seen, torch.full_like(seen, 240.0), rtol=1e-13, atol=0)


def test_cells_that_are_blocks_of_the_model_are_seen_as_its_footprints():
    g, generator = grid(), torch.Generator().manual_seed(1)
    state = torch.randn(2, 12, 24, generator=generator, dtype=torch.float64)
    for block in (1, 2, 3):
        footprints = BlockOperator(g, CHANNELS, OLR.name, block, "block")
        cells = ImageCellOperator(g, CHANNELS, OLR.name, ImageGrid.of_blocks(g, block))
        torch.testing.assert_close(cells(state), footprints(state), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(cells.latitude, footprints.latitude)
        torch.testing.assert_close(cells.longitude, footprints.longitude)


def test_a_cell_inside_one_of_the_model_sees_its_value_and_one_across_two_their_mean():
    # Cells of the model are 15 degrees wide, centred on 0, 15, ...; rows are 15 high from 90.
    state = torch.arange(2 * 12 * 24, dtype=torch.float64).reshape(2, 12, 24)
    image = ImageGrid.of_rows(
        torch.tensor([41.0, 37.0], dtype=torch.float64),
        torch.tensor([1.0, 8.5], dtype=torch.float64),
        4.0,
    )
    seen = ImageCellOperator(grid(), CHANNELS, OLR.name, image)(state).reshape(2, 2)
    row = state[1, 3]  # 45 to 30 degrees north
    # 6.5 to 10.5 east: a quarter in the cell that ends at 7.5.
    expected = torch.stack([row[0], 0.25 * row[0] + 0.75 * row[1]]).expand(2, 2)
    torch.testing.assert_close(seen, expected, rtol=1e-12, atol=0)


def test_the_mean_over_the_globe_is_that_of_the_state():
    image = noaa()
    state = torch.rand(2, 12, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    seen = ImageCellOperator(grid(), CHANNELS, OLR.name, image)(state).reshape(image.shape)
    sine = np.sin(np.deg2rad(image.bounds.numpy()))
    area = torch.from_numpy(sine[:-1] - sine[1:])
    mean = (seen.mean(dim=1) * area).sum() / area.sum()
    expected = (state[1].mean(dim=1) * grid().weights).mean()
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=0)


def test_a_cell_touches_what_it_sees():
    operator = ImageCellOperator(grid(), CHANNELS, OLR.name, region())
    points = torch.zeros(2, 12, 24, dtype=torch.bool)
    points[1, 4, 0] = True  # 30 to 15 north, -7.5 to 7.5 east
    assert operator.touches(points).reshape(3, 4).any(dim=1).tolist() == [True, True, True]
    points[:] = False
    points[0] = True
    assert not bool(operator.touches(points).any())
