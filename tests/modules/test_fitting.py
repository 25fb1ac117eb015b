"""The training loop without Lightning: its average of the weights, its lines, its refusal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slams.config.schema import OptimizerConfig
from slams.errors import UserError
from slams.modules.fitting import fit

SETTINGS = OptimizerConfig(steps=25, clip=100.0, ema=0.5)


def descend(loss, lines: list[str]) -> tuple[nn.Linear, nn.Linear]:
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    found = fit(
        network,
        optimizer,
        lambda step: 1.0 if step < 20 else 0.0,
        lambda step: loss(network, step),
        SETTINGS,
        "score.optimizer",
        lines.append,
    )
    return network, found


def test_the_average_of_the_weights_by_hand() -> None:
    lines: list[str] = []
    network, found = descend(lambda n, _: 2 * n.weight.sum(), lines)
    weight = average = 1.0
    for step in range(SETTINGS.steps):
        weight -= 0.02 if step < 20 else 0.0
        decay = min(SETTINGS.ema, (2 + step) / (11 + step))
        average = decay * average + (1 - decay) * weight
    assert network.weight.item() == pytest.approx(0.6)
    assert found.weight.item() == pytest.approx(average)
    assert not found.weight.requires_grad
    assert not found.training
    # A line every second step, and one for the last.
    assert len(lines) == 13
    assert lines[0].startswith("step 2/25  loss 1.9800")


def test_a_loss_that_is_not_finite_is_refused_with_the_key() -> None:
    def loss(network: nn.Linear, step: int) -> Tensor:
        return network.weight.sum() * (float("nan") if step == 3 else 1.0)

    with pytest.raises(UserError, match=r"step 3 is nan; lower score\.optimizer\.learning_rate"):
        descend(loss, [])
