"""Figures of a finished assimilation, each in a few lines over public functions.

    python docs/gallery.py runs/demo/assimilation docs/figures

draws `gallery_NAME.png` for each function in `FIGURES`. They read the tables and the kept cases of
the run directory; nothing is computed again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from slams.report import draw_profile, draw_section
from slams.report.calibration import pooled_ranks, spread_and_error
from slams.report.drawing import FIGURES as LOOK
from slams.report.drawing import draw_ranks_by_method
from slams.report.kept_case import KeptCase, kept_case
from slams.report.labels import longitude_label
from slams.report.mapdrawing import centred, draw_map, ranged
from slams.report.over_time import draw_dates
from slams.report.reading import AssimilationRun, read_assimilation
from slams.report.station_profiles import few_stations
from slams.report.style import DIFFERENCE_MAP, method_style

METHOD = "latent_diffusion"


def increment(run: AssimilationRun, case: KeptCase) -> Figure:
    """Draw what the observations changed at 850 hPa, and where the stations are."""
    figure = Figure(figsize=(6.5, 3.9), layout="constrained")
    axes = figure.add_subplot()
    field = case.ensembles[METHOD].mean("member") - case.background
    field = field.sel(level=850)
    norm = centred([field.values])
    mesh = draw_map(
        axes, field, field.latitude, field.longitude, DIFFERENCE_MAP, norm, run.stations
    )
    axes.set_title(f"Increment of temperature at 850 hPa, {case.date}")
    label = "analysis − background (K)"
    figure.colorbar(mesh, location="bottom", label=label, shrink=0.7, aspect=45, extend="both")
    return figure


def profile(run: AssimilationRun, case: KeptCase) -> Figure:
    """Draw truth, background and analysis with its 5-95 % range at a station."""
    figure = Figure(figsize=(4.3, 4.6), layout="constrained")
    axes = figure.add_subplot()
    station = few_stations(run.stations).iloc[0]
    point = station["latitude"], station["longitude"]
    black = {"color": "#222222", "label": "truth"}
    draw_profile(axes, case.truth, point, black, minus=case.background)
    ensemble, look = case.ensembles[METHOD], method_style(METHOD).points()
    draw_profile(axes, ensemble, point, look, minus=case.background)
    axes.axvline(0, color=method_style("background").colour, linestyle="--", label="background")
    axes.set_title(f"Temperature at {station['id']}, {case.date}")
    axes.set_xlabel("departure from the background (K)")
    axes.legend()
    return figure


def section(run: AssimilationRun, case: KeptCase) -> Figure:
    """Draw increment and spread from pole to pole; lines are the analysis (K)."""
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.get_layout_engine().set(wspace=0.05)
    longitude = few_stations(run.stations)["longitude"].iloc[0]
    analysis = case.ensembles[METHOD].mean("member")
    change = analysis - case.background
    spread = case.ensembles[METHOD].std("member", ddof=1)
    look = {"cmap": DIFFERENCE_MAP, "norm": centred([change.values])}
    mesh = draw_section(left, change, longitude=longitude, lines=analysis, **look)
    figure.colorbar(mesh, ax=left, location="bottom", label="increment (K)", extend="both")
    look = {"norm": ranged([spread.values], zero=True), "stations": run.stations}
    mesh = draw_section(right, spread, longitude=longitude, lines=analysis, **look)
    figure.colorbar(mesh, ax=right, location="bottom", label="spread (K)", extend="max")
    left.set_title(f"Increment of temperature near {longitude_label(round(longitude))}")
    right.set(title="Spread of temperature, and stations", ylabel="")
    return figure


def ranks(run: AssimilationRun, case: KeptCase) -> Figure:
    """Draw where the truth falls among the sorted members, over all dates, levels and cells."""
    shares = {m: pooled_ranks(run.ranks, m) for m in case.ensembles}
    return draw_ranks_by_method("Ranks of the true temperature", shares, "the truth")


def reliability(run: AssimilationRun, case: KeptCase) -> Figure:
    """Draw the error of the mean against the spread, in ten bins of equal area."""
    figure = Figure(figsize=(4.3, 4.3), layout="constrained")
    axes = figure.add_subplot()
    for method, (spread, error) in spread_and_error(run, "temperature").items():
        axes.plot(spread, error, **method_style(method).points())
    axes.axline((0, 0), slope=1, color="#444444", linestyle="--", linewidth=1)
    axes.set(title="Spread against error of temperature", xlim=(0, None), ylim=(0, None))
    axes.set(xlabel="spread (K)", ylabel="error of the ensemble mean (K)")
    axes.legend()
    return figure


def dates(run: AssimilationRun, case: KeptCase) -> Figure:
    """Draw the CRPS of temperature on each verifying date."""
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    draw_dates(axes, run.cases, "crps")
    axes.set(title="CRPS of temperature by date", ylabel="CRPS (K)")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


FIGURES = (increment, profile, section, ranks, reliability, dates)


def main(path: Path, output: Path) -> None:
    """Draw all figures of an assimilation's run directory into a folder."""
    run = read_assimilation(path)
    case = kept_case(run)
    for draw in FIGURES:
        with style.context(LOOK):
            figure = draw(run, case)
            file = output / f"gallery_{draw.__name__}.png"
            figure.savefig(file, dpi=100, metadata={"Software": None})
        print(f"{file}: {draw.__doc__}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
