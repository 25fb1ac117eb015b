"""LETKF of members that a model has forecast: daily means are observed, end states updated.

A member `k` is run over a day. The observations of that day are of its mean, so that

    y^k = H(mean over the day of x^k)

gives the weights, and the weights transform the members' daily means (the analysis that is scored)
and, because they are properties of the members and not of a time, their states at the end of the
day, from which the next day is run (4D-LETKF: Hunt, Kostelich and Szunyogh 2007, Physica D 230,
112-126, section 4):

    x_a(t) = x_b(t) + X(t) w,      X_a(t) = X(t) W,      t within the day or at its end.

Two measures hold a small ensemble up: relaxation to prior spread, and observations that count less
for fields aloft, with which 2 m temperature and OLR have little to do: the localisation is
multiplied by a strength that falls from 1 to `aloft` between two pressures, linearly in log p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from slams.assimilators.ensemble_kalman import relax_to_prior_spread
from slams.assimilators.letkf import local_transform
from slams.assimilators.network_gains import NetworkGains
from slams.fields import Batch
from slams.grid import LatLonGrid
from slams.linalg.settings import LocalSettings
from slams.normalisation import Normaliser
from slams.observations.stacked import stack_observations

__all__ = ["ForecastFilter", "Members"]


@dataclass(frozen=True)
class Members:
    """An ensemble that a model has forecast over one day.

    Attributes:
        days: `(K, C, H, W)` physical, the members' means over the day.
        ends: `(K, F, H, W)` fields of the model's state at the end of the day, in any units.
        pressure: `(F,)` hPa, of each of those fields; surface fields have that of the surface.
    """

    days: Tensor
    ends: Tensor
    pressure: Tensor


@dataclass(eq=False)
class ForecastFilter:
    """The update of an ensemble of forecasts by the observations of a day.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        localisation: Gaspari-Cohn half-width (km); infinity for none.
        rtps: Relaxation to prior spread, 0 to 1.
        weakened: Pressures (hPa), higher first, between which the strength of observations falls.
        aloft: Strength of observations above the second of them, 0 to 1.
        without: Variables whose observations are left out.
        local: How large networks are analysed.

    Raises:
        UserError: The half-width is out of range (see `gaspari_cohn`).
    """

    normaliser: Normaliser
    grid: LatLonGrid
    localisation: float
    rtps: float
    weakened: tuple[float, float]
    aloft: float
    without: Sequence[str] = ()
    local: LocalSettings = field(default_factory=LocalSettings)

    def __post_init__(self) -> None:
        self._gains = NetworkGains(self.grid, self.localisation, self.local)

    def update(self, members: Members, batch: Batch) -> Members:
        """Update an ensemble.

        Args:
            members: The forecast of a day.
            batch: One case of that day, of which the observations and the climatology are used,
                not the background and not the truth.

        Returns:
            The analysis, as `members`.

        Raises:
            UserError: An observation cannot be used.
        """
        kept = tuple(o for o in batch.observations if o.name.partition("/")[2] not in self.without)
        observations = stack_observations(replace(batch, observations=kept), 0)
        if len(observations) == 0:
            return members
        normaliser = self.normaliser
        units = normaliser.to_channel_units(members.days.unsqueeze(1))  # (K, 1, C, H, W)
        observed = observations.apply(units)
        images = observed - observed.mean(dim=0)
        observations, innovation = self._gains.gaussian(
            observations, images, observations.values - observed.mean(dim=0)
        )
        days = ((units - batch.climatology) / normaliser.sd)[:, 0]
        fields = torch.cat([days, members.ends], dim=1)
        mean = fields.mean(dim=0)
        prior = fields - mean
        increment, analysis = local_transform(
            self._gains,
            observations,
            images,
            innovation,
            prior,
            self._strengths(members.pressure),
        )
        updated = mean + increment + relax_to_prior_spread(prior, analysis, self.rtps)
        days, ends = updated.split([days.shape[1], members.ends.shape[1]], dim=1)
        state = normaliser.denormalise(days.unsqueeze(1), batch.climatology)
        return replace(members, days=normaliser.to_physical(state)[:, 0], ends=ends)

    def _strengths(self, pressure: Tensor) -> list[float]:
        """Return the strength of observations for every channel and every field of the state."""
        levels = [channel.level for channel in self.normaliser.channels]
        low, high = self.weakened
        strengths = []
        for p in (*levels, *pressure.tolist()):
            if p is None:  # a surface field
                strengths.append(1.0)
                continue
            share = min(max(math.log(low / p) / math.log(low / high), 0.0), 1.0)
            strengths.append(1.0 + share * (self.aloft - 1.0))
        return strengths
