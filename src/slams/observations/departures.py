"""Departures of observations from background and analysis, and where observations were used.

With an observation `y`, the background `x_b` and the mean `x_a` of the analysis ensemble,

    O-B = y - H(x_b),    O-A = y - mean_m H(x_a^m),

in the units of the operator: those of the channel after its transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.fields import Batch, FieldSpec, Observations
from slams.grid import LatLonGrid

__all__ = ["Departures", "departures_of", "observation_counts"]


@dataclass(frozen=True)
class Departures:
    """Departures of the `P` observations of one name and day.

    Attributes:
        name: Modality and variable, for example `stations/2m_temperature`.
        units: Units of the following, those of the operator.
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
        value: `(P,)` the observations.
        error: `(P,)` standard deviations of their errors.
        background: `(P,)` background at the observed points.
        analysis: `(P,)` mean of the analyses there.
        used: `(P,)` bool, False for a rejected observation.
    """

    name: str
    units: str
    latitude: Tensor
    longitude: Tensor
    value: Tensor
    error: Tensor
    background: Tensor
    analysis: Tensor
    used: Tensor

    def summary(self) -> dict[str, float | str]:
        """Return mean and root mean square of O-B and O-A over the used observations."""
        numbers: dict[str, float | str] = {"units": self.units}
        for what, state in (("o_minus_b", self.background), ("o_minus_a", self.analysis)):
            found = (self.value - state)[self.used].to(torch.float64)
            numbers[f"{what}_mean"] = float(found.mean())
            numbers[f"{what}_rms"] = float(found.square().mean().sqrt())
        return numbers


def departures_of(
    given: Sequence[Observations], used: Sequence[Observations], background: Tensor, state: Tensor
) -> list[Departures]:
    """Return the departures of all observations of one case of one day.

    Args:
        given: `(1, 1, P)` observations before the comparison with the background.
        used: The same observations, masked where they were rejected.
        background: `(C, H, W)` channel units.
        state: `(M, C, H, W)` channel units, the members of the analysis.
    """
    found = []
    for before, after in zip(given, used, strict=True):
        there = before.mask[0, 0]
        operator = before.operator
        found.append(
            Departures(
                name=before.name,
                units=operator.units,
                latitude=operator.latitude.to(there.device)[there].cpu(),
                longitude=operator.longitude.to(there.device)[there].cpu(),
                value=before.values[0, 0][there].cpu(),
                error=before.error_variance[0, 0][there].sqrt().cpu(),
                background=operator(background)[there].cpu(),
                analysis=operator(state).mean(dim=0)[there].cpu(),
                used=after.mask[0, 0][there].cpu(),
            )
        )
    return found


def observation_counts(batch: Batch, channels: Sequence[FieldSpec], grid: LatLonGrid) -> Tensor:
    """Count the observations of each channel per grid cell.

    Args:
        batch: `B` cases of `T` days; an observation counts in the cell that contains its point, or
            the centre of its footprint, and a superobservation as often as it has reports.
        channels: The `C` channels.
        grid: The grid.

    Returns:
        `(B, T, C, H, W)` int32.
    """
    shape = (*batch.time.shape, len(channels), *grid.shape)
    counts = torch.zeros(shape, dtype=torch.int32)
    by_cell = counts.flatten(-2)  # a view
    places = {spec.name: i for i, spec in enumerate(channels)}
    for observations in batch.observations:
        channel = places.get(observations.name.partition("/")[2])
        if channel is None:  # an operator of several channels
            continue
        operator = observations.operator
        cell = grid.cell(operator.latitude.cpu(), operator.longitude.cpu())
        number = observations.mask.cpu().to(torch.int32)
        if observations.count is not None:
            number = number * observations.count.cpu()
        by_cell[:, :, channel].index_add_(-1, cell, number)
    return counts
