"""Physical, channel and normalised representations are inverses of one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from slams.fields import FieldSpec
from slams.normalisation import DAYS_PER_YEAR, TRANSFORMS, Normaliser, harmonic_basis

CHANNELS = tuple(
    FieldSpec.parse(n) for n in ("temperature@850", "total_precipitation_24hr", "2m_temperature")
)
SHAPE = (3, 4, 8)


def normaliser(order: int = 2) -> Normaliser:
    draw = torch.Generator().manual_seed(0)
    harmonics = torch.randn(2 * order + 1, *SHAPE, generator=draw)
    return Normaliser(CHANNELS, harmonics, torch.rand(SHAPE, generator=draw) + 0.5)


def physical(batch: int = 2, days: int = 3) -> torch.Tensor:
    return 5 * torch.rand(batch, days, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_basis_is_annual() -> None:
    time = torch.tensor([0.0, 100.0, 20000.5], dtype=torch.float64)
    basis = harmonic_basis(time, 2)
    assert basis.dtype == torch.float64
    phase = 2 * np.pi * time.numpy() / 365.2425
    expected = [np.ones(3), np.cos(phase), np.sin(phase), np.cos(2 * phase), np.sin(2 * phase)]
    np.testing.assert_allclose(basis.numpy(), np.stack(expected, axis=-1), atol=1e-12)
    torch.testing.assert_close(harmonic_basis(time + 30 * DAYS_PER_YEAR, 2), basis)
    assert harmonic_basis(time, 0).shape == (3, 1)


def test_climatology_is_the_sum_of_its_harmonics() -> None:
    one = normaliser(1)
    time = torch.tensor([[0.0, 100.0], [7300.0, 7301.0]], dtype=torch.float64)
    found = one.climatology(time)
    assert found.shape == (2, 2, *SHAPE)
    assert found.dtype == torch.float32
    for b in range(2):
        for t in range(2):
            phase = 2 * math.pi * float(time[b, t]) / 365.2425
            a, c, s = one.harmonics
            torch.testing.assert_close(
                found[b, t], a + c * math.cos(phase) + s * math.sin(phase), rtol=1e-5, atol=1e-5
            )


def test_channel_units_take_the_logarithm_of_precipitation_alone() -> None:
    one, x = normaliser(), physical()
    units = one.to_channel_units(x)
    torch.testing.assert_close(units[:, :, 1], torch.log(1 + x[:, :, 1]))
    assert torch.equal(units[:, :, [0, 2]], x[:, :, [0, 2]])
    torch.testing.assert_close(one.to_physical(units), x)
    # Rounding of a source may make drizzle negative; an analysis may be negative too.
    negative = -torch.ones(1, 1, *SHAPE)
    assert not one.to_channel_units(negative)[:, :, 1].any()
    assert not one.to_physical(negative)[:, :, 1].any()
    assert torch.equal(one.to_physical(negative)[:, :, 0], negative[:, :, 0])


def test_the_input_is_left_alone() -> None:
    one, x = normaliser(), physical()
    before = x.clone()
    one.to_physical(one.to_channel_units(x))
    assert torch.equal(x, before)


def test_normalising_and_back_for_states_and_ensembles() -> None:
    one, x = normaliser(), physical()
    climatology = one.climatology(torch.arange(6, dtype=torch.float64).reshape(2, 3))
    z = one.normalise(x, climatology)
    torch.testing.assert_close(z * one.sd + climatology, one.to_channel_units(x))
    torch.testing.assert_close(one.to_physical(one.denormalise(z, climatology)), x)
    members = torch.stack([z, 2 * z], dim=1)
    back = one.denormalise(members, climatology)
    torch.testing.assert_close(back[:, 0], one.to_channel_units(x))
    torch.testing.assert_close(back[:, 1], 2 * z * one.sd + climatology)


def test_missing_stays_missing() -> None:
    one, x = normaliser(), physical()
    x[0, 0, :, 0, 0] = torch.nan
    climatology = one.climatology(torch.zeros(2, 3, dtype=torch.float64))
    z = one.normalise(x, climatology)
    assert torch.equal(torch.isnan(z), torch.isnan(x))
    back = one.to_physical(one.denormalise(z, climatology))
    assert torch.equal(torch.isnan(back), torch.isnan(x))


@pytest.mark.parametrize(
    ("harmonics", "sd", "words"),
    [
        ((5, 3, 4, 8), (3, 4, 9), "disagree"),
        ((5, 2, 4, 8), (2, 4, 8), "3 channels disagree"),
    ],
)
def test_refuses_shapes_that_disagree(harmonics, sd, words) -> None:
    with pytest.raises(ValueError, match=words):
        Normaliser(CHANNELS, torch.zeros(harmonics), torch.ones(sd))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_refuses_a_standard_deviation_that_is_not_positive(bad: float) -> None:
    sd = torch.ones(SHAPE)
    sd[1, 2, 3] = bad
    with pytest.raises(ValueError, match="positive"):
        Normaliser(CHANNELS, torch.zeros(1, *SHAPE), sd)


HUMID = (FieldSpec.parse("temperature@850"), FieldSpec.parse("specific_humidity@850"))


def humid() -> Normaliser:
    return Normaliser(HUMID, torch.zeros(1, 2, 4, 8), torch.ones(2, 4, 8))


def test_humidity_of_four_decades_comes_back_from_its_root() -> None:
    x = torch.logspace(-6, -1.5, 64, dtype=torch.float32).reshape(1, 1, 2, 4, 8)
    one = humid()
    units = one.to_channel_units(x)
    torch.testing.assert_close(units[:, :, 1], x[:, :, 1].sqrt())
    assert torch.equal(units[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(one.to_physical(units), x, rtol=1e-6, atol=0)
    assert HUMID[1].channel_units == "sqrt(kg kg-1)"


def test_humidity_of_zero_and_of_noise_below_zero_is_zero() -> None:
    one = humid()
    for value in (0.0, -1e-9, -1e-4):
        x = torch.full((1, 1, 2, 4, 8), value)
        assert not one.to_channel_units(x)[:, :, 1].any()
        # An analysis that falls below zero in channel units is dry, not wet again.
        assert not one.to_physical(x)[:, :, 1].any()
    tiny = torch.full((1, 1, 2, 4, 8), 1e-12)
    torch.testing.assert_close(one.to_physical(one.to_channel_units(tiny)), tiny)
    missing = torch.full((1, 1, 2, 4, 8), torch.nan)
    assert one.to_physical(one.to_channel_units(missing)).isnan().all()


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_a_transform_is_the_same_for_tensors_and_arrays(name: str) -> None:
    values = torch.tensor([-1.0, 0.0, 1e-9, 2e-3, 3.0, torch.nan], dtype=torch.float64)
    transform = TRANSFORMS[name]
    forward = transform.forward(values)
    found = transform.forward_array(values.numpy())
    np.testing.assert_allclose(found, forward.numpy(), rtol=1e-15)
    known = values[1:5]
    torch.testing.assert_close(transform.inverse(transform.forward(known)), known)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_error_is_multiplied_by_the_slope_of_the_transform(name: str) -> None:
    transform = TRANSFORMS[name]
    values, error, step = np.array([0.3, 2.0, 50.0]), np.array([1e-3, 0.2, 4.0]), 1e-6
    ends = (transform.forward_array(values + sign * step) for sign in (1, -1))
    slope = (next(ends) - next(ends)) / (2 * step)
    np.testing.assert_allclose(transform.error(values, error), slope * error, rtol=1e-6)


def test_the_error_of_a_root_is_finite_at_zero() -> None:
    found = TRANSFORMS["square_root"].error(np.array([0.0, -1e-9]), np.array([4e-4, 4e-4]))
    np.testing.assert_allclose(found, 0.01)


def test_each_step_of_the_day_has_its_own_climatology() -> None:
    """At 06 UTC only the second set of coefficients counts, whatever the others are."""
    size, shape = 3, (len(CHANNELS), *SHAPE[1:])
    harmonics = torch.randn(4 * size, *shape)
    normaliser = Normaliser(CHANNELS, harmonics, torch.ones(shape), per_day=4)
    time = torch.tensor([[100.25, 100.5], [3.0, -0.25]], dtype=torch.float64)
    found = normaliser.climatology(time)
    for index, step in (((0, 0), 1), ((0, 1), 2), ((1, 0), 0), ((1, 1), 3)):
        alone = Normaliser(CHANNELS, harmonics[step * size : (step + 1) * size], torch.ones(shape))
        expected = alone.climatology(time[index].reshape(1, 1))[0, 0]
        torch.testing.assert_close(found[index], expected)
    # The basis of the fit is the same function.
    basis = harmonic_basis(time, 1, per_day=4).float()
    by_basis = torch.einsum("btk,kchw->btchw", basis, harmonics)
    torch.testing.assert_close(found, by_basis, rtol=1e-4, atol=1e-5)
