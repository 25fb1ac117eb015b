"""Predictors of a point's temperature: patches of the fields around it.

A patch is cut at the poles and periodic in longitude. All points of a row of latitude share
their predictors' weights, so that the predictors of a row are a matrix `(F, D W)` of `D` days
and `W` longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.benchmarks.state.fields import Band, StateChannels
from slams.benchmarks.state.recipe import STATES, RegressionConfig

__all__ = ["Predictors", "choose_predictors"]


@dataclass(frozen=True)
class _Patch:
    """Fields of a group that are taken from one patch.

    Attributes:
        group: The group.
        fields: `(C,)` their positions.
        rows: Offsets in rows of latitude.
        columns: Offsets in longitudes.
        before: Days before the day of the state.
    """

    group: str
    fields: tuple[int, ...]
    rows: range
    columns: range
    before: int

    def inside(self, row: int, height: int) -> list[int]:
        """Return the offsets in latitude that stay on the globe."""
        return [offset for offset in self.rows if 0 <= row + offset < height]


@dataclass(frozen=True)
class Predictors:
    """Predictors and targets of a row of latitude.

    Attributes:
        patches: Patches of the predictors, in order; a constant follows.
        targets: `(L,)` positions of the target's fields.
        height: Rows of the grid.
    """

    patches: tuple[_Patch, ...]
    targets: tuple[int, ...]
    height: int

    @property
    def margin(self) -> int:
        """Return the number of rows beyond its own that a row needs."""
        return max(patch.rows.stop - 1 for patch in self.patches)

    def groups(self, row: int) -> list[str]:
        """Return the group of each of the `F` predictors of a row; "" for the constant."""
        found = []
        for patch in self.patches:
            count = len(patch.inside(row, self.height)) * len(patch.columns) * len(patch.fields)
            found += [patch.group] * count
        return [*found, ""]

    def index(self, row: int, state: str) -> Tensor:
        """Return the positions of a state's predictors, the constant last."""
        wanted = STATES[state].groups | {""}
        return torch.tensor([i for i, g in enumerate(self.groups(row)) if g in wanted])

    def fill(self, band: Band, row: int, start: Tensor) -> Tensor:
        """Return predictors and, below them, targets.

        Args:
            band: Fields of the row and of `margin` rows around it.
            row: The row of latitude.
            start: `(D,)` days `t` of the samples, as positions of the band's days.

        Returns:
            `(F + L, D, W)`; targets are those of the day `t + 1`.
        """
        values = band.values
        width = values.shape[-1]
        total = len(self.groups(row)) + len(self.targets)
        out = values.new_empty(total, len(start), width)
        place = 0
        for patch in self.patches:
            fields = torch.tensor(patch.fields)[:, None]
            for offset in patch.inside(row, self.height):
                days = (start - patch.before)[None]
                found = values[fields, row + offset - band.first, days]
                for column in patch.columns:
                    out[place : place + len(fields)] = found.roll(-column, dims=-1)
                    place += len(fields)
        out[place] = 1.0
        out[place + 1 :] = self.target(band, row, start + 1)
        return out

    def target(self, band: Band, row: int, days: Tensor) -> Tensor:
        """Return the target's fields of a row on some days `(D,)` of the band, `(L, D, W)`."""
        return band.values[torch.tensor(self.targets)[:, None], row - band.first, days[None]]


def choose_predictors(
    channels: StateChannels, config: RegressionConfig, height: int
) -> Predictors:
    """Return the predictors of all states of a recipe together.

    Args:
        channels: The fields.
        config: Patches and states.
        height: Rows of the grid.
    """
    used = frozenset().union(*(STATES[state].groups for state in config.states))
    index, products = channels.index, channels.product_index
    near, winds = ("temperature", "surface", "pressure"), ("winds_3", "winds")
    wanted = [(name, index[name], config.patch, 0) for name in near]
    wanted += [(name, index[name], config.wind_patch, 0) for name in winds]
    wanted += [(name, products[name], config.product_patch, 0) for name in winds]
    yesterday = tuple(field for name in near for field in index[name])
    wanted.append(("before", yesterday, config.before_patch, 1))
    patches = []
    for group, fields, size, before in wanted:
        if group in used:
            rows, columns = (range(-(n // 2), n // 2 + 1) for n in size)
            patches.append(_Patch(group, fields, rows, columns, before))
    return Predictors(tuple(patches), index["temperature"], height)
