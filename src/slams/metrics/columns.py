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
`regions` is described in `slams.metrics.regional`; `observations`, `observation_space` and
`observation_ranks` in `slams.metrics.observed_tables`; `spectra` in `slams.metrics.spectra`.
"""

from __future__ import annotations

__all__ = ["LATER_COLUMNS", "TABLE_COLUMNS"]

# Columns that are missing in tables of earlier versions, which can still be read.
LATER_COLUMNS = ("estimator",)

# Columns of each table, in order.
TABLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "results": (
        "method",
        "setting",
        "variable",
        "level",
        "metric",
        "value",
        "lower",
        "upper",
        "n",
        "estimator",
    ),
    "cases": (
        "method",
        "setting",
        "case",
        "date",
        "variable",
        "level",
        "statistic",
        "value",
        "estimator",
    ),
    "rank_histogram": ("method", "setting", "variable", "level", "bin", "weight"),
    "observations": ("method", "setting", "observation", "quantity", "mean", "sd", "n", "chi2"),
    "observation_space": (
        "method",
        "setting",
        "observation",
        "use",
        "region",
        "statistic",
        "value",
        "lower",
        "upper",
        "n",
    ),
    "observation_ranks": ("method", "setting", "observation", "use", "bin", "weight", "n"),
    "spectra": (
        "method",
        "setting",
        "kind",
        "region",
        "variable",
        "level",
        "wavenumber",
        "truth",
        "members",
        "mean",
    ),
    "regions": (
        "method",
        "setting",
        "region",
        "variable",
        "level",
        "metric",
        "value",
        "lower",
        "upper",
        "n",
        "estimator",
    ),
}
