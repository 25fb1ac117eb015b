"""Daily composites: one value from several passes of a day over one point.

`latest` uses the last pass of the day, with its error; `mean` averages the `n` passes that observe
a point, and with independent errors its variance is `R / n`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.errors import UserError

__all__ = ["COMPOSITES", "daily_composite"]

COMPOSITES = ("latest", "mean")


def daily_composite(values: Tensor, time: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Combine the passes of a day.

    Args:
        values: `(K, ..., P)` one value per pass, NaN where it did not observe the point.
        time: `(K, ..., P)` times of the passes; NaN in the same places.
        kind: `latest` or `mean`.

    Returns:
        `(..., P)` composite, NaN where there is no value, and `(..., P)` number of passes in it.

    Raises:
        UserError: The kind is unknown.
    """
    if kind not in COMPOSITES:
        raise UserError(f"composite {kind!r}; expected one of {', '.join(COMPOSITES)}")
    seen = torch.isfinite(values) & torch.isfinite(time)
    number = seen.sum(dim=0)
    if kind == "mean":
        total = torch.where(seen, values, 0.0).sum(dim=0)
        return torch.where(number > 0, total / number.clamp(min=1), torch.nan), number
    last = torch.where(seen, time, -torch.inf).argmax(dim=0, keepdim=True)
    value = values.gather(0, last).squeeze(0)
    return torch.where(number > 0, value, torch.nan), number.clamp(max=1)
