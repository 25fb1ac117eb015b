from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.observations.satellite import SatelliteOperator, swath_mask

OLR = "outgoing_longwave_radiation"


def test_footprint_is_the_area_weighted_mean_of_its_cells(grid, channels, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    operator = SatelliteOperator(grid, channels, OLR, 2)
    assert operator.image_shape == (6, 12)
    image = operator(state).reshape(6, 12)
    w, f = grid.weights, state[3]
    cells = w[0] * (f[0, 4] + f[0, 5]) + w[1] * (f[1, 4] + f[1, 5])
    torch.testing.assert_close(image[0, 2], cells / (2 * (w[0] + w[1])))
    # The two rows of the polar footprint have unlike areas: a plain mean would be wrong.
    assert float((image[0, 2] - f[:2, 4:6].mean()).abs()) > 0.02


def test_footprints_keep_the_global_mean(grid, channels, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    for footprint in (1, 2, 3, 4, 6):
        operator = SatelliteOperator(grid, channels, OLR, footprint)
        coarse = grid.coarsen(footprint) if footprint > 1 else grid
        image = operator(state).reshape(coarse.shape)
        mean = (coarse.weights[:, None] * image).mean()
        torch.testing.assert_close(mean, (grid.weights[:, None] * state[3]).mean())
        assert torch.equal(operator.latitude, coarse.points[0])


def test_footprint_that_does_not_divide_the_grid_is_refused(grid, channels):
    message = "satellite footprint 5 does not divide the 12 x 24 grid; nearest that do: 3, 4, 6"
    with pytest.raises(UserError, match=message):
        SatelliteOperator(grid, channels, OLR, 5)


@pytest.fixture(scope="module")
def footprints() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions and areas of the footprints of the 48 x 96 Gaussian grid, two cells wide."""
    nodes = np.polynomial.legendre.leggauss(48)[0][::-1]
    grid = LatLonGrid(
        torch.tensor(np.degrees(np.arcsin(nodes)).copy()),
        torch.arange(96, dtype=torch.float64) * 3.75,
    ).coarsen(2)
    return (*grid.points, grid.weights.repeat_interleave(48) / (24 * 48))


@pytest.mark.parametrize("coverage", [0.1, 0.3, 0.5, 0.85])
@pytest.mark.parametrize("first", [0.0, 18993.0])
def test_swaths_cover_the_asked_share_of_the_globe(footprints, coverage, first):
    latitude, longitude, area = footprints
    days = first + torch.arange(30, dtype=torch.float64)
    seen = swath_mask(latitude, longitude, days, coverage)
    share = (seen * area).sum(dim=1)
    assert float(share.mean()) == pytest.approx(coverage, abs=0.02)
    assert float((share - coverage).abs().max()) < 0.05
    # No latitude is favoured, and every place is seen sooner or later.
    rows = seen.to(torch.float64).mean(dim=0).reshape(24, 48).mean(dim=1)
    assert float((rows - coverage).abs().max()) < 0.05
    assert bool(seen.any(dim=0).all())


def test_swaths_move_and_depend_on_the_date_alone(footprints):
    latitude, longitude, _ = footprints
    times = torch.tensor([[100.0, 101.0], [102.0, 100.0]], dtype=torch.float64)
    seen = swath_mask(latitude, longitude, times, 0.5)
    assert seen.shape == (2, 2, len(latitude))
    assert torch.equal(seen[0, 0], seen[1, 1])
    assert torch.equal(seen[0, 1], swath_mask(latitude, longitude, 101.75, 0.5))
    assert torch.equal(seen[0, 1], swath_mask(latitude.float(), longitude.float(), 101, 0.5))
    for a, b in ((0, 1), (1, 2)):
        moved = (seen.reshape(4, -1)[a] != seen.reshape(4, -1)[b]).double().mean()
        assert float(moved) > 0.2
    some = torch.arange(0, len(latitude), 7)
    assert torch.equal(swath_mask(latitude[some], longitude[some], 100, 0.5), seen[0, 0, some])


def test_swaths_are_slanted_bands(footprints):
    # Fine points show the shape: 14 bands at a latitude, further west at higher latitudes.
    longitude = torch.arange(3600, dtype=torch.float64) / 10
    edges = []
    for latitude in (-40.0, 0.0, 40.0):
        seen = swath_mask(torch.full_like(longitude, latitude), longitude, 7, 0.4)
        starts = (seen & ~seen.roll(1)).nonzero().reshape(-1)
        assert len(starts) == 14
        edges.append(float(starts[0]) / 10)
    spacing = 360 / 14
    shift = [(b - a + spacing / 2) % spacing - spacing / 2 for a, b in pairwise(edges)]
    # Ascending tracks run north-westwards: about 10 degrees of longitude in 40 of latitude.
    assert all(-13 < s < -7 for s in shift)


def test_full_coverage_sees_everything(footprints):
    latitude, longitude, _ = footprints
    seen = swath_mask(latitude, longitude, torch.arange(5.0), 1.0)
    assert seen.shape == (5, len(latitude))
    assert bool(seen.all())


@pytest.mark.parametrize("coverage", [0.0, -0.5, 1.2, float("nan")])
def test_coverage_outside_its_range_is_refused(footprints, coverage):
    with pytest.raises(UserError, match=r"coverage .* expected in \(0, 1\]"):
        swath_mask(footprints[0], footprints[1], 0.0, coverage)


def test_the_steps_of_a_day_see_what_the_day_sees(footprints):
    latitude, longitude, _ = footprints
    for coverage in (0.4, 1.0):
        day = swath_mask(latitude, longitude, 100.0, coverage)
        times = 100 + torch.arange(4, dtype=torch.float64) / 4
        steps = swath_mask(latitude, longitude, times, coverage, step=0.25)
        # Each point once: no step sees what another one does.
        assert torch.equal(steps.sum(dim=0), day.long())
        # 14 tracks cannot be shared equally by four steps: three or four each.
        share = steps.double().mean(dim=1) / coverage
        assert ((share > 0.15) & (share < 0.35)).all()
    later = swath_mask(latitude, longitude, 100.49, 0.4, step=0.25)
    assert torch.equal(later, swath_mask(latitude, longitude, times, 0.4, step=0.25)[1])
