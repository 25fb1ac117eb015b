"""Verification: statistics per case, metrics as functions of their means, intervals, tables."""

from __future__ import annotations

from slams.metrics.accumulators import (
    RMSE,
    Bias,
    FairCRPS,
    RankHistogram,
    SpreadSkill,
    Wasserstein,
)
from slams.metrics.bootstrap import Resamples, paired_difference, resampled_scores
from slams.metrics.observation_space import ObservationSpace, observed_statistics
from slams.metrics.records import MethodRecord
from slams.metrics.scores import SCORES, score
from slams.metrics.statistics import CaseStatistics, case_statistics, fair_crps
from slams.metrics.tables import make_tables, print_methods

__all__ = [
    "RMSE",
    "SCORES",
    "Bias",
    "CaseStatistics",
    "FairCRPS",
    "MethodRecord",
    "ObservationSpace",
    "RankHistogram",
    "Resamples",
    "SpreadSkill",
    "Wasserstein",
    "case_statistics",
    "fair_crps",
    "make_tables",
    "observed_statistics",
    "paired_difference",
    "print_methods",
    "resampled_scores",
    "score",
]
