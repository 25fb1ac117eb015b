"""Read the fields of one case from `analysis.zarr`, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from slams.config.schema import ReportConfig
from slams.plugins.methods import METHODS, Family, MethodSpec
from slams.report.coastlines import cell_edges
from slams.report.display import display_factor, display_units
from slams.report.reading import AssimilationRun

__all__ = [
    "CaseFields",
    "area_rmse",
    "area_weights",
    "case_fields",
    "chosen",
    "leading",
    "on_levels",
    "variable_levels",
]


@dataclass(frozen=True)
class CaseFields:
    """Maps of one variable on one date, in physical units.

    Attributes:
        latitude: `(H,)` degrees north.
        longitude: `(W,)` degrees east.
        units: Units of the fields.
        date: The verifying date (ISO).
        truth: `(H, W)`.
        background: `(H, W)`, or `None` where it was not kept.
        climatology: `(H, W)`, mean of the climatology's members, or `None`.
        mean: `(H, W)` ensemble mean per method.
        spread: `(H, W)` ensemble standard deviation (ddof = 1) per method.
    """

    latitude: np.ndarray
    longitude: np.ndarray
    units: str
    date: str
    truth: np.ndarray
    background: np.ndarray | None
    climatology: np.ndarray | None
    mean: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]


def leading(methods: list[str]) -> str | None:
    """Return the method that maps and statements are about, or `None` where only priors ran."""
    found = [METHODS.find(name) for name in methods]
    known = [spec for spec in found if spec is not None and spec.family is not Family.PRIOR]
    # Methods of this package lead before those without a place.
    best = max(known, key=lambda spec: (spec.order < MethodSpec.order, spec.order), default=None)
    return best.name if best else None


def on_levels(dataset: xr.Dataset | None, variable: str) -> bool:
    """Return whether a group of `analysis.zarr` is there and has a variable on levels."""
    return dataset is not None and "level" in dataset.get(variable, xr.DataArray()).dims


def chosen(
    dataset: xr.Dataset, options: ReportConfig, variable: str
) -> tuple[int, int | None, list[str]]:
    """Choose the case and the level (hPa) of the maps of a variable.

    Args:
        dataset: A group of `analysis.zarr` with the variable.
        options: The requested case and level.
        variable: Name of the variable.

    Returns:
        Index of the case; level, `None` for a variable without levels; and a note on each that
        differs from the requested one.
    """
    case, level, notes = min(options.case, dataset.sizes["case"] - 1), None, []
    if case != options.case:
        notes.append(
            f"report.case is {options.case}, but analysis.zarr keeps {case + 1} cases; "
            f"case {case} is shown."
        )
    if "level" in dataset[variable].dims:
        levels = variable_levels(dataset, variable)
        level = min(levels, key=lambda value: abs(np.log(value / options.level)))
        if level != options.level:
            notes.append(
                f"report.level is {options.level} hPa, which is not among "
                f"{', '.join(map(str, levels))} hPa; {level} hPa is shown."
            )
    return case, level, notes


def variable_levels(dataset: xr.Dataset, variable: str) -> list[int]:
    """Return the levels (hPa) that a variable has in a group of `analysis.zarr`.

    Variables share the axis of levels; a level where a variable has no channel is missing.
    """
    levels = [int(value) for value in dataset["level"].values]
    if sum("level" in array.dims for array in dataset.data_vars.values()) == 1:
        return levels
    array = dataset[variable]
    known = array.notnull().any([dim for dim in array.dims if dim != "level"]).values
    return [level for level, there in zip(levels, known, strict=True) if there] or levels


def case_fields(
    run: AssimilationRun, variable: str, case: int, level: int | None, methods: list[str]
) -> CaseFields | None:
    """Return one variable of one case on the window's first day.

    Args:
        run: The assimilation.
        variable: Name of the variable.
        case: Index of the case in `analysis.zarr`.
        level: Pressure (hPa), or `None` for a variable without levels.
        methods: Methods whose mean and spread are requested; those not kept are omitted.

    Returns:
        The fields in the units of `slams.report.display`, or `None` where the truth of this
        variable is unknown or was not kept.
    """
    factor = display_factor(variable)

    def take(dataset: xr.Dataset | None) -> xr.DataArray | None:
        if dataset is None or variable not in dataset:
            return None
        array = dataset[variable].isel(case=case, day=0)
        if level is not None:
            if "level" not in array.dims or level not in array["level"].values:
                return None
            array = array.sel(level=level)
        array = array.load()
        return array if factor == 1.0 else array * factor

    def deterministic(group: str) -> np.ndarray | None:
        array = take(run.fields(group))
        if array is not None and "member" in array.dims:
            array = array.mean("member")
        return None if array is None else array.values

    dataset = run.fields("truth")
    truth = take(dataset)
    if dataset is None or truth is None or not np.isfinite(truth.values).any():
        return None
    mean, spread = {}, {}
    for method in methods:
        array = take(run.fields(method))
        if array is not None and "member" in array.dims:
            mean[method] = array.mean("member").values
            if array.sizes["member"] > 1:
                spread[method] = array.std("member", ddof=1).values
    date = "unknown date"
    if "time" in dataset:
        stamp = dataset["time"].isel(case=case, day=0).values.astype("datetime64[s]")
        date = str(stamp).removesuffix("T00:00:00")
    return CaseFields(
        latitude=dataset["latitude"].values,
        longitude=dataset["longitude"].values,
        units=str(truth.attrs.get("units", "")) if factor == 1.0 else display_units(variable),
        date=date,
        truth=truth.values,
        background=deterministic("background"),
        climatology=deterministic("climatology"),
        mean=mean,
        spread=spread,
    )


def area_weights(latitude: np.ndarray) -> np.ndarray:
    """Return the true areas of the cells of each row, `sin(upper) - sin(lower)`: `(H,)`.

    Args:
        latitude: `(H,)` degrees north.
    """
    bounds, _ = cell_edges(latitude, np.array([0.0, 1.0]))
    return np.abs(np.diff(np.sin(np.deg2rad(bounds))))


def area_rmse(difference: np.ndarray, latitude: np.ndarray) -> float:
    """Return the root mean square, weighted by the true area of the cells.

    Args:
        difference: `(H, W)`; NaN where unknown.
        latitude: `(H,)` degrees north.
    """
    known = np.isfinite(difference)
    weights = area_weights(latitude)[:, None] * known
    if weights.sum() == 0:
        return float("nan")
    square = np.where(known, difference, 0.0) ** 2
    return float(np.sqrt((weights * square).sum() / weights.sum()))
