"""Calibration of the ensemble: rank histograms, and spread against error."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slams.config.schema import ReportConfig
from slams.report.formatting import capitalised, joined, number
from slams.report.mapdata import area_weights
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import in_order, method_style

__all__ = ["pooled_ranks", "rank_histograms", "spread_against_error", "spread_bins"]


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


def rank_histograms(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show where the truth falls among the sorted members, one panel per method."""
    anchor, title = "ranks", "Rank histograms"
    if run.ranks is None:
        return Section(anchor, title, missing=["No table of ranks: no rank histograms."])
    shares = {m: pooled_ranks(run.ranks, m) for m in in_order(run.ranks["method"])}
    shares = {method: share for method, share in shares.items() if len(share) > 1}
    top = max((share.max() * len(share) for share in shares.values()), default=1.0)
    panels, findings = [], []
    for method, share in shares.items():
        panels.append(_rank_panel(method, share, top, options.dpi))
        ends, expected = share[0] + share[-1], 2 / len(share)
        findings.append(
            f"{method_style(method).label}: the truth lies outside all {len(share) - 1} members "
            f"{100 * ends:.1f} % of the time; {100 * expected:.1f} % is expected."
        )
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "The height of a bar is how often the truth takes that rank among the sorted "
            "members, over temperature at all levels, divided by how often it should. A flat "
            "histogram on the dashed line is ideal; a bowl means too little spread, a dome too "
            "much, a slope a bias."
        ),
        panels=panels,
        findings=[capitalised(text) for text in findings],
        missing=[] if panels else ["The table of ranks has no temperature."],
    )


def _rank_panel(method: str, share: np.ndarray, top: float, dpi: int) -> Panel:
    style = method_style(method)
    figure = new_figure(height=2.5)
    axes = figure.add_subplot()
    axes.bar(np.arange(len(share)), share * len(share), width=0.9, color=style.colour)
    axes.axhline(1.0, color="#444444", linestyle="--", linewidth=1.0)
    axes.set_ylim(0, 1.08 * max(top, 1.2))
    axes.set_xlim(-0.7, len(share) - 0.3)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("rank of the truth among the members")
    axes.set_ylabel("observed / expected")
    headline(figure, capitalised(style.label))
    alt = f"Rank histogram of {style.label}, {len(share)} ranks"
    return render(figure, f"ranks_{method}", alt, dpi)


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
    variance, square, total = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    for level_spread, level_error in zip(spread, error, strict=True):
        known = np.isfinite(level_spread) & np.isfinite(level_error)
        s, e, w = level_spread[known], level_error[known], weight[known]
        order = np.argsort(s, kind="stable")
        s, e, w = s[order], e[order], w[order]
        below = np.cumsum(w) - w / 2
        index = np.minimum((bins * below / w.sum()).astype(int), bins - 1) if len(w) else below
        index = index.astype(int)
        variance += np.bincount(index, w * s**2, bins)
        square += np.bincount(index, w * e**2, bins)
        total += np.bincount(index, w, bins)
    filled = total > 0
    return np.sqrt(variance[filled] / total[filled]), np.sqrt(square[filled] / total[filled])


def spread_against_error(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show whether the errors are large where the ensemble predicts large errors."""
    anchor, title = "spread-error", "Spread against error"
    truth = run.fields("truth")
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    cases = 0
    state = None if truth is None else truth.get("temperature")
    if state is not None and "level" in state.dims:
        state = state.load()
        cases = state.sizes["case"]
        weight = area_weights(state["latitude"].values)
        for method in run.methods:
            dataset = run.fields(method)
            if dataset is None or "member" not in dataset.get("temperature", state).dims:
                continue
            members = dataset["temperature"].load()
            if members.sizes["member"] < 3:
                continue
            count = members.sizes["member"]
            # The mean of few draws is itself uncertain: (M + 1) / M of the variance. Not so for an
            # ensemble that is centred on the analysis.
            share = 1.0 if dataset.attrs.get("ensemble") == "centred" else (count + 1) / count
            spread = members.std("member", ddof=1) * np.sqrt(share)
            error = members.mean("member") - state
            dims = ("level", "case", "day", "latitude", "longitude")
            shape = (state.sizes["level"], -1)
            weights = np.broadcast_to(weight[:, None], spread.transpose(*dims).shape[1:]).reshape(
                -1
            )
            curve = spread_bins(
                spread.transpose(*dims).values.reshape(shape),
                error.transpose(*dims).values.reshape(shape),
                weights,
            )
            if len(curve[0]):
                curves[method] = curve
    if not curves:
        return Section(
            anchor, title, missing=["No ensembles of temperature were kept: no spread-error plot."]
        )
    unseen = [method_style(method).label for method in run.methods if method not in curves]
    findings = []
    for method, (spread, error) in curves.items():
        if error[0] > 0:
            label = method_style(method).label
            findings.append(
                f"{capitalised(label)}: from the tenth of the globe with the least "
                f"spread to the tenth with the most, the spread goes from {number(spread[0])} to "
                f"{number(spread[-1])} K and the error from {number(error[0])} to "
                f"{number(error[-1])} K."
            )
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            f"Every grid point of the {cases} kept cases is sorted by its ensemble's spread "
            "(times √(1 + 1/M) for M members that are draws) into ten bins of equal area, level "
            "by level; a dot is the root mean square of one bin over all levels. On the diagonal "
            "the spread equals the error; above it the errors are larger than the spread, and "
            "a flat line does not separate good places from bad."
        ),
        panels=[_spread_panel(curves, options.dpi)],
        findings=findings,
        missing=[f"No ensembles were kept of {joined(unseen)}: no line."] if unseen else [],
    )


def _spread_panel(curves: dict[str, tuple[np.ndarray, np.ndarray]], dpi: int) -> Panel:
    figure = new_figure(height=4.4)
    axes = figure.add_subplot()
    top = 1.05 * max(max(spread.max(), error.max()) for spread, error in curves.values())
    axes.plot([0, top], [0, top], color="#444444", linestyle="--", linewidth=1.0)
    for method, (spread, error) in curves.items():
        style = method_style(method)
        axes.plot(
            spread,
            error,
            color=style.colour,
            marker=style.marker,
            label=style.label,
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set_xlabel("spread (K)")
    axes.set_ylabel("error of the ensemble mean (K)")
    headline(figure, "Spread against error, temperature")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    labels = joined([method_style(method).label for method in curves])
    return render(figure, "spread_error", f"Binned spread against error for {labels}", dpi)
