"""What every observation operator must satisfy."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from slams.errors import UserError
from slams.observations.degradations import DegradedOperator
from slams.observations.satellite import SatelliteOperator
from slams.observations.stations import StationOperator

# Both poles, both sides of the date line, a grid point, two stations in one place.
LATITUDE = torch.tensor([90.0, -90, 88, -87.5, 10, 10, 52, 3, 3], dtype=torch.float64)
LONGITUDE = torch.tensor([0.0, 77, 200, -30, 180, -179.9, 15, 359.5, 359.5], dtype=torch.float64)


@pytest.fixture(params=["stations", "satellite", "degraded", "uneven gap"])
def operator(request, grid, channels):
    match request.param:
        case "stations":
            elevation = torch.linspace(0, 2000, len(LATITUDE), dtype=torch.float64)
            terrain = torch.full(grid.shape, 300.0, dtype=torch.float64)
            return StationOperator(
                grid, channels, "2m_temperature", LATITUDE, LONGITUDE, elevation, terrain
            )
        case "satellite":
            return SatelliteOperator(grid, channels, "outgoing_longwave_radiation", 3)
        case "degraded":
            return DegradedOperator(grid, channels, "temperature@850", block=2, gap=2)
        case _:
            return DegradedOperator(grid, channels, "temperature@850", block=1, gap=5)


def test_adjoint_dot_product(operator, generator):
    u = torch.randn(3, 2, 4, 12, 24, generator=generator, dtype=torch.float64)
    v = torch.randn(3, 2, len(operator), generator=generator, dtype=torch.float64)
    left = (operator.linear(u) * v).sum()
    right = (u * operator.adjoint(v)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-13)
    assert operator.adjoint(v).shape == u.shape


def test_gradient_is_the_adjoint(operator, generator):
    state = torch.randn(2, 4, 12, 24, generator=generator, dtype=torch.float64)
    state.requires_grad_()
    cotangent = torch.randn(2, len(operator), generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(operator(state), state, cotangent)
    torch.testing.assert_close(gradient, operator.adjoint(cotangent))
    assert torch.autograd.gradcheck(operator.adjoint, (cotangent.requires_grad_(),))


def test_constant_field_is_observed_as_the_constant(operator):
    state = torch.full((4, 12, 24), 273.0, dtype=torch.float64)
    torch.testing.assert_close(
        operator.linear(state), torch.full((len(operator),), 273.0, dtype=torch.float64)
    )


def test_affine_with_the_stated_offset(operator, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    offset = operator(torch.zeros_like(state))
    torch.testing.assert_close(operator(state), operator.linear(state) + offset)
    if operator.offset is None:
        assert float(offset.abs().max()) == 0
    else:
        torch.testing.assert_close(offset, operator.offset)


def test_leading_dimensions_are_batches_and_other_channels_unseen(operator, generator):
    state = torch.randn(3, 5, 4, 12, 24, generator=generator, dtype=torch.float64)
    together = operator(state)
    assert together.shape == (3, 5, len(operator))
    alone = torch.stack([operator(s) for s in state.flatten(0, 1)]).unflatten(0, (3, 5))
    assert torch.equal(together, alone)
    others = [c for c in range(4) if c != operator.channel]
    state[..., others, :, :] = torch.nan
    assert torch.equal(operator(state), together)


def test_single_precision_stays_single_and_close(operator, generator):
    state = torch.randn(4, 12, 24, generator=generator, dtype=torch.float64)
    single = operator(state.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), operator(state), rtol=1e-5, atol=1e-5)
    assert operator.adjoint(single).dtype == torch.float32


def test_a_point_touches_what_it_has_weight_on(operator, generator):
    unit = torch.zeros(12 * 24, 4, 12 * 24, dtype=torch.float64)
    unit[:, operator.channel] = torch.eye(12 * 24, dtype=torch.float64)
    matrix = operator.linear(unit.unflatten(-1, (12, 24))).T  # (P, H * W)
    missing = torch.rand(4, 12, 24, generator=generator) < 0.2
    expected = (matrix[:, missing[operator.channel].reshape(-1)] > 0).any(dim=1)
    assert torch.equal(operator.touches(missing), expected)
    assert bool(expected.any())
    assert not bool(expected.all())
    others = torch.ones(4, 12, 24, dtype=torch.bool)
    others[operator.channel] = False
    assert not bool(operator.touches(others).any())


def test_positions_have_one_entry_a_point(operator):
    assert operator.latitude.shape == operator.longitude.shape == (len(operator),)
    assert float(operator.latitude.abs().max()) <= 90


def test_moving_leaves_the_original_and_moves_everything(operator):
    moved = operator.to("meta")
    assert operator.latitude.device.type == "cpu"
    assert moved(torch.zeros(2, 4, 12, 24, device="meta")).shape == (2, len(operator))
    assert {v.device.type for v in vars(moved).values() if isinstance(v, torch.Tensor)} == {"meta"}


def test_copies_and_pickles_observe_the_same(operator, generator):
    state = torch.randn(4, 12, 24, generator=generator)
    for twin in (pickle.loads(pickle.dumps(operator)), copy.deepcopy(operator)):
        assert torch.equal(twin(state), operator(state))


def test_works_under_function_transforms(operator, generator):
    state = torch.randn(3, 4, 12, 24, generator=generator, dtype=torch.float64)
    tangent = torch.randn(3, 4, 12, 24, generator=generator, dtype=torch.float64)
    observed, forward = torch.func.jvp(operator, (state,), (tangent,))
    torch.testing.assert_close(observed, operator(state))
    torch.testing.assert_close(forward, operator.linear(tangent))
    torch.testing.assert_close(torch.func.vmap(operator)(state), operator(state))


def test_refuses_a_state_of_another_shape(operator):
    with pytest.raises(ValueError, match="expected"):
        operator(torch.zeros(3, 12, 24))


@pytest.mark.parametrize("make", [SatelliteOperator, DegradedOperator])
def test_refuses_a_channel_that_is_not_there(make, grid, channels):
    with pytest.raises(UserError, match=r"temperature@500.*does not exist; found temperature@850"):
        make(grid, channels, "temperature@500", 1)


def test_states_its_units(grid, channels):
    assert SatelliteOperator(grid, channels, "outgoing_longwave_radiation", 2).units == "W m-2"
    operator = StationOperator(grid, channels, "total_precipitation_24hr", LATITUDE, LONGITUDE)
    assert operator.units == "log(1 + mm day-1)"
