"""Synthetic windows, and an encoder by patch means, for tests of the latent store."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from data_modules.store.latents import write_latents
from slams.assimilators.base import Archive
from slams.nn.latent_space import LatentSpace

__all__ = ["KEY", "archive", "space", "write"]

KEY = {"vae": "run-1", "data": "abc"}


class Means(nn.Module):
    """Encoder of fields by the means of patches of 4 x 4 points, which counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, fields: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        mean = nn.functional.avg_pool2d(torch.where(mask, fields, 0.0), 4)
        return mean, torch.zeros_like(mean)


def space() -> LatentSpace:
    return LatentSpace(Means(), nn.Identity(), torch.zeros(3), torch.ones(3))


def archive(count: int, seed: int = 0, days: int = 2) -> Archive:
    draw = torch.Generator().manual_seed(seed)
    fields, background = (
        torch.randn(count, days, 3, 8, 16, generator=draw)
        * torch.tensor([1.0, 3.0, 0.1])[:, None, None]
        + 2.0
        for _ in range(2)
    )
    return Archive(
        fields, background, 9000.0 + torch.arange(count).double()[:, None] + torch.arange(days)
    )


def write(path: Path, space: LatentSpace, splits: dict[str, Archive], key: dict[str, str]) -> None:
    write_latents(path, space, ((name, [part]) for name, part in splits.items()), key)
