"""The stage that cycles a filter with the perfect model: what the observations could give at best.

The members are states of the model that made the truth. Every day each of them is run for a day,
and `slams.assimilators.forecast_filter` updates them by the observations that `slams assimilate`
draws for the same recipe. The truth is used for the printed scores alone. The analyses are kept as
files, which the method `letkf_perfect_model` reads.

The members start as different weather of the right season: one run from rest is moved, once per
member, to a day of the training period.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from data_modules.multimodal import MultimodalDataModule
from data_modules.nature_run import speedy
from data_modules.nature_run.period import Period
from slams.assimilators.forecast_filter import ForecastFilter, Members
from slams.assimilators.materials import KeptDay
from slams.calendar.days import day_of
from slams.config.loading import to_plain
from slams.config.schema import Config
from slams.errors import UserError
from slams.fields import Batch
from slams.runtime import directories
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.ranks import say
from slams.runtime.signals import defer
from slams.stages.data import analysed_days
from slams.stages.limit_files import START, CycleFiles, DayScores, print_levels
from slams.stages.limit_starts import Starts

__all__ = ["MemberModel", "limit"]

# Settings that change where the cycle is kept, but not its numbers.
_PLACE = ("analyses",)


class MemberModel(Protocol):
    """One member at a time of a forecast model; `data_modules.nature_run.speedy.SpeedyModel`."""

    @property
    def temperature(self) -> slice:
        """Which of the fields are temperature (K)."""
        ...

    @property
    def pressure(self) -> np.ndarray:
        """Pressure (hPa) of each field, `(F,)`."""
        ...

    @property
    def fields(self) -> np.ndarray:
        """Prognostic fields of the present state, `(F, H, W)`."""
        ...

    def move_to(self, fields: np.ndarray) -> None:
        """Change the present state so that it has these fields."""
        ...

    def move_to_day(self, day: Mapping[str, xr.DataArray]) -> None:
        """Change the present state to the weather of a day on pressure levels."""
        ...

    def run_days(self, days: int) -> None:
        """Run some days."""
        ...

    def day(self) -> xr.Dataset:
        """Run a day and return its mean fields."""
        ...

    def save(self, path: Path) -> None:
        """Write the state, atomically."""
        ...

    def load(self, path: Path) -> None:
        """Restore a state."""
        ...


def limit(config: Config, dry_run: bool = False) -> Path:
    """Cycle the filter over the recipe's days, or over those that are missing.

    Args:
        config: The recipe; `assimilation.cycle_days` is the number of days.
        dry_run: Whether only to print what would be done.

    Returns:
        The directory of the analyses.

    Raises:
        UserError: jcm is not installed, there are fewer training days than members, the directory
            belongs to another cycle or to something else, another process is writing it, or the
            model has another grid or becomes unstable.
    """
    settings = config.assimilation.letkf_perfect_model
    versions = speedy.model_versions()
    with Heartbeat("limit", config.trainer.log_every_seconds, "opening the training store"):
        data = analysed_days(config, batch_size=1)
        data.check_test_days()
    first, days = day_of(float(data.store.time[data.splits["test"][0]])), len(data.splits["test"])
    path = Path(settings.analyses)
    say(
        f"{settings.members} members of jcm {versions['jcm']} (T{settings.truncation}), cycled "
        f"over {days} days from {first}, to {path}; before, {settings.spinup_days} days of one"
    )
    starts = Starts(data, settings.members)
    if dry_run:
        return path
    identity = {
        "first": str(first),
        "seed": config.seed,
        "store": data.store.fingerprint,
        "starts": starts.days,
        "settings": {k: v for k, v in asdict(settings).items() if k not in _PLACE},
        "observations": to_plain(config)["observations"],
        "channels": [channel.name for channel in data.channels],
        "versions": versions,
        "forcing": speedy.forcing_digest(),
    }
    made = directories.make(path.parent)
    lock = directories.lock(path, lambda: "another `slams limit`")
    try:
        files = CycleFiles.open(path, identity, config.resume)
        _Cycle(config, data, files, starts).run()
    finally:
        directories.unlock(lock)
        directories.remove_created(made)
    scored = sorted(files.scores)[:days]
    print_levels(files.scores, [c.level for c in _temperatures(data)], scored)
    return path


class _Cycle:
    """The cycle of one recipe.

    Args:
        config: The recipe.
        data: Its data, one day per batch.
        files: Where the cycle is kept.
        starts: The weather that the members start from.
    """

    def __init__(
        self, config: Config, data: MultimodalDataModule, files: CycleFiles, starts: Starts
    ) -> None:
        self._settings = config.assimilation.letkf_perfect_model
        self._seed, self._data, self._files, self._starts = config.seed, data, files, starts
        settings = self._settings
        low, high = settings.weakened
        self._filter = ForecastFilter(
            data.normaliser,
            data.grid,
            settings.localisation,
            settings.rtps,
            (low, high),
            settings.aloft,
            settings.without,
            config.assimilation.local,
        )
        self._scored = [data.channels.index(channel) for channel in _temperatures(data)]

    @cached_property
    def _model(self) -> MemberModel:
        """Return the model, made when a day is missing."""
        times = self._data.store.time[self._data.splits["test"]]
        first = np.datetime64(day_of(float(times[0])), "D")
        settings = self._settings
        period = Period(first, len(times))
        return speedy.SpeedyModel(period, settings.truncation, settings.spinup_days)

    def run(self) -> None:
        """Analyse the missing days in order."""
        self._start()
        for window in self._data.test_dataloader():
            day = str(day_of(float(window.time[0, 0])))
            if day in self._files.scores:
                continue
            began = time.perf_counter()
            with torch.no_grad():
                batch = self._data.on_after_batch_transfer(window)
                forecast = self._forecast(day)
                analysis = self._filter.update(forecast, batch)
            scores = DayScores(
                self._errors(forecast.days, batch),
                self._errors(analysis.days, batch),
                self._spread(analysis.days),
            )
            self._keep(day, analysis, scores)
            say(f"{day}: {scores}; {time.perf_counter() - began:.0f} s")

    def _start(self) -> None:
        """Make the members' first states, or those that are missing."""
        files, settings = self._files, self._settings
        missing = [m for m in range(settings.members) if not files.state(START, m).exists()]
        if files.scores or not missing:
            return
        model = self._model
        if not files.common.exists():
            model.run_days(settings.spinup_days)
            model.save(files.common)
            say(f"spin-up of {settings.spinup_days} days is done")
        self._check_grid(model.fields.shape[1:])
        for member in missing:
            model.load(files.common)
            model.move_to_day(self._starts.weather(member))
            model.save(files.state(START, member))
        say(f"members start from {', '.join(self._starts.days)}")

    def _forecast(self, day: str) -> Members:
        """Run every member over a day.

        Raises:
            UserError: A member became unstable, or the model has another grid.
        """
        model, files = self._model, self._files
        days, ends = [], []
        for member in range(self._settings.members):
            model.load(files.latest(member))
            means = model.day()
            ends.append(torch.from_numpy(np.ascontiguousarray(model.fields)))
            days.append(self._channels(means))
            model.save(files.forecast(member))
            if not bool(torch.isfinite(days[-1]).all() and torch.isfinite(ends[-1]).all()):
                raise UserError(
                    f"member {member} of letkf_perfect_model became unstable on {day}: its "
                    f"fields are not finite; choose another localisation or rtps, and "
                    f"resume=overwrite"
                )
        pressure = torch.from_numpy(model.pressure.astype(np.float32))
        return Members(torch.stack(days), torch.stack(ends), pressure)

    def _channels(self, means: xr.Dataset) -> Tensor:
        """Return the channels of the store from the model's means of a day, `(C, H, W)`."""
        self._check_grid((means.sizes["latitude"], means.sizes["longitude"]), means["latitude"])
        stacked = []
        for channel in self._data.channels:
            field = means[channel.variable].isel(time=0)
            stacked.append(field if channel.level is None else field.sel(level=channel.level))
        return torch.from_numpy(np.stack([f.values for f in stacked]).astype(np.float32))

    def _check_grid(self, found: tuple[int, ...], latitude: xr.DataArray | None = None) -> None:
        """Refuse a model of another grid than that of the store."""
        grid = self._data.grid
        same = found == grid.shape
        if same and (latitude is None or np.allclose(latitude, grid.latitude, atol=1e-3)):
            return
        raise UserError(
            f"key 'assimilation.letkf_perfect_model.truncation': found a model of "
            f"{found[0]} x {found[1]} points, expected the grid of the training store, "
            f"{grid.shape[0]} x {grid.shape[1]}"
        )

    def _keep(self, day: str, analysis: Members, scores: DayScores) -> None:
        """Write the members' states, then their analysis, then the record that names them."""
        files, model = self._files, self._model
        for member, fields in enumerate(analysis.ends):
            model.load(files.forecast(member))
            model.move_to(fields.numpy())
            model.save(files.state(day, member))
        channels = [channel.name for channel in self._data.channels]
        kept = KeptDay(analysis.days, channels, self._data.grid.fingerprint, self._seed)
        with defer():
            files.finish(day, kept, scores)

    def _errors(self, members: Tensor, batch: Batch) -> list[float]:
        """Return the mean squared error (K2) of the mean temperature at each level."""
        state = self._data.normaliser.denormalise(batch.fields, batch.climatology)
        truth = self._data.normaliser.to_physical(state)[0, 0, self._scored]
        error = members[:, self._scored].mean(dim=0) - truth
        return self._means(error.square())

    def _spread(self, members: Tensor) -> list[float]:
        """Return the variance (K2) of the members' temperature at each level."""
        return self._means(members[:, self._scored].var(dim=0))

    def _means(self, squares: Tensor) -> list[float]:
        weights = self._data.grid.weights.to(squares.dtype)[:, None]
        return (squares * weights).mean(dim=(1, 2)).tolist()


def _temperatures(data: MultimodalDataModule) -> list:
    return [c for c in data.channels if c.variable == "temperature"]
