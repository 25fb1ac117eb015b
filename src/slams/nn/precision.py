"""Networks evaluated in bfloat16 where the hardware computes in it, with float32 around them.

A sampler evaluates its networks hundreds of times a case and needs few of their digits: noise is
added to what they give, and the next level corrects it. What is subtracted from observations and
multiplied by gains stays in single precision or better.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Bfloat16", "natural_precision"]


def natural_precision(accelerator: str) -> str:
    """Take bfloat16 where the hardware computes in it: emulated, it is a hundred times slower.

    Args:
        accelerator: `cpu` or `gpu`.

    Returns:
        `bf16-mixed` or `32-true`.
    """
    if accelerator == "gpu":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(
            getattr(torch.cpu, name, lambda: False)()
            for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
    return "bf16-mixed" if native else "32-true"


class Bfloat16(nn.Module):
    """Evaluates a network in bfloat16 (autocast: weights stay as they are); gives float32.

    Args:
        network: Any network whose first argument and result are tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Evaluate the network; the result has the type of `x`."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x, *args, **kwargs).to(x.dtype)
