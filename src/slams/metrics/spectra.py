r"""Power spectra of truth, ensemble members and ensemble mean.

*Zonal*: a row of `W` values has the Fourier coefficients `F_m = sum_k f_k e^{-2 pi i m k/W} / W`
and the power `(2 - [m = 0 or m = W/2]) |F_m|^2` at wavenumber `m`, which sums to the row's mean
square. Rows are averaged over the belts of `slams.metrics.regions`, weighted by cell area.

*Spherical*: power by total wavenumber (degree), see `slams.metrics.spherical_harmonics`; it does
not depend on the direction of a wave nor on the latitude.

Spectra are those of the full fields, and are means of the power over members, days and cases,
never the power of a mean, except for that of the ensemble mean. A member drawn from the right
distribution has the spectrum of the truth on average; the mean of an ensemble has less power at
scales that are uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.centred import scaled_about_mean
from slams.metrics.regions import REGIONS, grid_regions
from slams.metrics.spherical_harmonics import SphericalHarmonics

__all__ = ["BELTS", "KINDS", "PowerSpectra", "spectra_rows", "zonal_power"]

# Regions that consist of whole rows.
BELTS = REGIONS[:4]
KINDS = ("truth", "members", "mean")


def zonal_power(fields: Tensor) -> Tensor:
    """Return the power of `(..., H, W)` fields by zonal wavenumber, `(..., H, W // 2 + 1)`."""
    columns = fields.shape[-1]
    power = torch.fft.rfft(fields.double(), dim=-1, norm="forward").abs().square()
    power[..., 1:] *= 2
    if columns % 2 == 0:
        power[..., -1] /= 2
    return power


class PowerSpectra(Metric):
    """Sums of power spectra over cases, float64, for the channels on pressure levels.

    Args:
        channels: The `C` channels.
        grid: The grid.
        kwargs: Options of `torchmetrics.Metric`.
    """

    full_state_update = False
    zonal: Tensor
    spherical: Tensor
    cases: Tensor

    def __init__(self, channels: Sequence[FieldSpec], grid: LatLonGrid, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = [c for c, spec in enumerate(channels) if spec.level is not None]
        self._harmonics = SphericalHarmonics(grid)
        rows = grid_regions(grid)[: len(BELTS), :, 0].double() * grid.weights
        self._rows = rows / rows.sum(dim=1, keepdim=True).clamp(min=1e-12)
        waves, degrees = grid.shape[1] // 2 + 1, self._harmonics.degree + 1
        levels = len(self.index)
        for name, shape in {
            "zonal": (levels, len(BELTS), len(KINDS), waves),
            "spherical": (levels, len(KINDS), degrees),
            "cases": (levels,),
        }.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, zeros, dist_reduce_fx="sum", persistent=True)

    def update(self, members: Tensor, truth: Tensor, mask: Tensor, centred: bool = False) -> None:
        """Add cases, without levels whose truth has missing values.

        Args:
            members: `(B, M, T, C, H, W)` physical.
            truth: `(B, T, C, H, W)` physical.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
            centred: Whether the members are centred on the analysis: they are then given the
                scatter of free draws, so that they have the power of draws
                (`slams.metrics.centred`).
        """
        rows = self._rows.to(truth.device)
        for b in range(len(truth)):
            for position, c in enumerate(self.index):
                if not bool(mask[b, :, c].all()):
                    continue
                x = members[b, :, :, c].double()
                mean = x.mean(dim=0, keepdim=True)
                if centred:
                    x = scaled_about_mean(x, math.sqrt(len(x) / (len(x) - 1)))
                states = (truth[b, None, :, c].double(), x, mean)
                for kind, fields in enumerate(states):
                    zonal = rows @ zonal_power(fields).mean(dim=(0, 1))
                    self.zonal[position, :, kind] += zonal
                    power = self._harmonics.power(fields).mean(dim=(0, 1))
                    self.spherical[position, kind] += power
                self.cases[position] += 1

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the mean spectra, `(L, belts, kinds, waves)` and `(L, kinds, degrees)`."""
        zonal = self.zonal / self.cases[:, None, None, None]
        return zonal, self.spherical / self.cases[:, None, None]


def spectra_rows(
    spectra: tuple[Tensor, Tensor], channels: Sequence[FieldSpec]
) -> Iterator[tuple[Any, ...]]:
    """Return the rows of the table `spectra` of one method, starting with the column kind.

    `spectra`: method, setting, kind (`zonal` or `spherical`), region, variable, level,
    wavenumber, truth, members, mean: power in the variable's units squared.

    Args:
        spectra: Result of `PowerSpectra.compute`.
        channels: The `C` channels.
    """
    zonal, spherical = (part.cpu() for part in spectra)
    on_levels = [spec for spec in channels if spec.level is not None]
    for position, spec in enumerate(on_levels):
        name = spec.variable, str(spec.level)
        parts = [("zonal", belt, zonal[position, i]) for i, belt in enumerate(BELTS)]
        for kind, region, power in [*parts, ("spherical", "global", spherical[position])]:
            if bool(power.isfinite().all()):
                for wave, values in enumerate(power.T.tolist()):
                    yield kind, region, *name, wave, *values
