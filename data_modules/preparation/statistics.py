"""Statistics of the training period: climatology, standard deviation, damped persistence.

At every grid point and channel, with `f` in channel units, `B(t)` the annual harmonics (of each
step of the day for itself, `slams.normalisation.harmonic_basis`) and sums over the training days,
or their steps, on which `f` is known::

    c     = (sum B B^T)^-1 sum B f                      climatology, least squares
    a     = f - B^T c                                   anomaly
    sd    = max(sqrt(mean a^2), floor x rms of the channel)
    rho_l = sum a(t) a(t - l) / sum a(t - l)^2          damped persistence, clipped to [0, 1]
    v_l   = mean (a(t) - rho_l a(t - l))^2 / sd^2       its error variance

Two passes over the fields that were written compute the sums of `c`, then those of `a`. Blocks of
days are summed independently in float64, and added in the order of time, so that the result does
not depend on the scheduler. The first training day is subtracted from `f`, because a large offset
would cost digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from data_modules.preparation.blocks import channel_units
from data_modules.preparation.harmonic_fit import fitted_harmonics
from data_modules.store.periods import find_days, runs_of
from data_modules.store.training_store import Statistics, TrainingStore
from slams.calendar.steps import steps_per_day
from slams.errors import UserError
from slams.normalisation import TRANSFORMS, harmonic_basis

__all__ = ["Run", "Sums", "TrainingDays", "statistics"]

# Sums of one block of days, or of all of them.
Sums = list[np.ndarray]
# Runs a task on every block of training days `[first, stop)`; yields the sums in order of time.
Run = Callable[[Callable[[int, int], Sums]], Iterable[Sums]]

# Size of the float64 working copy of some points (bytes): small enough for a core's cache.
_WORKING_COPY = 2**20


@dataclass(frozen=True, eq=False)
class TrainingDays:
    """The `N` training days of a store whose fields are written; picklable.

    Attributes:
        store: The store; only its fields need to be complete.
        steps: `(N,)` positions of the days, or their steps, in the store.
        harmonics: Number of annual harmonics; there are `K = 2 harmonics + 1` basis functions for
            each step of the day.
        lags: The `L` lags (steps).
        gaps: Positions of the `G` channels that may have missing values.
        step: Length of a step (days).
    """

    store: TrainingStore
    steps: np.ndarray
    harmonics: int
    lags: tuple[int, ...]
    gaps: tuple[int, ...]
    step: float = 1.0

    @cached_property
    def time(self) -> np.ndarray:
        """Return the days `(N,)`, since 1970-01-01."""
        return self.store.time[self.steps]

    @cached_property
    def basis(self) -> np.ndarray:
        """Return the annual harmonics `(N, K)` of each day."""
        per_day = steps_per_day(self.step)
        return harmonic_basis(torch.from_numpy(self.time), self.harmonics, per_day).numpy()

    @cached_property
    def reference(self) -> np.ndarray:
        """Return the first day `(C, P)` in channel units, with its mean where it is missing."""
        fields = channel_units(self.store.read(self.steps[:1]), self.store.channels)[0]
        for field in fields:
            known = np.isfinite(field)
            field[~known] = field[known].mean() if known.any() else 0.0
        return fields

    def moments(self, first: int, stop: int) -> Sums:
        """Compute the sums of the climatology over days `[first, stop)`.

        Returns:
            `sum B x`, `(K, C, P)`, with `x` the field minus the reference, and the upper triangle
            of `sum B B^T`, `(K (K + 1) / 2, G, P)`, over the known days of channels with gaps.
        """
        row, column = np.triu_indices(self.basis.shape[1])
        moment = np.zeros((self.basis.shape[1], *self.reference.shape))
        gram = np.zeros((len(row), len(self.gaps), self.reference.shape[1]))
        for begin, _, values in self._pieces(first, stop, 0):
            basis = self.basis[begin : begin + len(values)]
            for channel, points, x in self._parts(values):
                if channel in self.gaps:
                    known = np.isfinite(x)
                    x[~known] = 0.0
                    products = (basis[:, row] * basis[:, column]).T @ known.astype(np.float64)
                    gram[:, self.gaps.index(channel), points] += products
                moment[:, channel, points] += basis.T @ x
        return [moment, gram]

    def anomalies(self, climatology: np.ndarray, first: int, stop: int) -> Sums:
        """Compute the sums of anomalies over days `[first, stop)`, and over pairs that end there.

        Args:
            climatology: `(K, C, P)` coefficients of the field minus the reference.
            first: First day.
            stop: The day after the last.

        Returns:
            Numbers of known days, and of pairs of known days `t` and `s = t - lag`,
            `(1 + L, C, P)`; `sum a(t)^2` over days, then over the pairs of each lag, then
            `sum a(s)^2` over them, `(1 + 2 L, C, P)`; `sum a(t) a(s)`, `(L, C, P)`.
        """
        shape, lags = self.reference.shape, len(self.lags)
        count, square, product = (np.zeros((n, *shape)) for n in (1 + lags, 1 + 2 * lags, lags))
        step = self.step
        for start, begin, values in self._pieces(first, stop, max(self.lags, default=0) * step):
            rows, own = slice(start, start + len(values)), begin - start
            time, basis = self.time[rows], self.basis[rows]
            partners = [find_days(time, time[own:] - lag * step) for lag in self.lags]
            ends = [(_rows(own + np.flatnonzero(p >= 0)), _rows(p[p >= 0])) for p in partners]
            chosen = np.zeros((1 + 2 * lags, len(time)))  # the days of each sum of squares
            chosen[0, own:] = 1.0
            for lag, (now, before) in enumerate(ends, 1):
                chosen[lag, now] = chosen[lags + lag, before] = 1.0
            for channel, points, a in self._parts(values):
                a -= basis @ climatology[:, channel, points]
                known = np.isfinite(a)
                a[~known] = 0.0
                squares, place = a * a, (slice(None), channel, points)
                for lag, (now, before) in enumerate(ends):
                    product[lag, channel, points] += _dot(a[now], a[before])
                if known.all():
                    count[place] += chosen[: 1 + lags].sum(axis=1)[:, None]
                    square[place] += chosen @ squares
                else:
                    count[place] += [
                        known[own:].sum(axis=0),
                        *((known[now] & known[before]).sum(axis=0) for now, before in ends),
                    ]
                    square[place] += [
                        squares[own:].sum(axis=0),
                        *(_dot(squares[now], known[before]) for now, before in ends),
                        *(_dot(squares[before], known[now]) for now, before in ends),
                    ]
        return [count, square, product]

    def _pieces(
        self, first: int, stop: int, reach: float
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """Read days `[first, stop)` piece by piece, with those up to `reach` days before.

        Yields:
            The first day that is read, the first day of the piece, and the values
            `(n, C, H, W)` from the former on, which the next piece overwrites.
        """
        steps = self.store.file_steps
        within = np.searchsorted(self.time, self.time - reach - 1e-3)
        most = int((np.arange(first, stop) - within[first:stop]).max())
        shape = (len(self.store.channels), *self.store.grid.shape)
        room = np.empty((most + min(steps, stop - first), *shape), np.float32)
        read, size = within[first], 0
        for begin in range(first, stop, steps):
            start, end = within[begin], min(begin + steps, stop)
            kept = read - start
            room[:kept] = room[size - kept : size]
            for place, day, count in runs_of(self.steps[read:end]):
                self.store.read_run(day, room[kept + place : kept + place + count])
            read, size = end, end - start
            yield start, begin, room[:size]

    def _parts(self, values: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yield the fields minus the reference, some points `(n, p)` of a channel at a time."""
        values = values.reshape(*values.shape[:2], -1)
        width = max(64, _WORKING_COPY // (8 * len(values)))
        for channel, spec in enumerate(self.store.channels):
            for start in range(0, values.shape[2], width):
                points = slice(start, start + width)
                part = values[:, channel, points].astype(np.float64)
                part = TRANSFORMS[spec.transform].forward_array(part)
                part -= self.reference[channel, points]
                yield channel, points, part


def statistics(days: TrainingDays, run: Run, floor: float, weights: np.ndarray) -> Statistics:
    """Compute the statistics of a store.

    Args:
        days: The training days.
        run: Runs a task on every block of days, see `Run`.
        floor: Smallest standard deviation as a fraction of the channel's rms.
        weights: `(P,)` area weights.

    Raises:
        UserError: The training days do not determine the harmonics, or a channel does not vary.
    """
    channels, lags = days.store.channels, len(days.lags)
    climatology, gram = _total(run(days.moments))
    for channel in range(len(channels)):
        known = gram[:, days.gaps.index(channel)] if channel in days.gaps else None
        climatology[:, channel] = fitted_harmonics(
            days.basis, known, climatology[:, channel], days.harmonics
        )
    anomalies = partial(days.anomalies, climatology)
    count, square, product = _total(run(anomalies))
    # The constant of each step of the day.
    climatology[:: 2 * days.harmonics + 1] += days.reference
    sd = np.empty(square.shape[1:], np.float32)
    persistence, variance = np.empty((2, *product.shape), np.float32)
    for channel, spec in enumerate(channels):
        known, pairs, total = count[0, channel], count[1:, channel], square[:, channel]
        spread = _standard_deviation(total[0], known, floor, weights, spec.name)
        both, later, earlier = product[:, channel], total[1 : 1 + lags], total[1 + lags :]
        rho = np.divide(both, earlier, out=np.zeros_like(both), where=earlier > 0).clip(0.0, 1.0)
        error = np.maximum(later - 2 * rho * both + rho**2 * earlier, 0.0)
        sd[channel], persistence[:, channel] = spread, rho
        variance[:, channel] = np.where(pairs > 0, error / np.maximum(pairs, 1.0) / spread**2, 1.0)

    def on_grid(values: np.ndarray) -> torch.Tensor:
        shaped = values.reshape(*values.shape[:-1], *days.store.grid.shape)
        return torch.from_numpy(shaped.astype(np.float32, copy=False))

    return Statistics(
        on_grid(climatology), on_grid(sd), days.lags, on_grid(persistence), on_grid(variance)
    )


def _total(blocks: Iterable[Sums]) -> Sums:
    """Add the sums of blocks in their order."""
    blocks = iter(blocks)
    total = next(blocks)
    for sums in blocks:
        for all_days, own in zip(total, sums, strict=True):
            all_days += own
    return total


def _standard_deviation(
    square: np.ndarray, days: np.ndarray, floor: float, weights: np.ndarray, name: str
) -> np.ndarray:
    """Return the standard deviation `(P,)`, positive and not below the floor.

    Raises:
        UserError: The channel does not vary in the training period.
    """
    known = days > 0
    variance = np.where(known, square / np.maximum(days, 1.0), 0.0)
    rms = float(np.sqrt((variance * weights * known).sum() / (weights * known).sum()))
    if not rms > 1e-6:
        raise UserError(
            f"channel {name} does not vary in the training split (standard deviation {rms:g}); "
            f"remove it from data.channels or check the source"
        )
    sd = np.where(known, np.sqrt(variance), rms)
    # A floor of zero would let a constant point (an ocean that never freezes) have no spread.
    return np.maximum(sd, max(floor, 1e-6) * rms)


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum `x y` over days, `(n, p)` to `(p,)`."""
    return np.einsum("tp,tp->p", x, y)


def _rows(index: np.ndarray) -> slice | np.ndarray:
    """Return consecutive positions as a slice: a view where an index would copy."""
    run = len(index) and index[-1] - index[0] + 1 == len(index)
    return slice(int(index[0]), int(index[-1]) + 1) if run else index
