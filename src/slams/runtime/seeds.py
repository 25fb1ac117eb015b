"""Random numbers that depend only on their purpose.

A draw is keyed by words and numbers (experiment seed, stream, case, member), so that it is the
same whatever the batch size, the number of ranks or the order of evaluation.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["generator", "member_noise"]


def generator(seed: int, *key: int | str) -> torch.Generator:
    """Return a CPU generator that depends only on the seed and the key.

    Args:
        seed: The experiment's seed.
        key: Purpose of the numbers, for example `("observations", name, case)`.
    """
    text = "/".join(str(part) for part in (seed, *key))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def member_noise(
    shape: tuple[int, ...], seed: int, stream: str, case: int, members: range
) -> Tensor:
    """Draw standard normal noise `(M, *shape)`, each member from its own generator (float32)."""
    return torch.stack(
        [torch.randn(shape, generator=generator(seed, stream, case, m)) for m in members]
    )
