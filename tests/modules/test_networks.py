"""Networks prepared for training as the trainer's keys say: same weights, same losses."""

from __future__ import annotations

from copy import deepcopy

import torch

from slams.config.schema import TrainerConfig
from tests.modules.test_score import batch, score
from tests.modules.test_vae import vae


def losses():
    """Return the modules of both stages, each with its training loss."""
    data = batch()
    fields = torch.randn(4, 4, 12, 24)
    known = torch.ones_like(fields, dtype=torch.bool)
    return [
        (score(dropout=0.2), lambda module: module.loss(data).mean()),
        (vae(), lambda module: module.loss(fields, known, known)[0]),
    ]


def test_checkpointed_activations_change_neither_loss_nor_gradients():
    for plain, loss in losses():
        again = deepcopy(plain)
        again.configure_networks(TrainerConfig(checkpoint_activations=True))
        found = []
        for module in (plain.train(), again.train()):
            torch.manual_seed(1)
            value = loss(module)
            value.backward()
            found.append([value, *(p.grad for p in module.parameters() if p.grad is not None)])
        assert len(found[0]) == len(found[1]) > 10
        for one, other in zip(*found, strict=True):
            assert torch.equal(one, other)
        # A checkpoint of one is a checkpoint of the other.
        assert again.state_dict().keys() == plain.state_dict().keys()


def test_the_order_of_channels_in_memory_changes_results_to_rounding(monkeypatch):
    # Noise like a tensor is drawn in the order of its memory: draw the same for both.
    monkeypatch.setattr(torch, "randn_like", lambda like: torch.randn(like.shape))
    for plain, loss in losses():
        again = deepcopy(plain)
        again.configure_networks(TrainerConfig(channels_last=False))
        found = []
        for module, last in ((plain.train(), True), (again.train(), False)):
            weights = [w for network in module.networks for w in network.parameters()]
            kernels = [w for w in weights if w.ndim == 4 and w.shape[2] > 1]
            layout = torch.channels_last if last else torch.contiguous_format
            assert len(kernels) > 4
            assert all(w.is_contiguous(memory_format=layout) for w in kernels)
            torch.manual_seed(1)
            value = loss(module)
            value.backward()
            found.append([value, *(p.grad for p in module.parameters() if p.grad is not None)])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        # A checkpoint of one is a checkpoint of the other.
        again.load_state_dict(plain.state_dict())


def test_compiled_networks_keep_the_names_of_their_weights(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda call, **options: compiled.append(call) or call)
    for module, loss in losses():
        names = list(module.state_dict())
        module.configure_networks(TrainerConfig(compile=True))
        assert list(module.state_dict()) == names
        loss(module)
        assert len(compiled) == len(module.networks)
        compiled.clear()
        module.configure_networks(TrainerConfig())
        assert compiled == []
