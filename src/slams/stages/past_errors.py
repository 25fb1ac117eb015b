"""Past errors of backgrounds, from which the chi-square of O-B takes their correlations."""

from __future__ import annotations

import math

from torch import Tensor

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.degraded_backgrounds import degrade
from slams.config.schema import Config
from slams.metrics.observation_space import unit_errors
from slams.stages.memory import past_error_windows

__all__ = ["past_errors"]


def past_errors(config: Config, data: MultimodalDataModule) -> Tensor | None:
    """Return errors of backgrounds of the training period, `(N, T, C, H, W)` of unit variance.

    Returns:
        `None` on grids that are too fine, and where the training period is too short, see
        `past_error_windows`.
    """
    values = data.data.window * len(data.channels) * math.prod(data.grid.shape)
    windows = past_error_windows(values, len(data.archive_reader()))
    if not windows:
        return None
    archive = degrade(data.archive(windows), config.background.analysis_error)
    known = archive.known
    if archive.background_known is not None:
        both = archive.background_known
        known = both if known is None else known & both
    return unit_errors(archive.fields - archive.background, known)
