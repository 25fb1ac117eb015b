"""The columns of the tables of results, for writing and reading.

`results`: method, setting, variable, level, metric, value, lower, upper, n, estimator. The level
is a pressure (hPa) as text, `mean` over the levels of a variable (the mean of their metrics), or
`surface` for a variable without levels; `lower` and `upper` bound the 95 % interval over dates
(NaN if there is none); `n` is the number of cases. Metrics of a whole method (`divergent_members`,
`seconds_per_member`) have variable and level `all`. The estimator is `free` for ensembles of
independent draws, and `centred` for those whose mean is the analysis (`slams.metrics.centred`); in
tables without this column all ensembles were scored as free.

`cases`: method, setting, case, date, variable, level, statistic, value, estimator; the metrics are
functions of the means over cases. `rank_histogram`: method, setting, variable, level, bin, weight.
`regions` is described in `slams.metrics.score_rows`; `observations`, `observation_space` and
`observation_ranks` in `slams.metrics.observed_tables`; `spectra` in `slams.metrics.spectra`;
`days`, of windows of several days, in `slams.metrics.days`; `drift` and `departures`, of cycles,
in `slams.metrics.drift` and `slams.metrics.observed_tables`.
"""

from __future__ import annotations

__all__ = [
    "DAY_COLUMNS",
    "DEPARTURE_COLUMNS",
    "DRIFT_COLUMNS",
    "LATER_COLUMNS",
    "TABLE_COLUMNS",
]

# Columns that are missing in tables of earlier versions, which can still be read.
LATER_COLUMNS = ("estimator", "cycle")

_RUN = ("method", "setting")
_PLACE = ("variable", "level")
_NUMBERS = ("value", "lower", "upper", "n")
_SCORE = (*_PLACE, "metric", *_NUMBERS, "estimator")
_OBSERVED = (*_RUN, "observation")

# Columns of each table of every evaluation, in order.
TABLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "results": (*_RUN, *_SCORE),
    "cases": (*_RUN, "case", "date", *_PLACE, "statistic", "value", "estimator"),
    "rank_histogram": (*_RUN, *_PLACE, "bin", "weight"),
    "observations": (*_OBSERVED, "quantity", "mean", "sd", "n", "chi2"),
    "observation_space": (*_OBSERVED, "use", "region", "statistic", *_NUMBERS),
    "observation_ranks": (*_OBSERVED, "use", "bin", "weight", "n"),
    "spectra": (*_RUN, "kind", "region", *_PLACE, "wavenumber", "truth", "members", "mean"),
    "regions": (*_RUN, "region", *_SCORE),
}
DAY_COLUMNS = (*_RUN, "day", "observed", *_SCORE)
DRIFT_COLUMNS = (
    *(*_RUN, "cycle", *_PLACE, "metric"),
    *("mean", "largest", "slope", "lower", "upper", "n"),
)
DEPARTURE_COLUMNS = (
    *(*_RUN, "cycle", "case", "date", "observation", "use", "n"),
    *("o_minus_b_mean", "o_minus_b_rms", "o_minus_a_mean", "o_minus_a_rms"),
)
