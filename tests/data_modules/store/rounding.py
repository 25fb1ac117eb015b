"""Fields as a packed store gives them, computed in full precision."""

from __future__ import annotations

from torch import Tensor

from data_modules.store.packing import STEP
from slams.normalisation import Normaliser

__all__ = ["rounded"]


def rounded(physical: Tensor, time: Tensor, normaliser: Normaliser) -> Tensor:
    """Round the anomalies of fields as a packed store does; rounding twice changes nothing.

    Args:
        physical: `(B, n, C, H, W)`, NaN where missing.
        time: `(B, n)` days since 1970-01-01 00 UTC.
        normaliser: Climatology, standard deviations and transforms.

    Returns:
        `(B, n, C, H, W)` physical.
    """
    climatology = normaliser.climatology(time)
    anomaly = (normaliser.normalise(physical, climatology) / STEP).round() * STEP
    return normaliser.to_physical(normaliser.denormalise(anomaly, climatology))
