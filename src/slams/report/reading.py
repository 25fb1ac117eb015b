"""Read run directories for the report; missing files become sentences, not failures.

The files and their columns are those that the evaluation writes: the tables of
`slams.metrics.columns`, one Parquet file each, `analysis.zarr`, `stations.csv`, `run.json` and
`config.yaml` of an assimilation, `metrics.csv`, `reconstruction.parquet` and, if kept,
`reconstruction.zarr` of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from slams.metrics.columns import LATER_COLUMNS, TABLE_COLUMNS
from slams.report.display import in_display_units
from slams.report.stored_fields import damaged_groups, open_group
from slams.report.style import in_order
from slams.runs.record import read_recipe
from slams.runtime.files import read_json, read_table

__all__ = [
    "AssimilationRun",
    "Estimate",
    "TrainingRun",
    "config_value",
    "lookup",
    "observed",
    "profile",
    "read_assimilation",
    "read_training",
    "source_values",
]

# Attribute of `AssimilationRun`: name of its table, and what is omitted without it.
_TABLES = {
    "results": ("results", "no table of methods and no profiles"),
    "cases": ("cases", "no series over dates and no paired comparisons"),
    "ranks": ("rank_histogram", "no rank histograms"),
    "innovations": ("observations", "no O-B and O-A"),
    "observation_space": ("observation_space", "no estimates of the assumed errors"),
    "observation_ranks": ("observation_ranks", "no ranks at the observed points"),
    "regions": ("regions", "no scores by region"),
    "spectra": ("spectra", "no power spectra"),
    "days": ("days", "no scores of the days of the window"),
    "drift": ("drift", "no drift of the cycle"),
}
_DAYS = ("method", "day", "observed", "variable", "level", "metric", "value", "lower", "upper")
# Tables that only windows of several days and cycles have, with the columns that are read.
_SPECIAL = {"days": _DAYS, "drift": ("method", "variable", "level", "metric")}
# Optional columns of the other tables: tables older than these columns are read as well.
_OPTIONAL = ("setting", "chi2", *LATER_COLUMNS)
_STATIONS = ("latitude", "longitude")
_RECONSTRUCTION = ("variable", "level", "rmse")


@dataclass(frozen=True)
class Estimate:
    """One number of the results table with its 95 % interval.

    Attributes:
        value: The metric, in its variable's units.
        lower: Lower bound of the interval; NaN where none was estimated.
        upper: Upper bound of the interval; NaN where none was estimated.
        n: Number of cases.
    """

    value: float
    lower: float = float("nan")
    upper: float = float("nan")
    n: int = 0

    @property
    def bounds(self) -> tuple[float, float]:
        """Return both bounds of the interval."""
        return self.lower, self.upper


@dataclass(frozen=True)
class AssimilationRun:
    """Content of one assimilation run directory; a missing table is `None`.

    Attributes:
        path: The run directory.
        setting: Name of the setting.
        config: The recipe as plain dictionaries.
        record: `run.json`.
        missing: A sentence for each file that is missing or cannot be read.
        damaged: Groups of `analysis.zarr` that cannot be read, and count as missing.
        stations: Positions of the stations that were used.
    """

    path: Path
    setting: str
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    missing: tuple[str, ...]
    damaged: frozenset[str] = frozenset()
    stations: pd.DataFrame | None = None
    results: pd.DataFrame | None = None
    cases: pd.DataFrame | None = None
    ranks: pd.DataFrame | None = None
    innovations: pd.DataFrame | None = None
    observation_space: pd.DataFrame | None = None
    observation_ranks: pd.DataFrame | None = None
    regions: pd.DataFrame | None = None
    spectra: pd.DataFrame | None = None
    days: pd.DataFrame | None = None
    drift: pd.DataFrame | None = None

    @property
    def methods(self) -> list[str]:
        """Return the methods of this run, in the order of tables."""
        tables = (self.results, self.cases, self.ranks)
        return in_order(m for table in tables if table is not None for m in table["method"])

    @property
    def estimator(self) -> int:
        """Return the version of the estimators that made its scores."""
        found = self.record.get("estimator", 1)
        return found if isinstance(found, int) else 1

    @property
    def modalities(self) -> tuple[str, ...] | None:
        """Return what was observed, or `None` where the recipe is not known."""
        use = config_value(self.config, "observations.use")
        return None if use is None else tuple(use)

    def fields(self, group: str) -> xr.Dataset | None:
        """Open a group of `analysis.zarr` lazily: a method, `truth` or `background`."""
        if group in self.damaged:
            return None
        return open_group(self.path / "analysis.zarr", group)


@dataclass(frozen=True)
class TrainingRun:
    """Content of one training run directory.

    Attributes:
        path: The run directory.
        stage: `vae` or `score`.
        metrics: Columns step, epoch and split/metric.
        reconstruction: Columns variable, level, rmse (channel units).
        record: `run.json`.
        missing: A sentence for each file that is missing or cannot be read.
        damaged: Groups of `reconstruction.zarr` that cannot be read, and count as missing.
    """

    path: Path
    stage: str
    metrics: pd.DataFrame | None
    reconstruction: pd.DataFrame | None
    record: Mapping[str, Any]
    missing: tuple[str, ...]
    damaged: frozenset[str] = frozenset()

    def fields(self, group: str) -> xr.Dataset | None:
        """Open a group of `reconstruction.zarr` lazily: `truth` or `reconstruction`."""
        if group in self.damaged:
            return None
        return open_group(self.path / "reconstruction.zarr", group)


def read_assimilation(path: Path, refuse: bool = False) -> AssimilationRun:
    """Read an assimilation run directory, as far as it is complete.

    Args:
        path: The run directory.
        refuse: Whether to refuse fields that do not fit together, instead of leaving them out.

    Raises:
        UserError: With `refuse`, a group of `analysis.zarr` is damaged.
    """
    missing: list[str] = []
    tables: dict[str, pd.DataFrame | None] = {}
    for attribute, (name, consequence) in _TABLES.items():
        file = path / f"{name}.parquet"
        if name not in _SPECIAL or file.exists():
            tables[attribute] = _table(file, _columns(name), consequence, missing)
    config = _document(path / "config.yaml", _recipe, "no settings", missing)
    record = _document(path / "run.json", _record, "no provenance", missing)
    keep = config_value(config, "assimilation.keep_cases", 1)
    if keep and not (path / "analysis.zarr").exists():
        missing.append(f"analysis.zarr is not in {path}: no maps.")
    results = tables["results"]
    scored = () if results is None else set(results["variable"]) - {"all"}
    damaged = damaged_groups(path / "analysis.zarr", missing, scored, refuse)
    # A network may be stored in the directory of a setting that does not observe it.
    stations = None
    if "stations" in config_value(config, "observations.use", ("stations",)):
        file, consequence = path / "stations.csv", "no station dots on the maps"
        stations = _table(file, _STATIONS, consequence, missing)
    for name in ("results", "cases", "ranks", "regions", "spectra"):
        frame = tables[name]
        if frame is not None:
            frame["level"] = frame["level"].astype(str)
            tables[name] = frame if name == "ranks" else in_display_units(frame)
    setting, results = config_value(config, "assimilation.setting"), tables["results"]
    if results is not None and len(results):
        setting = str(results["setting"].iloc[0])
    return AssimilationRun(
        path=path,
        setting=str(setting or path.name),
        config=config,
        record=record,
        missing=tuple(missing),
        damaged=damaged,
        stations=stations,
        **tables,
    )


def _columns(name: str) -> Sequence[str]:
    """Return the columns that a table must have; only `results` must name its setting."""
    requested = ("setting",) if name == "results" else ()
    columns = _SPECIAL.get(name) or TABLE_COLUMNS[name]
    return [c for c in columns if c not in _OPTIONAL or c in requested]


def read_training(path: Path, stage: str) -> TrainingRun:
    """Read the run directory of a training stage, `vae` or `score`, as far as it is complete."""
    missing: list[str] = []
    consequence = f"no training curves of the {stage}"
    metrics = _table(path / "metrics.csv", ("step",), consequence, missing)
    reconstruction = None
    if stage == "vae":
        file = path / "reconstruction.parquet"
        reconstruction = _table(file, _RECONSTRUCTION, "no reconstruction errors", missing)
    record = _document(path / "run.json", _record, f"no provenance of the {stage}", missing)
    damaged = damaged_groups(path / "reconstruction.zarr", missing)
    return TrainingRun(path, stage, metrics, reconstruction, record, tuple(missing), damaged)


def lookup(
    results: pd.DataFrame | None,
    method: str,
    metric: str,
    variable: str = "temperature",
    level: str = "mean",
) -> Estimate | None:
    """Return one number of the results table; `None` where it is missing or not finite.

    Metrics of a whole method (`divergent_members`, `seconds_per_member`) are found under any
    variable and level, as long as there is only one.
    """
    if results is None:
        return None
    rows = results[(results["method"] == method) & (results["metric"] == metric)]
    exact = rows[(rows["variable"] == variable) & (rows["level"] == level)]
    if exact.empty and metric in ("divergent_members", "seconds_per_member") and len(rows) == 1:
        exact = rows
    if exact.empty or pd.isna(exact["value"].iloc[0]):
        return None
    return _estimate(exact.iloc[0])


def observed(rows: pd.DataFrame, statistic: str) -> Estimate | None:
    """Return a statistic from the rows of one method, observation and region.

    Args:
        rows: Rows of the table `observation_space`.
        statistic: Its name; the result is `None` where it is missing.
    """
    found = rows[rows["statistic"] == statistic]
    return None if found.empty else _estimate(found.iloc[0])


def _estimate(row: pd.Series) -> Estimate:
    number = 0 if pd.isna(row["n"]) else int(row["n"])
    return Estimate(float(row["value"]), float(row["lower"]), float(row["upper"]), number)


def profile(
    results: pd.DataFrame, method: str, metric: str, variable: str = "temperature"
) -> pd.DataFrame:
    """Return a metric by level, from the surface up: columns pressure (hPa), value, ..."""
    rows = results[
        (results["method"] == method)
        & (results["metric"] == metric)
        & (results["variable"] == variable)
    ]
    rows = rows.assign(pressure=pd.to_numeric(rows["level"], errors="coerce"))
    rows = rows.dropna(subset=["pressure", "value"])
    return rows.sort_values("pressure", ascending=False)


def config_value(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value of a dotted key of a recipe, or the default where it is missing."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def source_values(config: Mapping[str, Any], key: str) -> list[Any]:
    """Return a key of every source of a recipe, `data.source` or those of `data.sources`."""
    several = config_value(config, "data.sources") or []
    found = [one.get(key) for one in several] or [config_value(config, f"data.source.{key}")]
    return [value for value in dict.fromkeys(found) if value]


def _table(
    path: Path, columns: Sequence[str], consequence: str, missing: list[str]
) -> pd.DataFrame | None:
    reader = pd.read_csv if path.suffix == ".csv" else read_table
    frame = _content(path, reader, consequence, missing)
    if frame is None:
        return None
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        missing.append(f"{path} lacks the columns {', '.join(absent)}: {consequence}.")
        return None
    return frame


def _document(
    path: Path, read: Callable[[Path], Any], consequence: str, missing: list[str]
) -> Mapping[str, Any]:
    document = _content(path, read, consequence, missing)
    if document is not None and not isinstance(document, Mapping):
        missing.append(f"{path} holds no keys: {consequence}.")
    return document if isinstance(document, Mapping) else {}


def _content(
    path: Path, read: Callable[[Path], Any], consequence: str, missing: list[str]
) -> Any | None:
    """Return what a file holds, or `None` and a sentence where it cannot be read."""
    if not path.exists():
        missing.append(f"{path.name} is not in {path.parent}: {consequence}.")
        return None
    try:
        return read(path)
    except (OSError, ValueError) as error:  # pandas', pyarrow's and `UserError` are subclasses
        missing.append(f"{path} cannot be read ({_first_line(error)}): {consequence}.")
        return None


def _recipe(path: Path) -> Mapping[str, Any]:
    return read_recipe(path.parent)


def _record(path: Path) -> Mapping[str, Any]:
    return read_json(path, "start over with resume=overwrite")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
