"""Activation checkpointing: residual blocks are recomputed in the backward pass.

A block keeps its input and discards its intermediate results, which take most of the memory for a
long window. Dropout draws the same masks the second time, so that gradients are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from slams.nn.layers import ModulatedBlock, ResidualBlock

__all__ = ["checkpoint_blocks"]


def checkpoint_blocks(network: nn.Module) -> int:
    """Enable recomputation of a network's residual blocks; names and weights stay the same.

    Args:
        network: The network, which is modified in place.

    Returns:
        The number of blocks.
    """
    blocks = [m for m in network.modules() if isinstance(m, ResidualBlock | ModulatedBlock)]
    for block in blocks:
        block.forward = _Recomputed(block.forward)  # type: ignore[method-assign]
    return len(blocks)


class _Recomputed:
    """Replacement for the `forward` method of a block."""

    def __init__(self, forward: Any) -> None:
        self.forward = forward

    def __call__(self, *inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.forward(*inputs)
        return checkpoint(self.forward, *inputs, use_reentrant=False)
