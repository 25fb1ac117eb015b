"""The figure of `slams bench lorenz63`: coordinates over time, for both methods and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from slams.warmups.lorenz63 import destandardise
from slams.warmups.recipes import RegimeConfig

__all__ = ["draw_trajectories"]

# Okabe and Ito (2008).
_SMOOTHER, _GUIDED = "#0072b2", "#d55e00"
_SHARES = (0.05, 0.5, 0.95)


def draw_trajectories(
    cases: Sequence[tuple[RegimeConfig, Tensor, Tensor, Tensor, Tensor]], path: Path
) -> None:
    """Draw medians and the central 90 %, with one column per regime and one row per coordinate.

    Args:
        cases: Regime, truth `(L, 3)`, standardised observations `(K,)`, and the trajectories
            `(N, L, 3)` of the particle smoother and of the guided diffusion.
        path: Image file.
    """
    figure = Figure(figsize=(5.2 * len(cases), 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, len(cases), sharex=True, sharey="row", squeeze=False)
    for column, (regime, truth, y, smoothed, guided) in enumerate(cases):
        steps = torch.arange(len(truth)).numpy()
        seen = torch.zeros(len(y), 3)
        seen[:, 0] = y
        for coordinate, letter in enumerate("xyz"):
            panel = panels[coordinate, column]
            for x, colour, label in [
                (smoothed, _SMOOTHER, "particle smoother"),
                (guided, _GUIDED, "guided diffusion"),
            ]:
                levels = torch.tensor(_SHARES)
                low, middle, high = torch.quantile(x[..., coordinate], levels, dim=0).numpy()
                panel.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0)
                panel.plot(steps, middle, color=colour, linewidth=1.2, label=label)
            panel.plot(steps, truth[:, coordinate].numpy(), "k--", linewidth=0.9, label="truth")
            if coordinate == 0:
                panel.plot(
                    steps[:: regime.every],
                    destandardise(seen)[:, 0].numpy(),
                    "k.",
                    markersize=4,
                    label="observation",
                )
                panel.set_title(f"{regime.name}: every {regime.every}, error {regime.error:g} sd")
            if column == 0:
                panel.set_ylabel(letter)
        panels[-1, column].set_xlabel("step (0.025 time units)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2 * min(len(cases), 2), fontsize=9
    )
    figure.savefig(path, dpi=150)
