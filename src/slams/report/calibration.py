"""Calibration of the ensemble: rank histograms, and spread against error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from slams.report.drawing import REFERENCE, draw_ranks, finish, new_axes
from slams.report.formatting import capitalised, joined, number
from slams.report.mapdata import area_weights, on_levels
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import in_order, method_label, method_style

__all__ = ["pooled_ranks", "rank_histograms", "spread_against_error", "spread_bins"]

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
    """Show where the truth falls among the sorted members, one panel per method."""
    section = new_section("ranks")
    if run.ranks is None:
        return section.without("No table of ranks: no rank histograms.")
    shares = {m: pooled_ranks(run.ranks, m) for m in in_order(run.ranks["method"])}
    shares = {method: share for method, share in shares.items() if len(share) > 1}
    if not shares:
        return section.without("The table of ranks has no temperature.")
    top = max(share.max() * len(share) for share in shares.values())
    for method, share in shares.items():
        section.panels.append(_rank_panel(method, share, top))
        ends, expected = share[0] + share[-1], 2 / len(share)
        section.findings.append(
            f"{capitalised(method_label(method))}: the truth lies outside all {len(share) - 1} "
            f"members {100 * ends:.1f} % of the time; {100 * expected:.1f} % is expected."
        )
    return section


def _rank_panel(method: str, share: np.ndarray, top: float) -> Panel:
    style = method_style(method)
    title, x = capitalised(style.label), "rank of the truth among the members"
    axes = new_axes(title, 2.5, x, "observed / expected")
    draw_ranks(axes, share, style.colour)
    axes.set_ylim(0, 1.08 * max(top, 1.2))
    alt = f"Rank histogram of {style.label}, {len(share)} ranks"
    return finish(axes, f"ranks_{method}", alt, columns=0)


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
    curves = {}
    if on_levels(truth, "temperature"):
        state = truth["temperature"].load()
        section.caption = section.caption.format(cases=state.sizes["case"])
        found = {method: _curve(run.fields(method), state) for method in run.methods}
        curves = {m: c for m, c in found.items() if c is not None and len(c[0])}
    if not curves:
        return section.without("No ensembles of temperature were kept: no spread-error plot.")
    section.panels.append(_spread_panel(curves))
    for method, (spread, error) in curves.items():
        if error[0] > 0:
            section.findings.append(
                f"{capitalised(method_label(method))}: from the tenth of the globe with the least "
                f"spread to the tenth with the most, the spread goes from {number(spread[0])} to "
                f"{number(spread[-1])} K and the error from {number(error[0])} to "
                f"{number(error[-1])} K."
            )
    unseen = [method_label(method) for method in run.methods if method not in curves]
    if unseen:
        section.without(f"No ensembles were kept of {joined(unseen)}: no line.")
    return section


def _curve(
    dataset: xr.Dataset | None, state: xr.DataArray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return spread and error by bin; `None` where no ensemble of three or more was kept."""
    if dataset is None or dataset.get("temperature", state).sizes.get("member", 0) < 3:
        return None
    members = dataset["temperature"].load()
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


def _spread_panel(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Panel:
    title = "Spread against error, temperature"
    axes = new_axes(title, 4.4, "spread (K)", "error of the ensemble mean (K)")
    top = 1.05 * max(max(spread.max(), error.max()) for spread, error in curves.values())
    axes.plot([0, top], [0, top], **REFERENCE)
    for method, (spread, error) in curves.items():
        axes.plot(spread, error, **method_style(method).points())
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    labels = joined([method_label(method) for method in curves])
    return finish(axes, "spread_error", f"Binned spread against error for {labels}")
