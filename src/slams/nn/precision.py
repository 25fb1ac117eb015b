"""Evaluation of networks in bfloat16 where the hardware supports it, with float32 around them.

A sampler evaluates its networks hundreds of times per case and needs little precision: noise is
added to their results, and the next level corrects errors. Quantities that are subtracted from
observations and multiplied by gains stay in single precision or better.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Bfloat16", "natural_precision"]


def natural_precision(accelerator: str) -> str:
    """Return bfloat16 precision if the hardware supports it; emulated, it is 100 times slower.

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
    """A network evaluated in bfloat16 (autocast, so that weights are unchanged); returns float32.

    Args:
        network: Any network whose first argument and result are tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Evaluate the network; the result has the data type of `x`."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x, *args, **kwargs).to(x.dtype)
