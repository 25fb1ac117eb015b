"""Power spectra: scales at which analyses have the truth's variance, and at which it is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from slams.report.display import display_units
from slams.report.drawing import REFERENCE, finish, new_axes
from slams.report.formatting import capitalised
from slams.report.labels import quantity, region_label, variable_label
from slams.report.reading import AssimilationRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import by_method, method_label, method_style

__all__ = ["half_power", "scales_with_power", "spectra", "variable_panels"]

# Share of the truth's variance at scales at which others are compared with it.
_HELD = 0.999


def spectra(run: AssimilationRun, level: int) -> Section:
    """Show spherical and zonal spectra of temperature at the level nearest to one (hPa)."""
    section = new_section("spectra")
    if run.spectra is None:
        return section.without("No table of spectra.")
    rows = _near(run.spectra, "temperature", level)
    if rows is None:
        return section.without("The table of spectra has no temperature.")
    section.caption = section.caption.format(level=rows["level"].iloc[0])
    section.panels = variable_panels(run, "temperature", level)
    zonal = rows[rows["kind"].eq("zonal") & rows["region"].ne("global")]
    for region, part in zonal.groupby("region", sort=False):
        where = f"{region_label(region)}, {part['level'].iloc[0]} hPa"
        title, alt = f"Zonal spectrum, {where}", f"Power of members by zonal wavenumber, {where}"
        section.panels.append(_power_panel(part, title, f"spectra_zonal_{region}", alt))
    for method, part in by_method(rows[rows["kind"].eq("spherical")]):
        part = part.sort_values("wavenumber")
        known = part[: scales_with_power(part)]
        small = known[-max(1, len(known) // 3) :]
        share = small["members"].sum() / small["truth"].sum()
        first, last = small["wavenumber"].iloc[[0, -1]]
        scale = half_power(part)
        where = (
            "at every scale the mean has more than half of the truth's power"
            if scale is None
            else f"the mean falls to half of the truth's power at wavenumber {scale}"
        )
        section.findings.append(
            f"{capitalised(method_label(method))}: members have {100 * share:.0f} % of the "
            f"truth's variance at total wavenumbers {first} to {last}; {where}."
        )
    return section


def variable_panels(run: AssimilationRun, variable: str, level: int) -> list[Panel]:
    """Draw the spherical spectra of a variable with levels, at the level nearest to one (hPa)."""
    rows = None if run.spectra is None else _near(run.spectra, variable, level, "spherical")
    if rows is None:
        return []
    at = f"{rows['level'].iloc[0]} hPa"
    what = "" if variable == "temperature" else capitalised(variable_label(variable))
    file = f"{variable}_" if what else ""
    suffix = f" ({what}), {at}" if what else f", {at}"
    title, alt = f"{what or 'Spectrum of members'}, {at}", f"Power of members by degree{suffix}"
    panels = [_power_panel(rows, title, f"spectra_{file}spherical", alt)]
    for kind, of in (("members", "members"), ("mean", "ensemble mean")):
        title = f"{what}: the {of}, {at}" if what else f"Power of the {of}, {at}"
        alt = f"Ratio of the {of}'s power to the truth's by degree{suffix}"
        panels.append(_ratio_panel(rows, kind, title, f"spectra_{file}ratio_{kind}", alt))
    return panels


def _near(rows: pd.DataFrame, variable: str, level: int, kind: str = "") -> pd.DataFrame | None:
    """Return the spectra of a variable at the nearest level, without the global mean."""
    rows = rows[rows["variable"].eq(variable)]
    rows = rows[rows["kind"].eq(kind)] if kind else rows
    if rows.empty:
        return None
    nearest = min(sorted(set(rows["level"])), key=lambda v: abs(np.log(float(v) / level)))
    return rows[rows["level"].eq(nearest) & rows["wavenumber"].gt(0)]


def half_power(part: pd.DataFrame) -> int | None:
    """Return the first wavenumber at which the mean has less than half of the truth's power.

    Powers are summed over each wavenumber and its two neighbours, so that a single one does not
    decide. Larger wavenumbers do not count: beyond a model's truncation the truth has hardly any
    power, and what the mean has there says nothing.

    Args:
        part: Rows of one method and level, sorted by wavenumber.

    Returns:
        `None` where the mean has more than half at every wavenumber.
    """
    mean, truth = (
        part[name].astype(float).rolling(3, center=True, min_periods=1).sum()
        for name in ("mean", "truth")
    )
    below = part.loc[mean < 0.5 * truth, "wavenumber"]
    return None if below.empty else int(below.iloc[0])


def scales_with_power(part: pd.DataFrame) -> int:
    """Return the number of wavenumbers, from the largest scale, that hold most of the variance.

    Together they have 99.9 % of the truth's. What the truth has at smaller scales, beyond the
    truncation of a spectral model for instance, is too little to compare anything with: a ratio
    of powers there says nothing.

    Args:
        part: Rows of one method and level, sorted by wavenumber.
    """
    held = part["truth"].cumsum().to_numpy() / part["truth"].sum()
    return min(int(np.searchsorted(held, _HELD)) + 1, len(part))


def _power_panel(rows: pd.DataFrame, title: str, name: str, alt: str) -> Panel:
    units = display_units(rows["variable"].iloc[0])
    label = "power (K²)" if units == "K" else f"{quantity('power', units)}²"
    axes = _draw(rows, rows["members"], title, label)
    _, truth = next(by_method(rows))
    truth = truth.sort_values("wavenumber")
    look = {"color": "#111111", "linestyle": ":", "label": "truth", "zorder": 5}
    axes.plot(truth["wavenumber"], truth["truth"], **look)
    axes.set_yscale("log")
    return finish(axes, name, alt)


def _ratio_panel(rows: pd.DataFrame, kind: str, title: str, name: str, alt: str) -> Panel:
    axes = _draw(rows, rows[kind] / rows["truth"], title, "power / the truth's")
    axes.axhline(1.0, zorder=1, **REFERENCE)
    _, truth = next(by_method(rows.sort_values("wavenumber")))
    known = scales_with_power(truth)
    if known < len(truth):
        beyond = truth["wavenumber"].iloc[known] - 0.5
        axes.axvspan(beyond, truth["wavenumber"].max(), color="#e8e8e8", linewidth=0, zorder=0)
    axes.set_ylim(bottom=0)
    if axes.get_ylim()[1] > 3:
        axes.set_ylim(0, 3)
    return finish(axes, name, alt)


def _draw(rows: pd.DataFrame, values: pd.Series, title: str, label: str) -> Axes:
    """Draw values of the rows by method on a logarithmic axis with plain numbers."""
    kind = "zonal" if rows["kind"].iloc[0] == "zonal" else "total"
    axes = new_axes(title, 4.1, f"{kind} wavenumber", label)
    for method, part in by_method(rows.assign(drawn=values).sort_values("wavenumber")):
        axes.plot(part["wavenumber"], part["drawn"], **method_style(method).line)
    axes.set_xscale("log")
    top = axes.get_xlim()[1]
    ticks = [wave for wave in (1, 2, 5, 10, 20, 50, 100, 200, 500) if wave <= top]
    axes.set_xticks(ticks, [str(wave) for wave in ticks])
    axes.set_xticks([], minor=True)
    return axes
