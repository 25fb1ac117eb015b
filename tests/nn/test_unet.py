"""The latent U-Net: symmetries, what it is told, and latent grids that it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.errors import UserError
from slams.nn.unet import LatentUNet
from tests.nn.test_layers import randomise

SIZE = (3, 2, 4, 6, 12)  # B, T, K, h, w


def network(channels: tuple[int, ...] = (8, 16), position: bool = False) -> LatentUNet:
    net = randomise(LatentUNet(4, 2, (6, 12), channels, blocks=1, embedding=16))
    if not position:
        net.position.data.zero_()
    return net


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    z, condition = (torch.randn(SIZE, generator=draw) for _ in range(2))
    return z, torch.tensor([-1.0, 0.5, 2.0]), condition, torch.tensor([0.1, 0.4, 0.9])


@pytest.mark.parametrize(("channels", "shift"), [((8,), 1), ((8, 16), 2), ((8, 16), 6)])
def test_commutes_with_turns_by_whole_cells_of_its_coarsest_grid(channels, shift) -> None:
    z, log_sigma, condition, season = inputs()
    net = network(channels)
    turned = net(z.roll(shift, -1), log_sigma, condition.roll(shift, -1), season=season)
    straight = net(z, log_sigma, condition, season=season).roll(shift, -1)
    torch.testing.assert_close(turned, straight, rtol=1e-4, atol=1e-4)
    # The position embedding breaks the symmetry on purpose.
    net = network(channels, position=True)
    turned = net(z.roll(shift, -1), log_sigma, condition.roll(shift, -1), season=season)
    assert not torch.allclose(
        turned, net(z, log_sigma, condition, season=season).roll(shift, -1), atol=1e-2
    )


def test_starts_at_zero_so_that_the_denoiser_starts_at_its_skip() -> None:
    z, log_sigma, condition, season = inputs()
    net = LatentUNet(4, 2, (6, 12), (8, 16), blocks=1, embedding=16)
    assert not net(z, log_sigma, condition, season=season).any()


def test_a_hidden_condition_has_no_influence() -> None:
    z, log_sigma, condition, season = inputs()
    net, known = network(), torch.tensor([True, False, True])
    one = net(z, log_sigma, condition, known, season)
    other = net(z, log_sigma, condition + 5.0, known, season)
    without = net(z, log_sigma, season=season)
    assert torch.equal(one[1], other[1])
    assert not torch.allclose(one[0], other[0])
    torch.testing.assert_close(one[1], without[1], rtol=1e-5, atol=1e-5)
    # A condition of zero is not a hidden one: the mean state is news too.
    zero = net(z, log_sigma, torch.zeros_like(condition), season=season)
    assert not torch.allclose(zero, without, atol=1e-3)
    torch.testing.assert_close(one[0], net(z, log_sigma, condition, season=season)[0])


def test_the_age_of_the_condition_matters_and_is_one_where_it_is_not_given() -> None:
    z, log_sigma, condition, season = inputs()
    net = network()
    usual = net(z, log_sigma, condition, season=season)
    found = net(z, log_sigma, condition, torch.tensor([1.0, 1.5, 0.0]), season)
    torch.testing.assert_close(found[0], usual[0])
    assert not torch.allclose(found[1], usual[1], atol=1e-3)
    without = net(z, log_sigma, season=season)
    torch.testing.assert_close(found[2], without[2], rtol=1e-5, atol=1e-5)


def test_the_season_is_periodic_and_matters() -> None:
    z, log_sigma, condition, season = inputs()
    net = network()
    one = net(z, log_sigma, condition, season=season)
    torch.testing.assert_close(
        net(z, log_sigma, condition, season=season + 1), one, rtol=1e-4, atol=1e-4
    )
    for shift in (0.25, 0.5):
        assert not torch.allclose(
            net(z, log_sigma, condition, season=season + shift), one, atol=1e-2
        )


def test_noise_level_matters_and_may_be_one_for_all() -> None:
    z, log_sigma, condition, season = inputs()
    net = network()
    one = net(z, torch.tensor(0.5), condition, season=season)
    torch.testing.assert_close(
        one, net(z, torch.full((3,), 0.5), condition, season=season), rtol=1e-5, atol=1e-5
    )
    assert not torch.allclose(one, net(z, log_sigma, condition, season=season), atol=1e-2)


def test_samples_of_a_batch_do_not_mix() -> None:
    z, log_sigma, condition, season = inputs()
    net = network(position=True)
    whole = net(z, log_sigma, condition, season=season)
    alone = net(z[1:2], log_sigma[1:2], condition[1:2], season=season[1:2])
    torch.testing.assert_close(whole[1:2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "count"), [((7, 12), 2), ((31, 60), 3), ((5, 9), 3)])
def test_grids_that_cannot_be_halved_are_padded_inside(shape: tuple[int, int], count: int) -> None:
    """Where blocks pass on what was skipped, the features before the last layer are the first."""
    net = LatentUNet(4, 2, shape, (8,) * count, blocks=1, embedding=16)
    torch.nn.init.normal_(net.position, generator=torch.Generator().manual_seed(1))
    for stage in net.up:
        stage[0].skip.weight.data.zero_()
        stage[0].skip.weight.data[:, 8:, 0, 0] = torch.eye(8)
        stage[0].skip.bias.data.zero_()
    features = []
    net.entry.register_forward_hook(lambda _, __, result: features.append(result + net.position))
    net.norm.register_forward_hook(lambda _, given, __: features.append(given[0]))
    z = torch.randn(3, 2, 4, *shape, generator=torch.Generator().manual_seed(3))
    assert net(z, torch.zeros(3)).shape == z.shape
    torch.testing.assert_close(features[1], features[0])


def test_a_padded_grid_commutes_with_turns_of_its_coarsest_columns() -> None:
    """Rows are added along meridians: the globe turns as before where columns are halved."""
    net = randomise(LatentUNet(4, 1, (7, 12), (8, 8, 8), blocks=1, embedding=16))
    net.position.data.zero_()
    z = torch.randn(2, 1, 4, 7, 12, generator=torch.Generator().manual_seed(4))
    turned = net(z.roll(4, -1), torch.zeros(2))
    torch.testing.assert_close(turned, net(z, torch.zeros(2)).roll(4, -1), rtol=1e-4, atol=1e-4)


def test_refuses_a_latent_grid_that_is_too_small_to_be_halved() -> None:
    with pytest.raises(UserError, match=r"score.channels: 4 resolutions .* 8 x 8 .* 6 x 12"):
        LatentUNet(4, 1, (6, 12), (8, 8, 8, 8))
