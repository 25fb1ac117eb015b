"""A text that describes the fields of an archive, for fingerprints."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["describe_fields"]

# Projections of fields, and the digits of each that count.
_PROJECTIONS = 4
_DIGITS = 4


def describe_fields(fields: Tensor, known: Tensor | None = None) -> str:
    """Return a text that differs between different fields, and not between machines.

    Normalised fields differ in the last digit between machines, and a model that is measured on
    one machine is used on another: a checksum would tell them apart.

    Args:
        fields: `(N, T, C, H, W)` normalised.
        known: False where missing; `None` if nothing is missing.

    Returns:
        Shape and rounded projections on random weights, a product of those of each dimension.
    """
    texts = [f"{tuple(fields.shape)}"]
    for values in (fields, known):
        if values is None:
            texts.append("none")
            continue
        drawn = torch.Generator().manual_seed(0)
        weights = [
            torch.randn(size, _PROJECTIONS, generator=drawn, dtype=torch.float64) / size**0.5
            for size in values.shape
        ]
        total = torch.zeros(_PROJECTIONS, dtype=torch.float64)
        for number, day in enumerate(values):  # a day at a time, which limits the memory
            rest = (day.cpu().to(torch.float32) @ weights[-1].float()).to(torch.float64)
            for weight in reversed(weights[1:-1]):
                rest = (rest * weight).sum(dim=-2)
            total += rest * weights[0][number]
        texts.append(" ".join(f"{value:.{_DIGITS}f}" for value in total.tolist()))
    return "/".join(texts)
