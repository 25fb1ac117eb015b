"""The background of a window, made from earlier states of the store or from a file of states."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data_modules.store.periods import Period, find_days
from data_modules.store.training_store import TrainingStore
from data_modules.stream.windows import Earlier
from slams.calendar.steps import describe_step, steps_per_day
from slams.config.schema import BackgroundConfig
from slams.errors import UserError
from slams.fields import Background, Window
from slams.normalisation import Normaliser
from slams.observations import backgrounds

__all__ = ["FEWEST_FILE_DAYS", "BackgroundProvider"]

# Number of evenly spaced training days from which the error of a background file is estimated.
_FILE_DAYS = 200
FEWEST_FILE_DAYS = 30


class BackgroundProvider:
    """Provider of backgrounds; its attributes say what has to be read with each window.

    Args:
        config: Kind of background, lag, re-centring.
        store: The training store.
        window: Days per window, `T`.

    Attributes:
        earlier: Days to read before each window, or `None`.
        states: Store from which to read the window's own days (kind `file`), or `None`.

    Raises:
        UserError: The store has no persistence for the required lags, or the background file is
            invalid.
    """

    def __init__(self, config: BackgroundConfig, store: TrainingStore, window: int) -> None:
        self.config = config
        self.earlier: Earlier | None = None
        self.states: TrainingStore | None = None
        self._coefficient: Tensor | None = None
        self._variance: Tensor | None = None
        if config.kind == "damped_persistence" or config.recentre_days > 0:
            recentred = config.recentre_days * steps_per_day(store.step)
            self.earlier = Earlier(config.lag, max(1, recentred), store.step)
        if config.kind == "damped_persistence":
            self._coefficient, self._variance = _persistence(config, store, window)
        elif config.kind == "file":
            if config.recentre_days > 0:
                raise UserError(
                    f"background.recentre_days: found {config.recentre_days} with "
                    f"background.kind=file, expected 0: states of a file are not anomalies"
                )
            self.states = _open_states(config, store)
            self._variance = _file_variance(self.states, store, window)
        elif config.kind != "climatology":
            raise UserError(
                f"background.kind: found {config.kind!r}, expected damped_persistence, "
                f"climatology or file"
            )

    @property
    def persistence(self) -> tuple[Tensor, Tensor]:
        """Return coefficients and error variances of damped persistence, `(T, C, H, W)` each.

        Raises:
            UserError: The background is of another kind.
        """
        if self._coefficient is None or self._variance is None:
            raise UserError(
                f"background.kind: found {self.config.kind!r}, expected damped_persistence"
            )
        return self._coefficient, self._variance

    def available(self, store: TrainingStore, cases: np.ndarray, window: int) -> np.ndarray:
        """Return whether the states for the background of each window exist.

        Args:
            store: The store of the windows.
            cases: `(n,)` positions of their first days.
            window: Days per window.

        Returns:
            `(n,)` bool.
        """
        first = store.time[cases]
        if self.states is not None:
            days = first[:, None] + store.step * np.arange(window)
            return (find_days(self.states.time, days) >= 0).all(axis=1)
        if self.earlier is not None:
            return find_days(store.time, first - self.earlier.lag_days) >= 0
        return np.ones(len(cases), dtype=bool)

    def offset(self, window: Window, normaliser: Normaliser) -> Tensor | None:
        """Return the offset of re-centring to the climatology, `(B, C, H, W)` channel units."""
        if self.config.recentre_days == 0 or window.previous is None:
            return None
        days = self.previous_days(window)
        return backgrounds.recentring_offset(
            normaliser.to_channel_units(window.previous), normaliser.climatology(days)
        )

    def __call__(
        self,
        window: Window,
        normaliser: Normaliser,
        climatology: Tensor,
        offset: Tensor | None,
    ) -> Background:
        """Make the background of a window, on the window's device.

        Args:
            window: The window, with `previous` as required by `earlier` or `states`.
            normaliser: The normaliser, on the same device.
            climatology: `(B, T, C, H, W)` channel units, re-centred.
            offset: Offset of re-centring included in it, or `None`.
        """
        device = window.fields.device
        if self.config.kind == "climatology":
            return backgrounds.climatological(window.fields.shape, device=device)
        if window.previous is None or self._variance is None:
            raise ValueError("the window lacks the states from which its background is made")
        if self.config.kind == "file":
            return self.of_states(normaliser.normalise(window.previous, climatology))
        last = self.previous_days(window)[:, -1:]
        centre = normaliser.climatology(last)
        if offset is not None:
            centre = centre + offset.unsqueeze(1)
        return self.of_states(normaliser.normalise(window.previous[:, -1:], centre))

    def of_states(self, states: Tensor) -> Background:
        """Make the background from the normalised states that it depends on.

        Args:
            states: `(B, T, C, H, W)` states of the window's days (kind `file`), or `(B, L, C, H,
                W)` earlier states, of which the last one persists; NaN where missing.
        """
        assert self._variance is not None
        variance = self._variance.to(states.device)
        if self._coefficient is None:
            return backgrounds.from_states(states, variance)
        coefficient = self._coefficient.to(states.device)
        return backgrounds.damped_persistence(states[:, -1], coefficient, variance)

    def previous_days(self, window: Window) -> Tensor:
        """Return the days of `window.previous`, `(B, L)`: its own where states are of a file."""
        if self.earlier is None:
            return window.time
        offsets = torch.from_numpy(self.earlier.offsets().astype(np.float64))
        return window.time[:, :1] + offsets.to(window.time.device)


def _persistence(
    config: BackgroundConfig, store: TrainingStore, window: int
) -> tuple[Tensor, Tensor]:
    """Return coefficients and variances of the window's days, each `(T, C, H, W)`."""
    statistics = store.statistics
    needed = [config.lag + day for day in range(window)]
    missing = [lag for lag in needed if lag not in statistics.lags]
    if missing:
        words = "days" if store.step == 1 else "steps"
        raise UserError(
            f"background.lag: {config.lag} and a window of {window} {words} need persistence "
            f"fitted for {', '.join(map(str, missing))} {words}, but training store {store.path} "
            f"has it for {', '.join(map(str, statistics.lags)) or 'no lag'}; set data.lags and "
            f"run `slams prepare` again"
        )
    index = [statistics.lags.index(lag) for lag in needed]
    return statistics.persistence[index], statistics.persistence_variance[index]


def _open_states(config: BackgroundConfig, store: TrainingStore) -> TrainingStore:
    if not config.path:
        raise UserError("background.path: found nothing, expected the background's store")
    states = TrainingStore.open(config.store, [c.name for c in store.channels])
    if states.grid.fingerprint != store.grid.fingerprint:
        raise UserError(
            f"background.path: {config.store} has a grid of {states.grid.shape}, training store "
            f"{store.path} one of {store.grid.shape}, expected the same"
        )
    if states.step != store.step:
        raise UserError(
            f"background.path: {config.store} has steps of {describe_step(states.step)}, training "
            f"store {store.path} of {describe_step(store.step)}, expected the same"
        )
    if states.fingerprint == store.fingerprint:
        raise UserError(
            f"background.path: {config.store} is the verifying truth itself, expected states "
            f"that do not depend on it"
        )
    return states


def _file_variance(states: TrainingStore, store: TrainingStore, window: int) -> Tensor:
    """Estimate the normalised error variance over training days, `(T, C, H, W)`."""
    training = Period.of("train", store.attributes["statistics_days"])
    inside = np.flatnonzero(training.contains(store.time))
    partner = find_days(states.time, store.time[inside])
    inside, partner = inside[partner >= 0], partner[partner >= 0]
    if len(inside) < FEWEST_FILE_DAYS:
        raise UserError(
            f"background.path: {states.path} has {len(inside)} days of the training period, "
            f"expected at least {FEWEST_FILE_DAYS}, from which its errors are estimated"
        )
    pick = np.unique(np.linspace(0, len(inside) - 1, _FILE_DAYS).astype(np.int64))
    normaliser = store.normaliser()
    total = torch.zeros(len(store.channels), *store.grid.shape, dtype=torch.float64)
    count = torch.zeros_like(total)
    for day in pick:
        truth = normaliser.to_channel_units(torch.from_numpy(store.read([int(inside[day])])))
        guess = normaliser.to_channel_units(torch.from_numpy(states.read([int(partner[day])])))
        error = ((guess - truth) / normaliser.sd)[0].to(torch.float64)
        known = torch.isfinite(error)
        total += torch.where(known, error, 0.0) ** 2
        count += known
    variance = torch.where(count > 0, total / count.clamp(min=1), 1.0).to(torch.float32)
    return variance.expand(window, *variance.shape).contiguous()
