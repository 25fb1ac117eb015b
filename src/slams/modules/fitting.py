"""The optimiser of every training, and a loop without Lightning for small networks.

The loop, which benchmarks and warm-ups use, returns the exponential moving average of the weights,
with the decay `min(d, (1 + n) / (10 + n))` after step `n`: a smaller decay at the beginning
removes the initial weights from the average.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from slams.config.schema import OptimizerConfig
from slams.errors import UserError

__all__ = ["fit", "make_optimizer"]

# Progress lines of a training.
_LINES = 10
_Network = TypeVar("_Network", bound=nn.Module)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> AdamW:
    """Make the optimiser of a module's weights.

    Biases, norms, position embeddings and noise parameters have no weight decay.
    """
    decayed, free = [], []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            whole = parameter.ndim < 2 or name.rpartition(".")[2] == "position"
            (free if whole else decayed).append(parameter)
    return AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )


def fit(
    network: _Network,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[int], float],
    loss: Callable[[int], Tensor],
    settings: OptimizerConfig,
    section: str,
    say: Callable[[str], None],
) -> _Network:
    """Train a network and return a copy with averaged weights, ready for evaluation.

    Args:
        network: The network; its weights are trained in place.
        optimizer: Its optimiser.
        rate: Function from the step, counted from 0, to the factor on the learning rate.
        loss: Function from the step to the loss `()` of its batch.
        settings: Number of steps, largest norm of the gradient and decay of the average.
        section: Dotted key of the settings, for the message.
        say: Function that is called with each progress line.

    Returns:
        The averaged network, whose weights require no gradients.

    Raises:
        UserError: The loss is not finite.
    """
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    average = copy.deepcopy(network).requires_grad_(False)
    begun, losses = time.perf_counter(), []
    every = max(settings.steps // _LINES, 1)
    network.train()
    for step in range(settings.steps):
        value = loss(step)
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"training: the loss of step {step} is {losses[-1]}; lower "
                f"{section}.learning_rate or raise {section}.warmup_steps"
            )
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        decay = min(settings.ema, (2 + step) / (11 + step))
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new.detach(), 1 - decay)
        done = step + 1
        if done % every == 0 or done == settings.steps:
            mean = sum(losses) / len(losses)
            left = (time.perf_counter() - begun) / done * (settings.steps - done)
            say(f"step {done}/{settings.steps}  loss {mean:.4f}  {left:.0f} s left")
            losses.clear()
    return average.eval()
