"""Power spectra: scales at which analyses have the truth's variance, and at which it is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from slams.config.schema import ReportConfig
from slams.report.display import display_units
from slams.report.formatting import capitalised
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import (
    in_order,
    method_style,
    quantity,
    region_label,
    variable_label,
)

__all__ = ["half_power", "spectra", "variable_panels"]


def spectra(run: AssimilationRun, options: ReportConfig) -> Section:
    """Show spherical and zonal spectra of temperature at the report's level."""
    anchor, title = "spectra", "Power spectra"
    if run.spectra is None:
        return Section(anchor, title, missing=["No table of spectra."])
    rows = run.spectra[run.spectra["variable"].eq("temperature")]
    levels = sorted(set(rows["level"]), key=lambda v: abs(np.log(float(v) / options.level)))
    if not levels:
        return Section(anchor, title, missing=["The table of spectra has no temperature."])
    rows = rows[rows["level"].eq(levels[0]) & rows["wavenumber"].gt(0)]
    spherical = rows[rows["kind"].eq("spherical")]
    panels = [
        _power_panel(spherical, levels[0], options.dpi),
        _ratio_panel(spherical, "members", levels[0], options.dpi),
        _ratio_panel(spherical, "mean", levels[0], options.dpi),
    ]
    zonal = rows[rows["kind"].eq("zonal")]
    for region in dict.fromkeys(zonal["region"]):
        if region != "global":
            part = zonal[zonal["region"] == region]
            panels.append(_zonal_panel(part, region, levels[0], options.dpi))
    findings = []
    for method in in_order(spherical["method"]):
        part = spherical[spherical["method"] == method].sort_values("wavenumber")
        large, small = _small_scales(part)
        scale = half_power(part)
        text = (
            f"{capitalised(method_style(method).label)}: members have {100 * small:.0f} % of the "
            f"truth's variance beyond total wavenumber {large}"
        )
        where = (
            "at every scale the mean has more than half of the truth's power"
            if scale is None
            else f"the mean falls to half of the truth's power at wavenumber {scale}"
        )
        findings.append(f"{text}; {where}.")
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            f"Temperature at {levels[0]} hPa. Total wavenumber n stands for waves of 40,000 km / "
            "n in any direction, zonal wavenumber for waves along a latitude. Members should "
            "follow the truth at all scales: below it they are too smooth, above it too noisy. "
            "The mean of an ensemble should lose power where the observations leave the scale "
            "undetermined; a mean that keeps all of it there is overconfident."
        ),
        panels=panels,
        findings=findings,
    )


def variable_panels(run: AssimilationRun, variable: str, options: ReportConfig) -> list[Panel]:
    """Draw the spherical spectra of another variable with levels, near the report's level."""
    if run.spectra is None:
        return []
    rows = run.spectra[run.spectra["variable"].eq(variable) & run.spectra["kind"].eq("spherical")]
    levels = sorted(set(rows["level"]), key=lambda v: abs(np.log(float(v) / options.level)))
    if not levels:
        return []
    rows = rows[rows["level"].eq(levels[0]) & rows["wavenumber"].gt(0)]
    return [
        _power_panel(rows, levels[0], options.dpi, variable),
        _ratio_panel(rows, "members", levels[0], options.dpi, variable),
        _ratio_panel(rows, "mean", levels[0], options.dpi, variable),
    ]


def half_power(part: pd.DataFrame) -> int | None:
    """Return the smallest wavenumber beyond which the mean has less than half the truth's power.

    Args:
        part: Rows of one method and level, sorted by wavenumber.

    Returns:
        `None` where the mean keeps more than half up to the last wavenumber.
    """
    keeps = part["mean"].to_numpy(float) >= 0.5 * part["truth"].to_numpy(float)
    waves = part["wavenumber"].to_numpy(int)
    if keeps[-1]:
        return None
    last = np.flatnonzero(keeps)
    return int(waves[last[-1] + 1]) if len(last) else int(waves[0])


def _small_scales(part: pd.DataFrame) -> tuple[int, float]:
    """Compare the variance of members and truth in the last third of the wavenumbers."""
    start = len(part) - len(part) // 3
    tail = part.iloc[start:]
    return int(part["wavenumber"].iloc[start - 1]), float(
        tail["members"].sum() / tail["truth"].sum()
    )


def _power_panel(rows: pd.DataFrame, level: str, dpi: int, variable: str = "temperature") -> Panel:
    what, file = _words(variable)
    figure = new_figure(height=4.1)
    axes = figure.add_subplot()
    _draw(axes, rows, "members")
    axes.set_yscale("log")
    axes.set_xlabel("total wavenumber")
    axes.set_ylabel(_power_label(variable))
    headline(figure, f"{what or 'Spectrum of members'}, {level} hPa")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Power of members by degree{what and f' ({what})'}, {level} hPa"
    return render(figure, f"spectra_{file}spherical", alt, dpi)


def _zonal_panel(rows: pd.DataFrame, region: str, level: str, dpi: int) -> Panel:
    figure = new_figure(height=4.1)
    axes = figure.add_subplot()
    _draw(axes, rows, "members")
    axes.set_yscale("log")
    axes.set_xlabel("zonal wavenumber")
    axes.set_ylabel("power (K²)")
    headline(figure, f"Zonal spectrum, {region_label(region)}, {level} hPa")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Power of members by zonal wavenumber, {region_label(region)}, {level} hPa"
    return render(figure, f"spectra_zonal_{region}", alt, dpi)


def _power_label(variable: str) -> str:
    units = display_units(variable)
    return "power (K²)" if units == "K" else f"{quantity('power', units)}²"


def _words(variable: str) -> tuple[str, str]:
    """Return the words for a variable other than temperature: in titles and in file names."""
    if variable == "temperature":
        return "", ""
    return capitalised(variable_label(variable)), f"{variable}_"


def _ratio_panel(
    rows: pd.DataFrame, kind: str, level: str, dpi: int, variable: str = "temperature"
) -> Panel:
    figure = new_figure(height=4.1)
    axes = figure.add_subplot()
    for method in in_order(rows["method"]):
        style = method_style(method)
        part = rows[rows["method"] == method].sort_values("wavenumber")
        axes.plot(
            part["wavenumber"], part[kind] / part["truth"], color=style.colour, label=style.label
        )
    axes.axhline(1.0, color="#444444", linestyle="--", linewidth=1.0, zorder=1)
    axes.set_xscale("log")
    _plain_waves(axes)
    axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] > 3:
        axes.set_ylim(0, 3)
    axes.set_xlabel("total wavenumber")
    axes.set_ylabel("power / the truth's")
    of = "members" if kind == "members" else "ensemble mean"
    what, file = _words(variable)
    title = f"{what}: the {of}" if what else f"Power of the {of}"
    headline(figure, f"{title}, {level} hPa")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = f"Ratio of the {of}'s power to the truth's by degree{what and f' ({what})'}, {level} hPa"
    return render(figure, f"spectra_{file}ratio_{kind}", alt, dpi)


def _draw(axes: Axes, rows: pd.DataFrame, kind: str) -> None:
    methods = in_order(rows["method"])
    for method in methods:
        style = method_style(method)
        part = rows[rows["method"] == method].sort_values("wavenumber")
        axes.plot(part["wavenumber"], part[kind], color=style.colour, label=style.label)
    truth = rows[rows["method"] == methods[0]].sort_values("wavenumber")
    axes.plot(
        truth["wavenumber"],
        truth["truth"],
        color="#111111",
        linestyle=":",
        label="truth",
        zorder=5,
    )
    axes.set_xscale("log")
    _plain_waves(axes)


def _plain_waves(axes: Axes) -> None:
    top = axes.get_xlim()[1]
    ticks = [wave for wave in (1, 2, 5, 10, 20, 50, 100, 200, 500) if wave <= top]
    axes.set_xticks(ticks, [str(wave) for wave in ticks])
    axes.set_xticks([], minor=True)
