"""The mean of networks: a mean where it is used, a split of the batch where it is trained."""

from __future__ import annotations

import torch
from torch import nn

from slams.nn.network_mean import NetworkMean
from slams.nn.unet import LatentUNet


class Multiplies(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.seen = []

    def forward(self, z, log_sigma, condition=None, known=None, season=None):
        self.seen.append(z[:, 0, 0, 0, 0].tolist())
        return self.factor * z + log_sigma.reshape(-1, 1, 1, 1, 1) * (0 if season is None else 1)


def states(count):
    return torch.arange(1.0, count + 1).reshape(-1, 1, 1, 1, 1).expand(-1, 1, 1, 2, 2)


def test_gives_the_mean_of_its_networks():
    mean = NetworkMean([Multiplies(1.0), Multiplies(4.0)]).eval()
    torch.testing.assert_close(mean(states(3), torch.zeros(())), 2.5 * states(3))


def test_each_training_sample_is_shown_to_one_network_and_comes_back_in_its_place():
    networks = [Multiplies(10.0), Multiplies(100.0), Multiplies(1000.0)]
    mean = NetworkMean(networks).train()
    out = mean(states(5), torch.arange(5.0), season=torch.zeros(5))
    assert [n.seen for n in networks] == [[[1.0, 4.0]], [[2.0, 5.0]], [[3.0]]]
    expected = torch.tensor([10.0, 201.0, 3002.0, 43.0, 504.0])
    torch.testing.assert_close(out[:, 0, 0, 0, 0], expected)
    out.sum().backward()
    assert [n.factor.grad.item() for n in networks] == [4 * 5.0, 4 * 7.0, 4 * 3.0]


def test_copies_of_one_network_are_that_network():
    torch.manual_seed(0)
    network = LatentUNet(3, 2, (4, 8), channels=(8, 16), blocks=1, embedding=8)
    nn.init.normal_(network.exit.weight)
    mean = NetworkMean([network, network])
    z, condition = torch.randn(4, 2, 3, 4, 8), torch.randn(4, 2, 3, 4, 8)
    log_sigma, known = torch.randn(4), torch.tensor([True, False, True, True])
    for training in (True, False):
        mean.train(training)
        found, expected = (
            f(z, log_sigma, condition=condition, known=known) for f in (mean, network)
        )
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
