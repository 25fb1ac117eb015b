"""The figures of the warm-ups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from slams.warmups.kolmogorov_assimilation import Case
from slams.warmups.kolmogorov_flow import vorticity
from slams.warmups.lorenz63 import destandardise
from slams.warmups.recipes import RegimeConfig

__all__ = ["draw_kolmogorov", "draw_trajectories"]

# Okabe and Ito (2008).
_SMOOTHER, _GUIDED = "#0072b2", "#d55e00"
_SHARES = (0.05, 0.5, 0.95)
# Vorticity at the ends of the colour scale, in standard deviations of the truth; velocity at
# those of observations.
_RANGE, _SPEED = 2.5, 2.5
_HEADINGS = ("truth", "observed", "Gaussian mean", "sample 1", "sample 2", "spread of samples")


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


def draw_kolmogorov(cases: Sequence[Case], path: Path) -> None:
    """Draw one row per case, at the last observed state, and write the figure.

    Args:
        cases: One case per operator, analysed by `gaussian` and `score`.
        path: Image file.
    """
    figure = Figure(figsize=(12.5, 2.2 * len(cases) + 0.3), layout="constrained")
    grid = figure.subplots(len(cases), len(_HEADINGS), squeeze=False)
    for panels, case in zip(grid, cases, strict=True):
        state = (len(case.seen) - 1) * case.operator.every
        truth = vorticity(case.truth[state])
        limit = _RANGE * truth.std().item()
        samples = vorticity(case.members["score"][:, state])
        spread = samples.std(dim=0)
        mean = vorticity(case.members["gaussian"][:, state].mean(dim=0))
        shown, seen_limit = _observed(case)
        fields = (truth, shown, mean, samples[0], samples[1], spread)
        limits = (limit, seen_limit, *[limit] * 4)
        for panel, field, most in zip(panels, fields, limits, strict=True):
            low, colours = (0.0, "magma_r") if field is spread else (-most, "RdBu_r")
            panel.imshow(
                field, cmap=colours, vmin=low, vmax=most, origin="lower", interpolation="nearest"
            )
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
        panels[0].set_ylabel(f"{case.operator.kind}, state {state + 1}", fontsize=10)
    for panel, heading in zip(grid[0], _HEADINGS, strict=True):
        panel.set_title(heading, fontsize=10)
    figure.savefig(path, dpi=130)


def _observed(case: Case) -> tuple[Tensor, float]:
    """Return the last observations, `(n, n)`, NaN elsewhere, and the end of their colour scale.

    Velocities are shown as the speed along x, on the lattice or in blocks; saturated values are
    shown unchanged, within their margin.
    """
    last, operator, size = case.seen[-1, 0], case.operator, case.truth.shape[-1]
    if operator.kind == "coarse":
        return last, _SPEED
    if operator.kind == "sparse":
        shown = torch.full((size, size), torch.nan)
        # A point of the lattice, drawn a quarter of its spacing wide.
        width = max(1, operator.cells // 4)
        for i in range(width):
            for j in range(width):
                shown[i :: operator.cells, j :: operator.cells] = last
        return shown, _SPEED
    across = size // operator.cells
    shown = torch.full((across, across), torch.nan)
    inner = slice(operator.margin, across - operator.margin)
    shown[inner, inner] = last
    return shown, 1.0
