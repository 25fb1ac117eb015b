"""Calibration of the ensemble: rank histograms, and spread against error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from slams.report.display import display_factor, display_units
from slams.report.drawing import REFERENCE, draw_ranks_by_method, finish, new_axes, render
from slams.report.formatting import capitalised, joined, number
from slams.report.labels import quantity, temperature_first, variable_label
from slams.report.mapdata import area_weights, leading
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import in_order, method_label, method_style

__all__ = [
    "pooled_ranks",
    "rank_histograms",
    "spread_against_error",
    "spread_and_error",
    "spread_bins",
]

# Dimensions that points of one level have.
_POINTS = ("case", "day", "latitude", "longitude")


def pooled_ranks(ranks: pd.DataFrame, method: str, variable: str = "temperature") -> np.ndarray:
    """Sum the rank weights of a method over levels and normalise them.

    Returns:
        `(M + 1,)` shares that sum to 1; empty where the method has none.
    """
    rows = ranks[(ranks["method"] == method) & (ranks["variable"] == variable)]
    if (rows["level"] == "mean").any():
        rows = rows[rows["level"] == "mean"]
    weights = rows.groupby("bin")["weight"].sum().sort_index().to_numpy(float)
    total = weights.sum()
    return weights / total if total > 0 else np.zeros(0)


def rank_histograms(run: AssimilationRun) -> Section:
    """Show where the truth falls among the sorted members, for each variable and method."""
    section = new_section("ranks")
    if run.ranks is None:
        return section.without("No table of ranks: no rank histograms.")
    for variable in temperature_first(run.ranks["variable"]):
        shares = {m: pooled_ranks(run.ranks, m, variable) for m in in_order(run.ranks["method"])}
        shares = {method: share for method, share in shares.items() if len(share) > 1}
        if shares:
            section.panels.append(_rank_panel(variable, shares))
            section.findings.append(_outside(variable, shares))
    return section if section.panels else section.without("The table of ranks is empty.")


def _rank_panel(variable: str, shares: dict[str, np.ndarray]) -> Panel:
    title = capitalised(variable_label(variable))
    figure = draw_ranks_by_method(title, shares, "the truth")
    return render(figure, f"ranks_{variable}", f"Rank histograms of {title} by method")


def _outside(variable: str, shares: dict[str, np.ndarray]) -> str:
    """Return how often the truth of a variable lies outside all members of each method."""
    parts = [
        f"{100 * (share[0] + share[-1]):.1f} % with {method_label(method)}"
        for method, share in shares.items()
    ]
    expected = sorted({f"{100 * 2 / len(share):.1f} %" for share in shares.values()})
    name = capitalised(variable_label(variable))
    text = f"{name}: the share of truths outside all members is {joined(parts)}"
    return f"{text}; {joined(expected)} is expected."


def spread_bins(
    spread: np.ndarray, error: np.ndarray, weight: np.ndarray, bins: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Sort points by spread within each level and compare spread with error per bin.

    Bins are formed per level and pooled by their number, so that a bin does not merely separate a
    level with large errors from one with small errors.

    Args:
        spread: `(L, N)` ensemble standard deviation.
        error: `(L, N)` ensemble mean minus truth.
        weight: `(N,)` area weights.
        bins: Number of bins of equal area.

    Returns:
        Root mean square of the spread and of the error, each `(bins,)`.
    """
    sums = np.zeros((3, bins))  # of variance, squared error and area
    for level_spread, level_error in zip(spread, error, strict=True):
        known = np.isfinite(level_spread) & np.isfinite(level_error)
        if known.any():
            s, e, w = level_spread[known], level_error[known], weight[known]
            order = np.argsort(s, kind="stable")
            s, e, w = s[order], e[order], w[order]
            below = np.cumsum(w) - w / 2
            index = np.minimum((bins * below / w.sum()).astype(int), bins - 1)
            sums += [np.bincount(index, w * value, bins) for value in (s**2, e**2, 1.0)]
    variance, square, total = sums[:, sums[2] > 0]
    return np.sqrt(variance / total), np.sqrt(square / total)


def spread_against_error(run: AssimilationRun) -> Section:
    """Show whether the errors are large where the ensemble predicts large errors."""
    section = new_section("spread-error")
    truth = run.fields("truth")
    variables = () if truth is None else temperature_first(map(str, truth.data_vars))
    seen: set[str] = set()
    for variable in variables:
        curves = spread_and_error(run, variable)
        if curves:
            seen |= set(curves)
            section.panels.append(_spread_panel(curves, variable))
            section.findings += _growth(curves, variable)
    if not seen:
        return section.without("No ensembles with their truth were kept: no spread-error plot.")
    section.caption = section.caption.format(cases=truth.sizes["case"])
    unseen = [method_label(method) for method in run.methods if method not in seen]
    if unseen:
        section.without(f"No ensembles were kept of {joined(unseen)}: no line.")
    return section


def spread_and_error(
    run: AssimilationRun, variable: str = "temperature"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return spread and error of each method in ten bins, over the cases that were kept.

    Args:
        run: The assimilation.
        variable: A variable, with levels or without.

    Returns:
        Root mean square of spread and of error, each `(10,)` in the units of
        `slams.report.display`, of each method with three members or more and a known truth.
    """
    dataset = run.fields("truth")
    if dataset is None or variable not in dataset:
        return {}
    state = _with_levels(dataset[variable])
    found = {method: _curve(run.fields(method), state, variable) for method in run.methods}
    return {
        method: curve for method, curve in found.items() if curve is not None and len(curve[0])
    }


def _with_levels(field: xr.DataArray) -> xr.DataArray:
    """Load a field in the units shown; one without levels gets an axis of a single one."""
    field = field.load() * display_factor(str(field.name))
    return field if "level" in field.dims else field.expand_dims("level")


def _curve(
    dataset: xr.Dataset | None, state: xr.DataArray, variable: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return spread and error by bin; `None` where no ensemble of three or more was kept."""
    if dataset is None or dataset.get(variable, state).sizes.get("member", 0) < 3:
        return None
    members = _with_levels(dataset[variable])
    count = members.sizes["member"]
    # The mean of few draws is itself uncertain: (M + 1) / M of the variance. Not so for an
    # ensemble that is centred on the analysis.
    share = 1.0 if dataset.attrs.get("ensemble") == "centred" else (count + 1) / count
    spread = members.std("member", ddof=1) * np.sqrt(share)
    weight = state["latitude"].copy(data=area_weights(state["latitude"].values))
    weight = weight.broadcast_like(spread.isel(level=0)).transpose(*_POINTS).values.ravel()
    fields = (
        field.transpose("level", *_POINTS).values.reshape(field.sizes["level"], -1)
        for field in (spread, members.mean("member") - state)
    )
    return spread_bins(*fields, weight)


def _growth(curves: dict[str, tuple[np.ndarray, np.ndarray]], variable: str) -> list[str]:
    """Return sentences on the growth of spread and error from the first to the last bin."""
    units = quantity("", display_units(variable)).strip(" ()")
    shown = (
        curves if variable == "temperature" else {m: curves[m] for m in [leading([*curves])] if m}
    )
    return [
        f"{capitalised(method_label(method))}, {variable_label(variable)}: from the tenth of the "
        f"globe with the least spread to the tenth with the most, the spread goes from "
        f"{number(spread[0])} to {number(spread[-1])} {units} and the error from "
        f"{number(error[0])} to {number(error[-1])} {units}."
        for method, (spread, error) in shown.items()
        if error[0] > 0
    ]


def _spread_panel(curves: dict[str, tuple[np.ndarray, np.ndarray]], variable: str) -> Panel:
    title, units = f"Spread against error, {variable_label(variable)}", display_units(variable)
    labels = quantity("spread", units), quantity("error of the ensemble mean", units)
    axes = new_axes(title, 4.4, *labels)
    top = 1.05 * max(max(spread.max(), error.max()) for spread, error in curves.values())
    axes.plot([0, top], [0, top], **REFERENCE)
    for method, (spread, error) in curves.items():
        axes.plot(spread, error, **method_style(method).points())
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    names = joined([method_label(method) for method in curves])
    file = "spread_error" if variable == "temperature" else f"spread_error_{variable}"
    return finish(axes, file, f"{title}, in bins for {names}")
