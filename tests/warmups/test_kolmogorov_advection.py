"""Vorticity that is carried along: uniform motion, and the flow itself."""

from __future__ import annotations

import pytest
import torch

from slams.runtime.seeds import generator
from slams.warmups.kolmogorov_advection import carried, carry_pairs
from slams.warmups.kolmogorov_flow import KolmogorovFlow


def test_pairs_are_one_or_two_states_apart() -> None:
    assert carry_pairs(3) == [(0, 1), (1, 2), (0, 2), (1, 0), (2, 1), (2, 0)]
    assert len(set(carry_pairs(5))) == 14
    assert {abs(source - target) for source, target in carry_pairs(5)} == {1, 2}


@pytest.mark.parametrize("points", [(3.0, -2.0), (11.0, 5.0)])
def test_of_a_uniform_motion_every_state_is_any_other(points: tuple[float, float]) -> None:
    along, up = (int(p) for p in points)
    first = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    w = torch.stack([first.roll((up * i, along * i), (-2, -1)) for i in range(4)], dim=1)
    displacement = torch.tensor(points)[:, None, None].expand(2, 4, 2, 16, 16)
    found = carried(w, displacement)
    expected = w[:, [target for _, target in carry_pairs(4)]]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert not torch.allclose(carried(w, 0 * displacement), expected, atol=0.5)


def test_the_flow_carries_its_vorticity() -> None:
    # States as far apart as those of the recipe, of a flow that nothing drives or slows.
    flow, interval = KolmogorovFlow(128, reynolds=1e4, forcing=0.0, drag=0.0), 0.2
    w = [flow.random_phases(1, 0.5, 4.0, generator(0, "x"))]
    for _ in range(2):
        w.append(flow.advance(w[-1], interval, 50))
    states = torch.stack(w, dim=1)
    found = carried(states, flow.velocity(states) * interval * 128 / (2 * torch.pi))
    for index, (source, target) in enumerate(carry_pairs(3)):
        truth = states[:, target]
        still = (states[:, source] - truth).square().mean().sqrt()
        left = (found[:, index] - truth).square().mean().sqrt()
        assert left < (0.25 if abs(source - target) == 1 else 0.4) * still, (source, target, left)
