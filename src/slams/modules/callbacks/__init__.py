"""Callbacks of training and evaluation, one concept per module."""

from __future__ import annotations

from slams.modules.callbacks.checkpoints import BEST, LAST, Checkpoints
from slams.modules.callbacks.divergence import TerminateOnNaN
from slams.modules.callbacks.evaluation_progress import EvaluationProgress
from slams.modules.callbacks.metrics_csv import MetricsCSV
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.rank_consistency import RankConsistencyCheck
from slams.modules.callbacks.seeding import StepSeed
from slams.modules.callbacks.stop_on_signal import StopOnSignal
from slams.modules.callbacks.summary import RunSummary
from slams.modules.callbacks.weight_ema import WeightEMA, ema_weights

__all__ = [
    "BEST",
    "LAST",
    "Checkpoints",
    "EvaluationProgress",
    "MetricsCSV",
    "ProgressLines",
    "RankConsistencyCheck",
    "RunSummary",
    "StepSeed",
    "StopOnSignal",
    "TerminateOnNaN",
    "WeightEMA",
    "ema_weights",
]
