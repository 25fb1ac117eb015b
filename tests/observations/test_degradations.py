from __future__ import annotations

import pytest
import torch

from slams.errors import UserError
from slams.observations.degradations import DegradedOperator


def test_without_degradation_the_channel_is_seen_as_it_is(grid, channels, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    operator = DegradedOperator(grid, channels, "temperature@850")
    torch.testing.assert_close(operator(state), state[0].reshape(-1))
    assert torch.equal(operator.latitude, grid.points[0])


@pytest.mark.parametrize(("gap", "shape"), [(4, (3, 6)), (5, (3, 5)), (12, (1, 2))])
def test_gap_keeps_every_so_many_points(grid, channels, generator, gap, shape):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    operator = DegradedOperator(grid, channels, "temperature@850", gap=gap)
    torch.testing.assert_close(operator(state).reshape(shape), state[0, ::gap, ::gap])
    latitude, longitude = (p.reshape(12, 24) for p in grid.points)
    assert torch.equal(operator.latitude.reshape(shape), latitude[::gap, ::gap])
    assert torch.equal(operator.longitude.reshape(shape), longitude[::gap, ::gap])


def test_blocks_are_averaged_before_the_gap(grid, channels, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    operator = DegradedOperator(grid, channels, "temperature@850", block=2, gap=3)
    w, f = grid.weights, state[0]
    cells = w[6] * (f[6, 6] + f[6, 7]) + w[7] * (f[7, 6] + f[7, 7])
    image = operator(state).reshape(2, 4)
    torch.testing.assert_close(image[1, 1], cells / (2 * (w[6] + w[7])))
    assert float(operator.latitude.reshape(2, 4)[1, 1]) == pytest.approx((-8 - 23) / 2)


@pytest.mark.parametrize(
    ("block", "gap", "message"),
    [
        (8, 1, "degradation block 8 does not divide the 12 x 24 grid; nearest that do: 3, 4, 6"),
        (2, 0, "gap 0: expected between 1 and 6"),
        (2, 7, "gap 7: expected between 1 and 6, .* 6 x 12 lattice"),
    ],
)
def test_refuses_what_does_not_fit_the_grid(grid, channels, block, gap, message):
    with pytest.raises(UserError, match=message):
        DegradedOperator(grid, channels, "temperature@850", block=block, gap=gap)
