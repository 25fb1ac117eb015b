"""What can be computed once for a network: observed errors of an archive, and localisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.localisation import localisation_matrix
from slams.fields import ObservationOperator
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.observations.stacked import network_positions, observe_all, observe_perturbations

__all__ = ["ObservedArchive", "observe_archive"]

# Windows of the archive observed at a time: bounds the temporaries, not the result.
_WINDOWS = 32


@dataclass(frozen=True, eq=False)
class ObservedArchive:
    """Holds an archive's background errors as a network sees them.

    Attributes:
        operators: The network's operators, `P_total` points.
        images: `(N, T, P_total)` H_lin (e * sd) of the errors e, the operators' units.
        state_localisation: `(H * W, P_total)` float32, between grid points and observed points.
        observation_localisation: `(P_total, P_total)` float32, between observed points.
        probe: `(P_total,)` a fixed random state as the network sees it: its identity.
    """

    operators: tuple[ObservationOperator, ...]
    images: Tensor
    state_localisation: Tensor
    observation_localisation: Tensor
    probe: Tensor

    def belongs_to(self, operators: Sequence[ObservationOperator], sd: Tensor) -> bool:
        """Tells whether these are the operators it was made with.

        A batch that moved to a device brings copies of its operators; they are recognised by
        what they make of a fixed random state.

        Args:
            operators: The operators.
            sd: `(C, H, W)`, for the shape and device of states.
        """
        if len(operators) == len(self.operators) and all(
            a is b for a, b in zip(operators, self.operators, strict=True)
        ):
            return self.images.device == sd.device
        probe = _probe(operators, sd)
        return probe.device == self.probe.device and torch.equal(probe, self.probe)


def observe_archive(
    archive: Archive,
    operators: Sequence[ObservationOperator],
    normaliser: Normaliser,
    grid: LatLonGrid,
    half_width_km: float,
) -> ObservedArchive:
    """Observes the background errors of an archive.

    Args:
        archive: Windows of the training period with their backgrounds, normalised.
        operators: The network's operators.
        normaliser: Its standard deviations turn normalised errors into channel units.
        grid: The grid.
        half_width_km: Half-width of the localisation (km).

    Raises:
        UserError: The half-width is out of range, see `gaspari_cohn`.
    """
    sd = normaliser.sd
    images = []
    for start in range(0, archive.fields.shape[0], _WINDOWS):
        windows = slice(start, start + _WINDOWS)
        errors = (archive.fields[windows] - archive.background[windows]).to(sd.device)
        images.append(observe_perturbations(operators, errors * sd))
    observed = tuple(x.to(sd.device) for x in network_positions(operators))
    points = tuple(x.to(sd.device) for x in grid.points)
    return ObservedArchive(
        operators=tuple(operators),
        images=torch.cat(images),
        state_localisation=localisation_matrix(grid, *points, *observed, half_width_km),
        observation_localisation=localisation_matrix(grid, *observed, *observed, half_width_km),
        probe=_probe(operators, sd),
    )


def _probe(operators: Sequence[ObservationOperator], sd: Tensor) -> Tensor:
    """Observes a fixed random state, the same on every device."""
    state = torch.randn(sd.shape, generator=torch.Generator().manual_seed(0)).to(sd)
    return observe_all(operators, state[None, None]).flatten()
