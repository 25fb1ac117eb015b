"""Backgrounds computed without the verifying truth, and the re-centring of the climatology.

Damped persistence of the anomaly `x'` from `lag` days before the window's first day, with
coefficients `a_t` and error variances `v_t` fitted in the training period:

    x_b(t) = a_t x'(-lag),    E (x(t) - x_b(t))^2 = v_t.

All anomalies are normalised, so that a background without information is 0 with variance 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.fields import Background

__all__ = ["climatological", "damped_persistence", "from_states", "recentring_offset"]


def damped_persistence(previous: Tensor, coefficient: Tensor, variance: Tensor) -> Background:
    """Return the background by damped persistence of an earlier anomaly.

    Args:
        previous: `(B, C, H, W)` normalised anomaly `lag` days before the first day of the
            window, NaN where missing.
        coefficient: `(T, C, H, W)`, for day t of the window fitted for a lead of lag + t days.
        variance: `(T, C, H, W)` normalised error variances.

    Returns:
        The background; climatology with variance 1 where `previous` is missing.
    """
    previous = previous.unsqueeze(1)
    missing = torch.isnan(previous)
    mean = torch.where(missing, 0.0, previous) * coefficient
    return _known(mean, variance, missing.expand_as(mean), "damped_persistence")


def climatological(
    shape: Sequence[int],
    variance: Tensor | float = 1.0,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Background:
    """Return the climatology as background: anomaly 0.

    Args:
        shape: `(B, T, C, H, W)`.
        variance: Normalised variance, a number or a tensor that broadcasts to `shape`; 1 by
            construction of the normalisation, up to its floor.
        device: Device of the background; that of `variance` when it is a tensor.
        dtype: Precision.
    """
    variance = torch.as_tensor(variance, dtype=dtype, device=device)
    return Background(
        mean=torch.zeros(tuple(shape), dtype=dtype, device=variance.device),
        variance=variance.expand(tuple(shape)).clone(),
        kind="climatology",
    )


def from_states(states: Tensor, variance: Tensor) -> Background:
    """Return given states as background, for example a forecast read from a file.

    Args:
        states: `(B, T, C, H, W)` normalised, NaN where missing.
        variance: `(T, C, H, W)` normalised error variances.

    Returns:
        The background; climatology with variance 1 where a state is missing.
    """
    missing = torch.isnan(states)
    return _known(torch.where(missing, 0.0, states), variance, missing, "file")


def recentring_offset(previous: Tensor, climatology: Tensor) -> Tensor:
    """Estimate the offset of the climatology from the days before the window.

    This is the zonal mean of the time-mean difference: an estimate of a lasting bias from L
    earlier days, averaged along each latitude so that their weather does not count as bias. The
    verifying days are not an input.

    Args:
        previous: `(B, L, C, H, W)` channel units, days before the window, NaN where missing.
        climatology: `(B, L, C, H, W)` channel units, the climatology of those days.

    Returns:
        `(B, C, H, W)` channel units, to be added to the climatology; constant along longitude,
        0 at latitudes without a value.
    """
    difference = (previous - climatology).nanmean(dim=1)
    zonal = difference.nanmean(dim=-1, keepdim=True)
    return torch.nan_to_num(zonal, nan=0.0).expand_as(difference).contiguous()


def _known(mean: Tensor, variance: Tensor, missing: Tensor, kind: str) -> Background:
    """Return a background with a variance of 1 where it is missing."""
    variance = torch.where(missing, torch.ones_like(mean), variance)
    return Background(mean=mean, variance=variance, kind=kind, known=~missing)
