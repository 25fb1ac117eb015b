"""Scores of the settings of a sweep: one row per method and setting.

Settings that differ only in their seed count as one: their statistics are averaged date by date,
so that intervals are over dates, and the effect of the seed is given separately as the standard
deviation of the metric over seeds.

The degradation of a method over a sweep is its metric relative to its own value `m_0` in the
reference setting, the easiest. It degrades faster than another method `o` where

    (m_k / m_0) / (o_k / o_0) > 1,

with an interval from resamples of the dates that all four share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from slams.errors import UserError
from slams.metrics.columns import LATER_COLUMNS, TABLE_COLUMNS
from slams.report.paired import Comparison, Sampling, by_date, compare, estimate
from slams.report.reading import Estimate, config_value, lookup
from slams.report.style import in_order
from slams.runs.record import RunRecord, read_recipe
from slams.runtime.files import read_table
from slams.sweeps.names import without_seed

__all__ = [
    "Row",
    "ScoredSetting",
    "degradation",
    "described",
    "read_settings",
    "score_settings",
]

_PAIRED = ("rmse", "crps")


@dataclass(frozen=True)
class ScoredSetting:
    """Tables of one setting, or of several that differ only in their seed.

    Attributes:
        name: Its name, without the seed.
        overrides: The swept keys and their values, without the seed.
        seeds: Results table of each seed, in order.
        cases: Statistics by date of all seeds together.
        sampling: How intervals are drawn.
        estimator: Version of the estimators that made its scores.
    """

    name: str
    overrides: Mapping[str, Any]
    seeds: tuple[pd.DataFrame, ...]
    cases: tuple[pd.DataFrame, ...]
    sampling: Sampling
    estimator: int

    @property
    def methods(self) -> list[str]:
        """Return its methods, in the order of tables."""
        return in_order(self.seeds[0]["method"])

    @property
    def variable(self) -> str:
        """Return the variable that is scored: temperature, or the first where there is none."""
        there = list(dict.fromkeys(self.seeds[0]["variable"]))
        return "temperature" if "temperature" in there else there[0]

    def by_date(self, method: str, metric: str) -> pd.DataFrame:
        """Arrange the metric's statistic by date and level, averaged over seeds."""
        return by_date(pd.concat(self.cases), method, metric, self.variable)


@dataclass(frozen=True)
class Row:
    """Score of one method in one setting.

    Attributes:
        setting: The setting.
        method: The method.
        estimate: The metric, with its interval over dates.
        seed_sd: Standard deviation over seeds; NaN with one seed.
        comparison: Difference from the baseline; `None` where there is none.
        baseline: Whether this is the baseline itself.
    """

    setting: ScoredSetting
    method: str
    estimate: Estimate
    seed_sd: float
    comparison: Comparison | None = None
    baseline: bool = False

    @property
    def verdict(self) -> str:
        """Return whether 95 % of the resamples lie on one side of the baseline, and on which."""
        if self.baseline:
            return "baseline"
        return self.comparison.verdict("better", "worse", "") if self.comparison else ""


def described(overrides: Mapping[str, Any]) -> str:
    """Format swept keys and their values in a few words: `block 4, use stations+satellite`."""
    words = {
        key.rpartition(".")[2]: "+".join(map(str, value)) or "none"
        if isinstance(value, list)
        else value
        for key, value in overrides.items()
    }
    return ", ".join(f"{key} {value}" for key, value in words.items())


def read_settings(
    runs: Sequence[Path], overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> list[ScoredSetting]:
    """Read finished assimilations, and merge those that differ only in their seed.

    Args:
        runs: Run directories.
        overrides: Setting -> swept keys and values; by default, the keys in which the recipes of
            the runs differ.

    Raises:
        UserError: A table is missing or damaged, the settings share no method, or they were scored
            by different estimators.
    """
    estimator = _estimator(runs)
    configs = [_config(path) for path in runs]
    named = [
        str(config_value(c, "assimilation.setting", p.name))
        for c, p in zip(configs, runs, strict=True)
    ]
    if overrides is None:
        different = _differences(configs)
        swept = [{key: config_value(c, key) for key in different} for c in configs]
    else:
        swept = [dict(overrides.get(name, {})) for name in named]
    groups: dict[str, list[int]] = {}
    for index, values in enumerate(swept):
        key = repr(sorted((k, repr(v)) for k, v in values.items() if k != "seed"))
        # Runs without a known difference are distinguished by their names.
        key += "" if "seed" in values else named[index] + str(runs[index])
        groups.setdefault(key, []).append(index)
    settings = []
    for members in groups.values():
        first = members[0]
        name = named[first]
        if len(members) > 1 or "seed" in swept[first]:
            name = without_seed(name)
        tables = [(_table(runs[i], "results"), _table(runs[i], "cases")) for i in members]
        sampling = replace(Sampling.of(configs[first]), seed=0)
        values = {key: value for key, value in swept[first].items() if key != "seed"}
        results, cases = zip(*tables, strict=True)
        settings.append(ScoredSetting(name, values, results, cases, sampling, estimator))
    return settings


def score_settings(
    settings: Sequence[ScoredSetting], metric: str, baseline: str = ""
) -> list[Row]:
    """Score every method in every setting, and compare it with the baseline.

    Args:
        settings: The settings.
        metric: A metric of the results table; `rmse` and `crps` can be compared date by date.
        baseline: A setting, whose methods the same methods are compared with, or a method, which
            the others of the same setting are compared with; empty for no comparison.

    Raises:
        UserError: No setting has the metric.
    """
    reference = next((s for s in settings if s.name == baseline), None)
    rows = []
    for setting in settings:
        for method in setting.methods:
            found = _estimate(setting, method, metric)
            if found is None:
                continue
            known = pd.Series([e.value for e in _by_seed(setting, method, metric)], dtype=float)
            other = (reference, method) if reference is not None else (setting, baseline)
            rows.append(
                Row(
                    setting,
                    method,
                    found,
                    float(known.std()) if len(known) > 1 else float("nan"),
                    _compare((setting, method), other, metric) if baseline else None,
                    baseline=(setting.name == baseline or method == baseline),
                )
            )
    if not rows:
        there = sorted({str(m) for s in settings for t in s.seeds for m in t["metric"]})
        raise UserError(f"--metric: found {metric!r}, expected one of {', '.join(there)}")
    return rows


def degradation(
    settings: Sequence[ScoredSetting], method: str, other: str, metric: str, reference: str
) -> dict[str, tuple[Comparison | None, Comparison | None, Comparison | None]]:
    """Measure how much faster one method degrades over a sweep than another.

    Args:
        settings: The settings.
        method: The first method.
        other: The method it is compared with.
        metric: `rmse` or `crps`.
        reference: The easiest setting.

    Returns:
        Setting -> change of the method, change of the other, each against its own value in the
        reference setting, and the excess of the first over the second, `> 0` where the method
        degrades faster. `None` where fewer than two dates are shared.
    """
    first = next(s for s in settings if s.name == reference)
    found = {}
    for setting in settings:
        if setting.name != reference and {method, other} <= set(setting.methods):
            changes = [_compare((setting, m), (first, m), metric) for m in (method, other)]
            now, easiest = (
                tuple(s.by_date(m, metric) for m in (method, other)) for s in (setting, first)
            )
            excess = compare(*now, metric, setting.sampling, relative_to=easiest)
            found[setting.name] = (*changes, excess)
    return found


def _compare(
    this: tuple[ScoredSetting, str], other: tuple[ScoredSetting, str], metric: str
) -> Comparison | None:
    same = this[0] is other[0] and this[1] == other[1]
    if same or metric not in _PAIRED or other[1] not in other[0].methods:
        return None
    a, b = (setting.by_date(method, metric) for setting, method in (this, other))
    return compare(a, b, metric, this[0].sampling)


def _estimate(setting: ScoredSetting, method: str, metric: str) -> Estimate | None:
    """Score a method over all seeds; from the results table where there are no statistics."""
    if metric in _PAIRED:
        table = setting.by_date(method, metric)
        return estimate(table, metric, setting.sampling) if len(table) else None
    known = _by_seed(setting, method, metric)
    if not known:
        return None
    columns = pd.DataFrame([(e.value, *e.bounds) for e in known])
    value, lower, upper = columns.mean(skipna=False)
    return Estimate(float(value), float(lower), float(upper), known[0].n)


def _by_seed(setting: ScoredSetting, method: str, metric: str) -> list[Estimate]:
    """Return the metric in the results table of each seed that has it."""
    found = [
        lookup(t, method, metric, setting.variable, _level(t, setting)) for t in setting.seeds
    ]
    return [estimate for estimate in found if estimate is not None]


def _level(results: pd.DataFrame, setting: ScoredSetting) -> str:
    levels = set(results.loc[results["variable"] == setting.variable, "level"])
    return "mean" if "mean" in levels else sorted(levels)[0]


def _estimator(runs: Sequence[Path]) -> int:
    """Return the version of the estimators that scored all runs."""
    found = {run: RunRecord.read(run).estimator for run in runs}
    oldest, newest = min(found, key=found.get), max(found, key=found.get)
    if found[oldest] != found[newest]:
        raise UserError(
            f"{oldest} was scored by estimators of version {found[oldest]}, {newest} by version "
            f"{found[newest]}: such scores cannot be compared; run {oldest} again with "
            "resume=overwrite"
        )
    return found[newest]


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the keys in which recipes differ, except those that only name or place runs."""
    names = ("experiment", "pretrained_experiment", "runs", "resume")
    names += ("tracking", "report", "trainer")
    flat = [pd.json_normalize(dict(c)).iloc[0].to_dict() if c else {} for c in configs]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [
        key
        for key in keys
        if key.partition(".")[0] not in names
        and key not in ("assimilation.setting", "assimilation.modality_study")
        and len({repr(one.get(key)) for one in flat}) > 1
    ]


def _config(run: Path) -> Mapping[str, Any]:
    try:
        return read_recipe(run)
    except (OSError, UserError):
        return {}


def _table(run: Path, name: str) -> pd.DataFrame:
    path = run / f"{name}.parquet"
    try:
        frame = read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses
        raise UserError(
            f"{path} is {'damaged' if path.exists() else 'missing'}; run the setting again with "
            f"resume=overwrite"
        ) from error
    expected = [column for column in TABLE_COLUMNS[name] if column not in LATER_COLUMNS]
    absent = [column for column in expected if column not in frame.columns]
    if absent or frame.empty:
        found = f"lacks the columns {', '.join(absent)}" if absent else "has no rows"
        raise UserError(f"{path} {found}; run the setting again with resume=overwrite")
    frame["level"] = frame["level"].astype(str)
    return frame
