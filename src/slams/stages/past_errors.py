"""Past errors of backgrounds, from which the chi-square of O-B takes their correlations."""

from __future__ import annotations

import math

from torch import Tensor

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.degraded_backgrounds import degrade
from slams.config.schema import Config
from slams.metrics.observation_space import unit_errors

__all__ = ["past_errors"]

# Training days whose errors are used. With fewer than the second, the variance at a point is
# mostly chance. Where so many errors have more values than the third (256 MiB), the grid is so
# fine that errors of neighbouring points hardly differ.
_DAYS, _FEWEST, _VALUES = 128, 32, 2**26


def past_errors(config: Config, data: MultimodalDataModule) -> Tensor | None:
    """Return errors of backgrounds of the training period, `(N, T, C, H, W)` of unit variance.

    Returns:
        `None` on grids that are too fine, and where the training period is too short.
    """
    size = config.data.window * len(data.channels) * math.prod(data.grid.shape)
    days = min(_DAYS, _VALUES // size, len(data.archive_reader()))
    if days < _FEWEST:
        return None
    archive = degrade(data.archive(days), config.background.analysis_error)
    known = archive.known
    if archive.background_known is not None:
        both = archive.background_known
        known = both if known is None else known & both
    return unit_errors(archive.fields - archive.background, known)
