"""Gains for the observations of a case: dense where they are few, domain by domain otherwise."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.linalg.archive_gain import ArchiveGain
from slams.linalg.domains import Domains
from slams.linalg.gain import Gain
from slams.linalg.localisation import gaspari_cohn
from slams.linalg.partners import ALONE, Partners
from slams.linalg.selection import ObservedPoints
from slams.linalg.settings import LocalSettings
from slams.observations.stacked import StackedObservations

__all__ = ["NetworkGains"]

# Largest number of observations of a dense covariance (1.2 GB in float64).
_MOST_POINTS = 12_000


class NetworkGains:
    """Gains of observations on one grid.

    Args:
        grid: The grid of the anomalies.
        half_width_km: Gaspari-Cohn half-width (km); infinity for none.
        local: Settings of the local analysis.

    Attributes:
        partners: Processes that solve the domains of a case together.

    Raises:
        UserError: The half-width is out of range (see `gaspari_cohn`).
    """

    def __init__(self, grid: LatLonGrid, half_width_km: float, local: LocalSettings) -> None:
        self.grid = grid
        self.half_width_km = half_width_km
        self.local = local
        self.partners: Partners = ALONE
        gaspari_cohn(torch.zeros(1), half_width_km)
        self._domains: dict[torch.device, Domains] = {}

    def is_local(self, observations: StackedObservations) -> bool:
        """Return whether observations are so many that they are analysed domain by domain."""
        return len(observations) > self.local.above

    def gain(self, observations: StackedObservations, partners: Partners | None = None) -> Gain:
        """Return the gain of the active observations of a case.

        Args:
            observations: The observations; the result is on their device.
            partners: Processes that solve the domains together; by default the attribute.

        Raises:
            UserError: They are too many for a dense covariance, and it is asked for.
        """
        count, device = len(observations), observations.points.device
        positions = tuple(x.to(device) for x in self.grid.points)
        observed = ObservedPoints(
            observations.latitude, observations.longitude, observations.kind, observations.silent
        )
        if self.is_local(observations):
            if device not in self._domains:
                grid = self.grid.to(device)
                self._domains[device] = Domains.cover(grid, self.local.spacing)
            domains = self._domains[device]
            partners = partners or self.partners
            if len(domains) < partners.world:  # some would have none
                partners = ALONE
            # Silent observations have no error variance that an archive's space could use.
            silent = bool(observed.silent.any())
            kind = ArchiveGain if self.local.space == "archive" and not silent else Gain
            return kind(
                domains, positions, self.half_width_km, observed, self.local.observations, partners
            )
        if count > _MOST_POINTS:
            raise UserError(
                f"key 'assimilation.local.above': found {self.local.above}, and {count} "
                f"observations to analyse at once; expected at most {_MOST_POINTS}, because their "
                f"covariance is a dense matrix: lower it"
            )
        whole = Domains.whole(len(positions[0]), device)
        return Gain(whole, positions, self.half_width_km, observed)

    def gaussian(
        self,
        observations: StackedObservations,
        images: Tensor,
        innovation: Tensor,
        gain: Gain | None = None,
    ) -> tuple[StackedObservations, Tensor]:
        """Replace silent observations by Gaussian ones with the same effect on the prior.

        Args:
            observations: The active observations.
            images: `(n, P)` observed anomalies of the prior, centred.
            innovation: `(P,)` observed values minus those predicted by the mean of the prior.
            gain: The gain of these observations, if it is there already.

        Returns:
            Observations, and their innovation `(P,)`; unchanged if none is silent.
        """
        if not bool(observations.silent.any()):
            return observations, innovation
        gain = gain or self.gain(observations)
        found, variance = gain.equivalent(images, innovation, observations.variance)
        values = observations.values - innovation + found
        silent = torch.zeros_like(observations.silent)
        return replace(observations, values=values, variance=variance, silent=silent), found

    def nearest(self, observations: StackedObservations, points: slice) -> tuple[Tensor, Tensor]:
        """Return the observations within reach of some grid points, the nearest first.

        Args:
            observations: The observations, `P`.
            points: The grid points, `g`.

        Returns:
            Localisation float32 and indices of the observations, `(g, near)` each; padded with a
            localisation of 0. With a local analysis there are at most `local.observations`.
        """
        device = observations.points.device
        here = (x.to(device)[points] for x in self.grid.points)
        away = self.grid.distance(*here, observations.latitude, observations.longitude)
        taper = gaspari_cohn(away, self.half_width_km).to(torch.float32)
        near = int((taper > 0).sum(dim=1).max())
        if self.is_local(observations):
            near = min(near, self.local.observations)
        return taper.topk(near, dim=1)
