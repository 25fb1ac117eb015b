"""The figure of `slams bench posterior`: spread against error of the mean, by problem."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slams.benchmarks.guided import MEAN_BAND, SD_BAND

__all__ = ["draw_calibration"]

# Okabe and Ito (2008); black is the prior alone.
_COLOURS = {
    "none": "#000000",
    "decg": "#d55e00",
    "mmps": "#0072b2",
    "sda": "#009e73",
    "dps": "#cc79a7",
    "pgdm": "#e69f00",
}
_MARKERS = {
    "adams_bashforth": "o",
    "heun": "s",
    "ddim": "v",
    "ancestral": "^",
    "predictor_corrector": "D",
}


def draw_calibration(table: pd.DataFrame, path: Path) -> None:
    """Draw and write the figure, without samples that diverged.

    Args:
        table: Result of `slams.benchmarks.posterior.gaussian_table`.
        path: Image file.
    """
    cells = list(table.groupby(["problem", "error"], sort=False))
    figure = Figure(figsize=(3.4 * len(cells), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(cells), sharex=True, sharey=True, squeeze=False)[0]
    for panel, ((problem, error), rows) in zip(panels, cells, strict=True):
        panel.axhspan(1 - SD_BAND, 1 + SD_BAND, color="#eeeeee", zorder=0)
        panel.axvline(MEAN_BAND, color="#bbbbbb", linewidth=0.8, zorder=0)
        for row in rows.dropna().itertuples():
            # Exact kinds agree to the last digit: those drawn first are drawn larger.
            style = {
                "marker": _MARKERS.get(row.sampler, "x"),
                "linestyle": "none",
                "markersize": 9 if row.guidance == "decg" else 5.5,
            }
            colour = _COLOURS.get(row.guidance, "#777777")
            panel.plot(row.mean_error, row.sd_observed, color=colour, **style)
            panel.plot(row.mean_error, row.sd_unobserved, color=colour, mfc="none", **style)
        panel.set_xscale("log")
        panel.set_yscale("log", base=2)
        panel.set_title(f"{problem}, R = {error:g}²", fontsize=10)
        panel.set_xlabel("error of the mean (posterior sd)")
        panel.set_yticks([0.25, 0.5, 1, 2], ["0.25", "0.5", "1", "2"])
    panels[0].set_ylabel("ensemble / posterior sd")
    figure.legend(handles=_legend(table), loc="outside lower center", ncols=7, fontsize=8)
    figure.savefig(path, dpi=150)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    def entry(label: str, **style: str) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **style)

    return [
        *(
            entry(kind, marker="s", color=_COLOURS.get(kind, "#777777"))
            for kind in table["guidance"].unique()
        ),
        *(
            entry(kind.replace("_", " "), marker=_MARKERS.get(kind, "x"), color="#777777")
            for kind in table["sampler"].unique()
        ),
        entry("observed", marker="o", color="#777777"),
        entry("unobserved", marker="o", color="#777777", mfc="none"),
    ]
