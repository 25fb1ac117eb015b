"""Blocks computed twice give the same gradients and keep fewer activations."""

from __future__ import annotations

from copy import deepcopy

import torch

from slams.nn.autoencoder import PatchDecoder
from slams.nn.checkpointing import checkpoint_blocks
from slams.nn.unet import LatentUNet
from tests.nn.test_layers import randomise


def kept(call) -> int:
    """Count the values that a forward pass keeps for the backward pass."""
    sizes = []

    def pack(x):
        sizes.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        call()
    return sum(sizes)


def test_gradients_are_the_same_and_less_is_kept() -> None:
    z, log_sigma = torch.randn(3, 2, 4, 6, 12), torch.tensor([-1.0, 0.5, 2.0])
    plain = randomise(LatentUNet(4, 2, (6, 12), (8, 16), blocks=2, embedding=16, dropout=0.3))
    again = deepcopy(plain)
    assert checkpoint_blocks(again) == 6
    assert again.state_dict().keys() == plain.state_dict().keys()
    gradients = []
    for net in (plain, again):
        torch.manual_seed(3)  # the same dropout
        net.train()(z, log_sigma).square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    assert any(g.abs().max() > 0 for g in gradients[0])
    assert kept(lambda: again(z, log_sigma)) < 0.5 * kept(lambda: plain(z, log_sigma))


def test_without_gradients_nothing_changes() -> None:
    decoder = randomise(PatchDecoder(3, 4, (8, 16), 4, 8, 2)).eval()
    z = torch.randn(2, 4, 2, 4)
    with torch.no_grad():
        expected = decoder(z)
        assert checkpoint_blocks(decoder) == 2
        assert torch.equal(decoder(z), expected)
