"""Localisation between a grid and all points of a network, computed once per network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slams.assimilators.last_result import RecentResults
from slams.errors import UserError
from slams.fields import ObservationOperator
from slams.grid import LatLonGrid
from slams.linalg.localisation import gaspari_cohn, localisation_matrix
from slams.observations.stacked import network_positions

__all__ = ["NetworkLocalisation"]

# Largest number of points, for the dense covariance of innovations (0.6 GB in float32).
_MOST_POINTS = 12_000

# Number of networks kept in memory: a study of modalities reuses the same few.
_NETWORKS = 4


class NetworkLocalisation:
    """Localisation of networks on one grid; the matrices of a network are kept from case to case.

    Only masks change from case to case, so that the matrices of the active observations are
    columns of the matrices of the whole network.

    Args:
        grid: The grid.
        half_width_km: Gaspari-Cohn half-width (km); infinity for none.

    Raises:
        UserError: The half-width is out of range (see `gaspari_cohn`).
    """

    def __init__(self, grid: LatLonGrid, half_width_km: float) -> None:
        self.grid = grid
        self.half_width_km = half_width_km
        gaspari_cohn(torch.zeros(1), half_width_km)
        self._recent = RecentResults(_NETWORKS)

    def matrices(
        self,
        operators: Sequence[ObservationOperator],
        points: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the localisation matrices of the active points of a network.

        Args:
            operators: All operators of the network, `P_total` points.
            points: `(P,)` int64, the active ones, see `StackedObservations.points`; the result is
                on their device.

        Returns:
            `(H * W, P)` between grid points and observed points, and `(P, P)` between observed
            points, float32.

        Raises:
            UserError: The network has too many points for a dense covariance.
        """
        there = tuple(x.to(points.device) for x in network_positions(operators))
        state, observed = self._recent.get(there, lambda: self._of_network(*there))
        return state[:, points], observed[points][:, points]

    def _of_network(self, latitude: Tensor, longitude: Tensor) -> tuple[Tensor, Tensor]:
        """Return the matrices of a whole network."""
        if len(latitude) > _MOST_POINTS:
            raise UserError(
                f"the observations in use have {len(latitude)} points; expected at most "
                f"{_MOST_POINTS}, because their covariance is a dense matrix: thin them, or use "
                "larger footprints"
            )
        there = latitude, longitude
        here = tuple(x.to(latitude.device) for x in self.grid.points)
        state = localisation_matrix(self.grid, *here, *there, self.half_width_km)
        observed = localisation_matrix(self.grid, *there, *there, self.half_width_km)
        return state, observed
