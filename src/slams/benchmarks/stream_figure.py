"""The figure of `slams bench data`: samples per second of every reader."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from slams.benchmarks.window_readers import READERS

__all__ = ["draw_stream"]

# Okabe and Ito (2008): limits in grey, our readers in colour.
_COLOURS = {
    "memmap": "#555555",
    "pread": "#999999",
    "cache": "#0072b2",
    "store": "#56b4e9",
    "variables": "#009e73",
    "xarray": "#e69f00",
    "xarray+dask": "#d55e00",
}


def draw_stream(samples: pd.DataFrame, path: Path) -> None:
    """Draw medians as bars, with a line from the smallest to the largest repetition.

    Args:
        samples: Result of `slams.benchmarks.stream.sample_table`.
        path: Image file.
    """
    grids = list(samples["grid"].unique())
    cells = samples[["page_cache", "workers"]].drop_duplicates().itertuples(index=False)
    cells = list(cells)
    figure = Figure(figsize=(3.2 * len(cells), 2.9 * len(grids)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(grids), len(cells), sharey="row", sharex="row", squeeze=False)
    for row, grid in zip(panels, grids, strict=True):
        for panel, (state, workers) in zip(row, cells, strict=True):
            mine = (samples["grid"] == grid) & (samples["page_cache"] == state)
            part = samples[mine & (samples["workers"] == workers)]
            speed = part.groupby("reader")["samples_per_second"].agg(["min", "median", "max"])
            for place, reader in enumerate(reversed(READERS)):
                low, middle, high = speed.loc[reader]
                panel.barh(place, middle, color=_COLOURS[reader])
                panel.plot([low, high], [place, place], color="black", linewidth=1)
            panel.set_xscale("log")
            panel.set_title(f"{grid}, {state}, {workers} workers", fontsize=9)
            panel.set_yticks(range(len(READERS)), list(reversed(READERS.values())), fontsize=7)
        for panel in row:
            panel.set_xlabel("samples per second", fontsize=8)
    figure.savefig(path, dpi=150)
