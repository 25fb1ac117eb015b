"""Activation checkpointing: residual blocks that are computed again in the backward pass.

A block keeps its input and gives up what it computed on the way, which is most of what a long
window takes in memory. Dropout draws the same masks the second time, so gradients are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from slams.nn.layers import ModulatedBlock, ResidualBlock

__all__ = ["checkpoint_blocks"]


def checkpoint_blocks(network: nn.Module) -> int:
    """Have the residual blocks of a network computed again; names and weights stay as they are.

    Args:
        network: The network, changed in place.

    Returns:
        The number of blocks.
    """
    blocks = [m for m in network.modules() if isinstance(m, ResidualBlock | ModulatedBlock)]
    for block in blocks:
        block.forward = _Recomputed(block.forward)  # type: ignore[method-assign]
    return len(blocks)


class _Recomputed:
    """Stands in for the `forward` of a block."""

    def __init__(self, forward: Any) -> None:
        self.forward = forward

    def __call__(self, *inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.forward(*inputs)
        return checkpoint(self.forward, *inputs, use_reentrant=False)
