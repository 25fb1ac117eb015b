"""The recurrent filter: what it does untrained, longitude, grids of odd size, restarts."""

from __future__ import annotations

import pytest
import torch

from slams.nn.recurrent import LIMIT, RecurrentFilter
from tests.nn.test_layers import randomise


def network(shape=(12, 24), seed=None, **changes) -> RecurrentFilter:
    settings = {"hidden": 8, "widths": (8, 16), "blocks": 1, "embedding": 8, **changes}
    made = RecurrentFilter(3, 2, shape, **settings)
    if seed is not None:
        randomise(made, seed)
    return made.eval()


def inputs(shape=(12, 24), count=2) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(1)
    innovation, precision = (torch.randn(count, 2, *shape, generator=draw) for _ in range(2))
    return innovation, precision.abs(), torch.full((count,), 0.3)


def test_an_untrained_filter_forgets_its_state_and_goes_to_the_climatology():
    made, given = network().requires_grad_(False), inputs()
    state = torch.randn(2, 3, 12, 24)
    memory = made.start(2, state)
    analysis, memory = made(memory, *given)
    torch.testing.assert_close(analysis, state)
    torch.testing.assert_close(memory.forecast, 0.85 * state)
    for _ in range(60):
        _, memory = made(memory, *given)
    assert float(memory.forecast.abs().max()) < 1e-3
    assert memory.age.tolist() == [61.0, 61.0]


def test_estimates_stay_within_the_limit_whatever_the_weights():
    made = network(seed=0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(30.0)
        memory = made.start(2)
        for _ in range(5):
            analysis, memory = made(memory, *inputs())
    assert float(analysis.abs().max()) <= LIMIT
    assert float(memory.forecast.abs().max()) <= LIMIT


def test_the_filter_commutes_with_a_turn_of_the_globe():
    made = network(seed=0)
    made.network.position.data.zero_()
    memory, given = made.start(2, torch.randn(2, 3, 12, 24)), inputs()
    turned = made.start(2, memory.forecast.roll(4, -1))
    moved = [x.roll(4, -1) for x in given[:2]]
    with torch.no_grad():
        analysis, after = made(memory, *given)
        other, later = made(turned, *moved, given[2])
    torch.testing.assert_close(analysis.roll(4, -1), other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.forecast.roll(4, -1), later.forecast, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(11, 24), (13, 26)])
def test_grids_that_blocks_do_not_divide_keep_their_size(shape):
    made = network(shape, seed=0)
    with torch.no_grad():
        analysis, memory = made(made.start(2), *inputs(shape))
    assert analysis.shape == memory.forecast.shape == (2, 3, *shape)


def test_cycles_that_are_not_kept_start_from_the_climatology():
    made = network(seed=0)
    with torch.no_grad():
        _, memory = made(made.start(2, torch.randn(2, 3, 12, 24)), *inputs())
        mixed = memory.where(torch.tensor([True, False]))
        _, both = made(mixed, *inputs())
        _, fresh = made(made.start(2), *inputs())
    torch.testing.assert_close(both.forecast[1], fresh.forecast[1])
    torch.testing.assert_close(mixed.forecast[0], memory.forecast[0])
    assert mixed.age.tolist() == [1.0, 0.0]
