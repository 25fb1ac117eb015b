"""Callbacks of training and evaluation, one concept per module."""

from __future__ import annotations

from slams.modules.callbacks.checkpoints import BEST, LAST, Checkpoints
from slams.modules.callbacks.divergence import RefuseDivergence
from slams.modules.callbacks.early_end import EarlyEnd
from slams.modules.callbacks.evaluation_progress import EvaluationProgress
from slams.modules.callbacks.metrics_csv import MetricsCSV
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.roll_call import RollCall
from slams.modules.callbacks.seeding import StepSeed
from slams.modules.callbacks.summary import RunSummary
from slams.modules.callbacks.weight_ema import WeightEMA, ema_weights

__all__ = [
    "BEST",
    "LAST",
    "Checkpoints",
    "EarlyEnd",
    "EvaluationProgress",
    "MetricsCSV",
    "ProgressLines",
    "RefuseDivergence",
    "RollCall",
    "RunSummary",
    "StepSeed",
    "WeightEMA",
    "ema_weights",
]
