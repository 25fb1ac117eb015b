"""Read one variable of one case on all its levels from `analysis.zarr`, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from slams.config.schema import ReportConfig
from slams.plugins.methods import Role, in_role
from slams.report.display import display_factor, display_units
from slams.report.mapdata import chosen, leading, on_levels
from slams.report.reading import AssimilationRun

__all__ = ["KeptCase", "kept_case"]


@dataclass(frozen=True)
class KeptCase:
    """One variable on levels on one date, in the units of `slams.report.display`.

    Attributes:
        variable: Its name.
        units: Its units.
        date: The verifying date (ISO).
        background: Dimensions level, latitude, longitude.
        truth: The same, or `None` where the truth is unknown.
        ensembles: The same with the dimension member, of each method.
    """

    variable: str
    units: str
    date: str
    background: xr.DataArray
    truth: xr.DataArray | None
    ensembles: dict[str, xr.DataArray]


def kept_case(
    run: AssimilationRun, options: ReportConfig | None = None, variable: str = "temperature"
) -> KeptCase | None:
    """Read the case that is shown on the maps, of the leading method and the yardstick.

    Args:
        run: The assimilation.
        options: The requested case; by default the first.
        variable: A variable with levels.

    Returns:
        The case; `None` where the background or the ensembles of this variable were not kept.
    """
    dataset = run.fields("background")
    if dataset is None or not on_levels(dataset, variable):
        return None
    case, _, _ = chosen(dataset, options or ReportConfig(), variable)
    date = "unknown date"
    if "time" in dataset:
        stamp = dataset["time"].isel(case=case, day=0).values.astype("datetime64[s]")
        date = str(stamp).removesuffix("T00:00:00")
    truth = _take(run, "truth", variable, case)
    ensembles = {method: _take(run, method, variable, case) for method in _methods(run.methods)}
    kept = {m: e for m, e in ensembles.items() if e is not None and e.sizes.get("member", 0) > 1}
    background = _take(run, "background", variable, case)
    if not kept or background is None or not np.isfinite(background).any():
        return None
    return KeptCase(
        variable=variable,
        units=display_units(variable),
        date=date,
        background=background,
        truth=None if truth is None or not np.isfinite(truth).any() else truth,
        ensembles=kept,
    )


def _methods(methods: Sequence[str]) -> list[str]:
    """Return the yardstick and the leading method, of those that ran."""
    shown = dict.fromkeys((in_role(Role.YARDSTICK).name, leading(list(methods))))
    return [method for method in shown if method in methods]


def _take(run: AssimilationRun, group: str, variable: str, case: int) -> xr.DataArray | None:
    """Return the first day of a case from a group, `None` where it was not kept."""
    dataset = run.fields(group)
    if dataset is None or variable not in dataset:
        return None
    return dataset[variable].isel(case=case, day=0).load() * display_factor(variable)
