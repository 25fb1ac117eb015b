"""What the tests of the classical methods share: fitting, and operators that are not linear."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from slams.assimilators.base import Archive, Assimilator
from slams.fields import Batch, ObservationOperator
from tests.assimilators.problems import LinearGaussian

__all__ = ["Warped", "fitted", "warped"]


def fitted(
    kind: type, problem: LinearGaussian, archive: Archive, **settings: float
) -> Assimilator:
    """Make a method and fit it."""
    method = kind(problem.normaliser, problem.grid, settings.pop("seed", 0), **settings)
    method.fit(archive)
    return method


class Warped:
    """Observes u + strength * scale * tanh((u - centre) / scale) of a linear operator's u."""

    def __init__(
        self, operator: ObservationOperator, strength: float, centre: float, scale: float
    ) -> None:
        self.operator = operator
        self.latitude, self.longitude = operator.latitude, operator.longitude
        self.units = operator.units
        self.strength, self.centre, self.scale = strength, centre, scale

    def __call__(self, state: Tensor) -> Tensor:
        linear = self.operator(state)
        bent = self.scale * torch.tanh((linear - self.centre) / self.scale)
        return linear + self.strength * bent


def warped(batch: Batch, strength: float) -> Batch:
    """Replace the operators of a batch by warped ones, which see the truth without noise."""
    truth = batch.climatology + batch.fields * torch.tensor([3.0, 20.0])[:, None, None]
    observations = []
    for old, (centre, scale) in zip(
        batch.observations, ((280.0, 3.0), (230.0, 20.0)), strict=True
    ):
        operator = Warped(old.operator, strength, centre, scale)
        observations.append(replace(old, operator=operator, values=operator(truth)))
    return replace(batch, observations=tuple(observations))
