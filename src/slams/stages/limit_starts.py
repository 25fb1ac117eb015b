"""The weather that the members of `slams limit` start from: days of the training period."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from data_modules.multimodal import MultimodalDataModule
from data_modules.store.training_store import TrainingStore
from slams.assimilators.season import season_days
from slams.calendar.days import day_of
from slams.errors import UserError

__all__ = ["Starts"]

# Members start from training days at most so many days from the first day's day of year.
_SEASON = 15.0


class Starts:
    """Training days of the season of the first day, evenly spaced among them: one per member.

    Args:
        data: The recipe's data.
        members: Number of members.

    Raises:
        UserError: There are fewer training days than members.
    """

    def __init__(self, data: MultimodalDataModule, members: int) -> None:
        source, period = data.archive_source()
        # A recipe may analyse fewer channels than are known of a day.
        self._store = TrainingStore.open(source.path)
        first = float(data.store.time[data.splits["test"][0]])
        train = np.flatnonzero(period.contains(self._store.time))
        times = torch.from_numpy(self._store.time[train])
        season = train[season_days(times, first, _SEASON, minimum=members).numpy()]
        if len(season) < members:
            raise UserError(
                f"key 'assimilation.letkf_perfect_model.members': found {members}, expected at "
                f"most {len(season)}: members start from days of data.splits.train"
            )
        self._rows = season[np.linspace(0, len(season) - 1, members).round().astype(int)]

    @property
    def days(self) -> list[str]:
        """Return the day that each member starts from, as ISO dates."""
        return [str(day_of(float(time))) for time in self._store.time[self._rows]]

    def weather(self, member: int) -> dict[str, xr.DataArray]:
        """Return the fields by variable of the day that a member starts from."""
        values = self._store.read([int(self._rows[member])])[0]
        channels = self._store.channels
        found = {}
        for name in dict.fromkeys(channel.variable for channel in channels):
            at = [i for i, channel in enumerate(channels) if channel.variable == name]
            levels = [channels[i].level for i in at]
            if levels == [None]:
                found[name] = xr.DataArray(values[at[0]], dims=("latitude", "longitude"))
            else:
                dims = ("level", "latitude", "longitude")
                found[name] = xr.DataArray(values[at], {"level": levels}, dims)
        return found
