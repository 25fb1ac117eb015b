"""Networks in bfloat16 give nearly what they gave, in single precision."""

from __future__ import annotations

import torch
from torch import nn

from slams.diffusion.backend import KarrasDenoiser, VESchedule, time_of_sigma
from slams.nn.network_mean import NetworkMean
from slams.nn.precision import Bfloat16, natural_precision
from slams.nn.unet import LatentUNet


def unet(seed: int) -> LatentUNet:
    torch.manual_seed(seed)
    network = LatentUNet(3, 1, (4, 8), channels=(8, 16), blocks=1, embedding=8)
    nn.init.normal_(network.exit.weight, std=0.1)
    return network.eval()


def test_a_network_in_bfloat16_gives_single_precision_with_fewer_digits():
    network = nn.Conv2d(4, 4, 3, padding=1)
    x = torch.randn(2, 4, 8, 8)
    exact, found = network(x), Bfloat16(network)(x)
    assert found.dtype == torch.float32
    assert network.weight.dtype == torch.float32
    error = (found - exact).abs().max() / exact.abs().max()
    assert 0 < error < 0.02


def test_a_denoiser_in_bfloat16_is_exact_where_little_noise_is_left():
    """What the network adds has the size of the noise: so has what it loses."""
    backbone = NetworkMean([unet(0), unet(1)]).eval()
    schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
    exact, rounded = (KarrasDenoiser(n, schedule) for n in (backbone, Bfloat16(backbone)))
    x, condition = torch.randn(2, 4, 1, 3, 4, 8)
    for sigma in (0.03, 1.0, 30.0):
        at = time_of_sigma(torch.tensor(sigma), schedule)
        a, b = (d((1 + sigma) * x, at, condition=condition).mean for d in (exact, rounded))
        assert b.dtype == torch.float32
        assert 0 < (a - b).abs().max() < 0.03 * min(sigma, 1.0)


def test_the_natural_precision_is_one_that_can_be_asked_for():
    assert natural_precision("cpu") in ("bf16-mixed", "32-true")
