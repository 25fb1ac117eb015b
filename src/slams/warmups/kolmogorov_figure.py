"""The figure of `slams bench kolmogorov`: vorticity of truth, observation and samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from slams.runtime.atomic import replacing
from slams.warmups.kolmogorov_assimilation import Case
from slams.warmups.kolmogorov_flow import vorticity

__all__ = ["draw_kolmogorov"]

_MAP = "RdBu_r"
# Vorticity at the ends of the colour scale, in standard deviations of the truth.
_RANGE = 2.5
_HEADINGS = ("truth", "observed", "Gaussian mean", "sample 1", "sample 2", "spread of samples")


def draw_kolmogorov(cases: Sequence[Case], path: Path) -> None:
    """Draw one row per case, at the last observed state, and write the figure.

    Args:
        cases: One case per operator, analysed by `gaussian` and `score`.
        path: Image file.
    """
    figure = Figure(figsize=(12.5, 2.2 * len(cases) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(cases), len(_HEADINGS), squeeze=False)
    for panels, case in zip(grid, cases, strict=True):
        state = (len(case.seen) - 1) * case.operator.every
        truth = vorticity(case.truth[state])
        limit = _RANGE * truth.std().item()
        samples = vorticity(case.members["score"][:, state])
        spread = samples.std(dim=0)
        mean = vorticity(case.members["gaussian"][:, state].mean(dim=0))
        shown, seen_limit = _observed(case)
        for panel, field, most in zip(
            panels,
            (truth, shown, mean, samples[0], samples[1], spread),
            (limit, seen_limit, *[limit] * 4),
            strict=True,
        ):
            low, colours = (0.0, "magma_r") if field is spread else (-most, _MAP)
            panel.imshow(
                field, cmap=colours, vmin=low, vmax=most, origin="lower", interpolation="nearest"
            )
            panel.set_xticks([])
            panel.set_yticks([])
            panel.grid(visible=False)
        panels[0].set_ylabel(f"{case.operator.kind}, state {state + 1}", fontsize=10)
    for panel, heading in zip(grid[0], _HEADINGS, strict=True):
        panel.set_title(heading, fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _observed(case: Case) -> tuple[Tensor, float]:
    """Return the last observations, `(n, n)`, NaN elsewhere, and the end of their colour scale.

    Velocities are shown as the speed along x, on the lattice or in blocks; saturated values are
    shown unchanged, within their margin.
    """
    last, operator, size = case.seen[-1, 0], case.operator, case.truth.shape[-1]
    if operator.kind == "coarse":
        return last, 2.5
    if operator.kind == "sparse":
        shown = torch.full((size, size), torch.nan)
        # A point of the lattice, drawn a quarter of its spacing wide.
        width = max(1, operator.cells // 4)
        for i in range(width):
            for j in range(width):
                shown[i :: operator.cells, j :: operator.cells] = last
        return shown, 2.5
    across = size // operator.cells
    shown = torch.full((across, across), torch.nan)
    inner = slice(operator.margin, across - operator.margin)
    shown[inner, inner] = last
    return shown, 1.0
