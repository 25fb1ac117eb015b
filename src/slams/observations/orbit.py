r"""The orbit of a polar satellite: its ground track, its repeat cycle and its swath.

The orbit is circular with inclination `i` and makes `R` revolutions in `N` nodal days, after which
its ground track repeats. With `Omega'` the precession of the node, `w` the rotation of the Earth
and `T` the nodal period,

    nodal day  D = 2 pi / (w - Omega'),         T = N D / R,
    Omega'    = -(3/2) J2 (a_e / a)^2 n cos i,  n = 2 pi / T,     a^3 = mu / n^2.

A sun-synchronous orbit has `Omega'` = one turn per tropical year, so that `D` is 86,400 s, the
track repeats after exactly `N` calendar days, and each crossing of the equator is at the same
local mean time; the equation for `Omega'` then determines `i`. For any other inclination it
determines `Omega'`, by iteration.

With `u = 2 pi t / T` the angle from the ascending node and `L_0` the longitude of the node at
`t = 0`, the ground track is

    sin(latitude) = sin i sin u,
    longitude     = L_0 + atan2(cos i sin u, cos u) - (w - Omega') t.

A pass observes a point `x` if the point lies within half a swath of the track: with `n(t)` the
normal of the orbit in the rotating frame, the across-track angle is `asin(x . n(t))` at the time
at which the along-track angle is zero. That time is found by an iteration that contracts by about
`1/15`, the ratio of the Earth's rotation to the satellite's.

Source: Vallado 2013, Fundamentals of Astrodynamics and Applications, chapters 9 and 11.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from slams.calendar.steps import beginning_of_step
from slams.errors import UserError
from slams.grid import EARTH_RADIUS_KM, unit_vectors

__all__ = ["DAY_SECONDS", "Orbit", "Passes"]

DAY_SECONDS = 86400.0
_MU = 398600.4418  # km3 s-2, gravity of the Earth
_J2 = 1.08262668e-3
_EQUATOR_KM = 6378.137
_TROPICAL_YEAR = 365.24219  # days
_SUN = 2 * math.pi / (_TROPICAL_YEAR * DAY_SECONDS)  # rad s-1
# Rotation of the Earth: one turn per day relative to the mean sun.
_EARTH = 2 * math.pi / DAY_SECONDS + _SUN
# Steps of the iterations, each of which gains more than one digit; six determine the time of a
# pass to well below a millisecond.
_STEPS, _PASS_STEPS = 12, 6


@dataclass(frozen=True)
class Passes:
    """The passes of a day and the points that they observe.

    Attributes:
        time: `(K, P)` float64 days since 1970-01-01 00 UTC of the closest approach; NaN where
            the pass does not observe the point on that day.
        across: `(K, P)` float64 km, distance from the ground track, positive to its left; NaN in
            the same places.
    """

    time: Tensor
    across: Tensor

    @property
    def seen(self) -> Tensor:
        """Return whether each pass observes each point, `(K, P)` bool."""
        return torch.isfinite(self.time)


@dataclass(frozen=True)
class Orbit:
    """A circular orbit that repeats, and the swath of its instrument.

    Attributes:
        repeat_days: Nodal days `N` after which the ground track repeats.
        revolutions: Revolutions `R` in that time, without a common divisor with `N`.
        crossing_time: Local mean time (hours) at which the satellite crosses the equator
            northwards on 1970-01-01, and always if the orbit is sun-synchronous.
        swath_km: Width of the swath on the ground.
        inclination: Inclination (degrees); `None` for the sun-synchronous one.

    Raises:
        UserError: No such orbit exists.
    """

    repeat_days: int
    revolutions: int
    crossing_time: float
    swath_km: float
    inclination: float | None = None

    def __post_init__(self) -> None:
        if self.repeat_days < 1 or not 2 <= self.revolutions / self.repeat_days <= 17:
            raise UserError(
                f"orbit of {self.revolutions} revolutions in {self.repeat_days} days; expected "
                f"between 2 and 17 per day"
            )
        if math.gcd(self.revolutions, self.repeat_days) != 1:
            shortest = math.gcd(self.revolutions, self.repeat_days)
            raise UserError(
                f"orbit of {self.revolutions} revolutions in {self.repeat_days} days repeats "
                f"after {self.repeat_days // shortest} days already; write "
                f"{self.revolutions // shortest} in {self.repeat_days // shortest}"
            )
        if self.inclination is not None and not 0 < self.inclination < 180:
            raise UserError(
                f"inclination of the orbit is {self.inclination:g} degrees; expected between 0 "
                f"and 180"
            )
        if not 0 < self.swath_km < math.pi * EARTH_RADIUS_KM:
            raise UserError(
                f"swath of {self.swath_km:g} km; expected more than 0 and less than half the "
                f"Earth's circumference"
            )

    @cached_property
    def precession(self) -> float:
        """Return the precession of the node, rad s-1, eastwards positive."""
        if self.inclination is None:
            return _SUN
        rate = 0.0
        for _ in range(_STEPS):
            rate = _precession(self._period(rate), math.radians(self.inclination))
        return rate

    @cached_property
    def period(self) -> float:
        """Return the nodal period (s)."""
        return self._period(self.precession)

    @cached_property
    def repeat(self) -> float:
        """Return the days after which the ground track repeats, an integer if sun-synchronous."""
        return self.revolutions * self.period / DAY_SECONDS

    @cached_property
    def inclination_radians(self) -> float:
        """Return the inclination (rad).

        Raises:
            UserError: At this period no orbit is sun-synchronous.
        """
        if self.inclination is not None:
            return math.radians(self.inclination)
        cosine = _SUN / _precession(self.period, 0.0)
        if not -1 <= cosine <= 1:
            raise UserError(
                f"orbit of {self.revolutions} revolutions in {self.repeat_days} days is too high "
                f"to be sun-synchronous; set observations.satellite.orbit.inclination"
            )
        return math.acos(cosine)

    def passes(self, latitude: Tensor, longitude: Tensor, day: float, step: float = 1.0) -> Passes:
        """Find the passes that observe points on a UTC day, or within a step of it.

        Args:
            latitude: `(P,)` degrees north.
            longitude: `(P,)` degrees east.
            day: Days since 1970-01-01; its time within a step does not matter.
            step: Length of a step (days): passes from its beginning to its end are found.
        """
        points = unit_vectors(latitude.to(torch.float64), longitude.to(torch.float64))
        start = beginning_of_step(day, step)
        # Two guesses per revolution, so that no approach is half a revolution from all of them.
        guesses = 2 * DAY_SECONDS / self.period
        first, last = math.floor(start * guesses) - 2, math.ceil((start + step) * guesses) + 2
        time = torch.arange(first, last + 1, dtype=torch.float64, device=points.device)
        time = (time / guesses)[:, None].expand(-1, len(points))
        for _ in range(_PASS_STEPS):
            below, ahead, _ = self._frame(time)
            along = torch.atan2((points * ahead).sum(-1), (points * below).sum(-1))
            time = time + along * self.period / (2 * math.pi * DAY_SECONDS)
        time = time.sort(dim=0).values
        below, _, normal = self._frame(time)
        across = EARTH_RADIUS_KM * torch.asin((points * normal).sum(-1).clamp(-1, 1))
        near = (across.abs() <= self.swath_km / 2) & ((points * below).sum(-1) > 0)
        # The beginning of a day belongs to it, its end does not.
        seen = near & (time >= start) & (time < start + step) & ~_twice(time, self.period)
        return Passes(time.where(seen, torch.nan), across.where(seen, torch.nan))

    def _period(self, precession: float) -> float:
        return self.repeat_days * 2 * math.pi / (_EARTH - precession) / self.revolutions

    def _angles(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the angle from the node and the node's longitude (rad)."""
        seconds = time.to(torch.float64) * DAY_SECONDS
        u = 2 * math.pi * torch.remainder(seconds / self.period, 1.0)
        # Remove whole turns first, which preserves the precision of large times.
        turns = torch.remainder(seconds * (_EARTH - self.precession) / (2 * math.pi), 1.0)
        return u, 2 * math.pi * (self.crossing_time / 24 - turns)

    def _frame(self, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the directions below, ahead and to the left, `(..., 3)`, in the Earth's frame."""
        u, node = self._angles(time)
        i = self.inclination_radians
        east = torch.stack([torch.cos(node), torch.sin(node), torch.zeros_like(node)], dim=-1)
        # The position a quarter of a revolution after the node.
        top = torch.stack(
            [
                -math.cos(i) * torch.sin(node),
                math.cos(i) * torch.cos(node),
                torch.full_like(node, math.sin(i)),
            ],
            dim=-1,
        )
        c, s = torch.cos(u)[..., None], torch.sin(u)[..., None]
        normal = torch.linalg.cross(east, top)
        return c * east + s * top, c * top - s * east, normal


def _radius(period: float) -> float:
    """Return the radius (km) of the circular Keplerian orbit with a period (s)."""
    return (_MU * (period / (2 * math.pi)) ** 2) ** (1 / 3)


def _precession(period: float, inclination: float) -> float:
    """Return the precession of the node (rad s-1) due to the Earth's oblateness."""
    return (
        -1.5
        * _J2
        * (_EQUATOR_KM / _radius(period)) ** 2
        * (2 * math.pi / period)
        * math.cos(inclination)
    )


def _twice(time: Tensor, period: float) -> Tensor:
    """Return which approaches, `(K, P)` in order of time, another guess has already found."""
    same = torch.zeros_like(time, dtype=torch.bool)
    same[1:] = (time[1:] - time[:-1]) * DAY_SECONDS < 0.1 * period
    return same
