"""What each kind of observation brought: the same checkpoints, different observations."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from slams.report.exhibit import Exhibit, Panel, headline, new_figure, render
from slams.report.mapdata import leading
from slams.report.paired import by_date, compare
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.reading import AssimilationRun, config_value, lookup, profile
from slams.report.style import in_order, method_style
from slams.report.tables import estimate_cell, table
from slams.report.wording import change, number
from slams.schema import ReportConfig

__all__ = ["modality_study", "setting_labels"]

_LINES = (":", "--", "-.", "-")
# Methods that use observations, and so differ between settings.
_BLIND = ("climatology", "background")


def setting_labels(runs: Sequence[AssimilationRun]) -> list[str]:
    """Names settings by what they observe, and by their own name where that is not enough."""
    labels = []
    for run in runs:
        use = run.modalities
        labels.append(run.setting if use is None else " + ".join(use) or "no observations")
    return [
        label if labels.count(label) == 1 else f"{run.setting} ({label})"
        for run, label in zip(runs, labels, strict=True)
    ]


def modality_study(runs: Sequence[AssimilationRun], options: ReportConfig) -> Exhibit:
    """Compares settings: table, bars and profiles, and what each adds to observing nothing."""
    anchor, title = "modalities", "What each modality brought"
    known = [run for run in runs if run.results is not None]
    if len(known) < 2:
        return Exhibit(
            anchor,
            title,
            missing=[
                "Only one setting of observations was run: nothing to compare. "
                "assimilation.modality_study=true runs every subset of the modalities."
            ],
        )
    known.sort(key=lambda run: (len(run.modalities or ()), run.setting))
    labels = setting_labels(known)
    methods = [m for m in in_order(m for run in known for m in run.methods) if m not in _BLIND]
    panels = [
        panel
        for metric, name in (("rmse", "RMSE"), ("crps", "CRPS"))
        if (panel := _bars(known, labels, methods, metric, name, options.dpi)) is not None
    ]
    method = leading(methods)
    if method is not None:
        panel = _profiles(known, labels, method, options.dpi)
        panels += [panel] if panel is not None else []
    return Exhibit(
        anchor=anchor,
        title=title,
        reading=(
            "Every setting has the same trained networks, backgrounds and dates; only the "
            "observations differ. Bars are temperature errors, mean over levels, with 95 % "
            "intervals over dates; the dashed line is the background. The profiles show at which "
            "height each kind of observation helps."
        ),
        panels=panels,
        findings=_findings(known, labels, methods),
        tables=[_table(known, labels, methods)],
        missing=[] if methods else ["No method that uses observations was run."],
    )


def _table(runs: list[AssimilationRun], labels: list[str], methods: list[str]) -> str:
    columns = [
        ("background", "rmse"),
        *((m, metric) for m in methods for metric in ("rmse", "crps")),
    ]
    headings = ["observed"] + [
        f"{method_style(method).label}: {metric.upper()} (K)" for method, metric in columns
    ]
    rows = [
        [
            f'<th scope="row">{html.escape(label)}</th>',
            *(estimate_cell(lookup(run.results, method, metric)) for method, metric in columns),
        ]
        for run, label in zip(runs, labels, strict=True)
    ]
    return table(headings, rows, "Temperature, mean over levels, by setting.", "table-modalities")


def _bars(
    runs: list[AssimilationRun],
    labels: list[str],
    methods: list[str],
    metric: str,
    name: str,
    dpi: int,
) -> Panel | None:
    figure = new_figure(height=0.9 + 0.3 * len(runs) * max(len(methods), 1) + 0.25 * len(runs))
    axes = figure.add_subplot()
    height = 0.8 / max(len(methods), 1)
    top = 0.0
    for index, method in enumerate(methods):
        style = method_style(method)
        for row, run in enumerate(runs):
            estimate = lookup(run.results, method, metric)
            if estimate is None:
                continue
            position = row + (index - (len(methods) - 1) / 2) * height
            axes.barh(position, estimate.value, height * 0.92, color=style.colour)
            ends = np.array([[estimate.value - estimate.lower], [estimate.upper - estimate.value]])
            high = estimate.value
            if np.isfinite(ends).all():
                axes.errorbar(
                    estimate.value,
                    position,
                    xerr=np.maximum(ends, 0),
                    color="#222222",
                    linewidth=1.0,
                    capsize=2.5,
                )
                high = estimate.upper
            axes.annotate(
                number(estimate.value, (estimate.lower, estimate.upper)),
                (high, position),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
            top = max(top, high)
        axes.barh(np.nan, 0, color=style.colour, label=style.label)
    if top == 0.0:
        return None
    background = next(
        (e for run in runs if (e := lookup(run.results, "background", metric))), None
    )
    if background is not None:
        style = method_style("background")
        axes.axvline(
            background.value,
            color=style.colour,
            linestyle="--",
            linewidth=1.6,
            label=style.label,
            zorder=1,
        )
        top = max(top, background.value)
    axes.set_yticks(range(len(runs)), [label.replace(" + ", "\n+ ") for label in labels])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.16 * top)
    axes.set_xlabel(f"{name} (K)")
    headline(figure, f"{name} of temperature by observations used")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Bars of {name} by setting: {'; '.join(labels)}"
    return render(figure, f"modalities_{metric}", alt, dpi)


def _profiles(
    runs: list[AssimilationRun], labels: list[str], method: str, dpi: int
) -> Panel | None:
    style = method_style(method)
    figure = new_figure(height=4.1)
    axes = figure.add_subplot()
    pressures: set[float] = set()
    # Where the method is the same, the line style tells the settings apart.
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        rows = profile(run.results, method, "rmse")
        if rows.empty:
            continue
        line = _LINES[(index - len(runs)) % len(_LINES)]
        marker = "osD^v<>PX"[index % 9]
        draw_profile(axes, rows, style.colour, marker, label, line)
        pressures |= set(rows["pressure"])
    if not pressures:
        return None
    background = profile(runs[-1].results, "background", "rmse")
    if not background.empty:
        other = method_style("background")
        axes.plot(
            background["value"], background["pressure"], color=other.colour, label="background"
        )
    pressure_axis(axes, sorted(pressures))
    axes.set_xlim(left=0)
    axes.set_xlabel("RMSE (K)")
    headline(figure, f"RMSE by level: {style.label}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Profiles of RMSE of {style.label} by setting: {'; '.join(labels)}"
    return render(figure, "modalities_profile", alt, dpi)


def _findings(runs: list[AssimilationRun], labels: list[str], methods: list[str]) -> list[str]:
    nothing = next((run for run in runs if run.modalities == ()), None)
    sentences = []
    for method in (m for m in ("latent_diffusion", "optimal_interpolation") if m in methods):
        for run, label in zip(runs, labels, strict=True):
            if nothing is None or run is nothing or run.cases is None or nothing.cases is None:
                continue
            comparison = compare(
                by_date(run.cases, method, "rmse"),
                by_date(nothing.cases, method, "rmse"),
                "rmse",
                int(config_value(run.config, "assimilation.bootstrap_block", 3)),
                int(config_value(run.config, "assimilation.bootstrap_samples", 1000)),
                int(config_value(run.config, "seed", 0)),
            )
            if comparison is not None:
                seen = label.replace(" + ", " and ")
                subject = f"With {seen}, the RMSE of {method_style(method).label}"
                sentences.append(change(subject, comparison, "its RMSE without observations"))
    if nothing is None:
        sentences.append(
            "No setting without observations was run, so that the gain of each modality over "
            "none is not known."
        )
    return sentences
