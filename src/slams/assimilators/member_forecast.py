"""Forecasts of ensemble members by one day, with samples of their errors.

A cycled ensemble filter carries each member on by itself. A member is a short trajectory, the
states of the last L days, since the day before yesterday helps to forecast where the state of one
day is not all that determines the next. With a forecast F and its errors e on days that it was not
fitted to,

    x^m(t) = F(x^m(t - L), ..., x^m(t - 1)) + e^m,      e^m an error of a past day of the season,

members spread as much as forecasts are wrong: by the growth of their own differences, and by what
the forecast itself cannot know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from slams.assimilators.background_errors import BackgroundErrors
from slams.assimilators.base import Archive
from slams.assimilators.season import draw_days, season_days

__all__ = ["MemberForecast"]


class MemberForecast(ABC):
    """Base class of forecasts of one day.

    Attributes:
        past: Days `L` of a member's trajectory.
        days: Single days of the training period, `(N, 1, C, H, W)`, from which cycles start.
        errors: Errors of forecasts of past days that they were not fitted to: truths minus
            forecasts as the fields `(E, 1, C, H, W)`, and zeros as the background.
    """

    past: int
    days: Archive
    errors: Archive

    @abstractmethod
    def forecast(self, trajectories: Tensor) -> Tensor:
        """Forecast the next day.

        Args:
            trajectories: `(K, L, C, H, W)` normalised, the last day last.

        Returns:
            `(K, C, H, W)` normalised.
        """

    def climatological(self, date: float, season: float, seed: int, members: int) -> Tensor:
        """Draw trajectories of past days of the season, centred on the climatology.

        Args:
            date: Day of the last states, days since 1970-01-01.
            season: Largest distance (days) from its day of year.
            seed: The experiment's seed.
            members: Number `K` of trajectories.

        Returns:
            `(K, L, C, H, W)` normalised.
        """
        time = self.days.time[:, 0]
        last = self._last_days
        chosen = season_days(time[last], date, season)
        drawn = draw_days(len(chosen), seed, "member_forecast/start", int(date), members)
        at = last[chosen[drawn]]
        states = [self.days.fields[at - back][:, 0] for back in reversed(range(self.past))]
        trajectories = torch.stack(states, dim=1)
        return trajectories - trajectories.mean(dim=0)

    def model_errors(self, date: float, season: float, seed: int, members: int) -> Tensor:
        """Draw errors of the season, centred.

        Args:
            date: The verifying day, days since 1970-01-01.
            season: Largest distance (days) of an error's day from its day of year.
            seed: The experiment's seed.
            members: Number `K` of errors.

        Returns:
            `(K, C, H, W)` normalised.
        """
        at = self._draw("member_forecast/errors", date, season, seed, members)
        errors = self.errors.fields[at][:, 0]
        return errors - errors.mean(dim=0)

    def scaled_errors(
        self, date: float, season: float, seed: int, members: int, variance: Tensor
    ) -> Tensor:
        """Draw errors of the season, centred and rescaled to a variance.

        Args:
            date: The verifying day, days since 1970-01-01.
            season: Largest distance (days) of an error's day from its day of year.
            seed: The experiment's seed.
            members: Number `K` of errors.
            variance: `(C, H, W)` normalised.

        Returns:
            `(K, C, H, W)` normalised.
        """
        at = self._draw("member_forecast/static", date, season, seed, members)
        return self._scaled.of(at, variance[None])[:, 0]

    @cached_property
    def _last_days(self) -> Tensor:
        """Return the positions of days that have the `L - 1` days before them, `(n,)`."""
        return last_days(self.days.time[:, 0], self.past)

    @cached_property
    def _scaled(self) -> BackgroundErrors:
        return BackgroundErrors(self.errors)

    def _draw(self, stream: str, date: float, season: float, seed: int, count: int) -> Tensor:
        chosen = season_days(self.errors.time[:, 0], date, season)
        return chosen[draw_days(len(chosen), seed, stream, int(date), count)]


def last_days(time: Tensor, length: int) -> Tensor:
    """Return the positions at which some number of consecutive days end.

    Args:
        time: `(N,)` days in order.
        length: Number of consecutive days.

    Returns:
        `(n,)` int64 positions; those before them are of the days before.
    """
    position = torch.arange(length - 1, len(time))
    apart = time[position] - time[position - (length - 1)]
    return position[apart.round() == length - 1]
