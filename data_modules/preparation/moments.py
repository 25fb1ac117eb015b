"""Sums over the training days, in one pass, from which all statistics are computed.

With `x = f - g` (field minus reference field, in channel units), harmonics `B(t)` and a lag `l`,
the sums over days, and over the pairs of days `(t, s = t - l)` that are both known,

    M = sum B x,   S = sum x^2,   X_l = sum x(t) x(s),
    P_l = sum B(t) x(t),   E_l = sum B(s) x(s),   sum x(t)^2,   sum x(s)^2   over pairs,

determine every second moment of the anomaly `a = x - B^T c` for any climatology `c` (see
`statistics`), because a shift by `l` days rotates the harmonics: `B(t - l) = R_l B(t)`. So neither
climatology nor anomalies need a separate pass.

A channel that is known on every day needs only `M`, `S` and `X_l`: its sums over pairs are those
over all days without the first, or the last, `l` days, which are kept. Sums are in float64 and
share one reference field; those of two consecutive periods merge into those of both, wherever
the border is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data_modules.store.periods import find_days
from slams.fields import FieldSpec
from slams.normalisation import TRANSFORMS, harmonic_basis

__all__ = ["Frame", "Moments", "PairSums", "evenly_paired", "trigonometric"]

# Size of the float64 working copy of some points (bytes): small enough for a core's cache.
_WORKING_COPY = 2**20


def trigonometric(time: np.ndarray, harmonics: int) -> np.ndarray:
    """Evaluate 1, cos, sin, cos 2, ... at days `(n,)`; return `(n, 2 harmonics + 1)` float64."""
    return harmonic_basis(torch.from_numpy(np.asarray(time, np.float64)), harmonics).numpy()


def evenly_paired(time: np.ndarray, lags: Sequence[int]) -> bool:
    """Return whether every day but those of the first `lag` has the day `lag` days before it.

    Args:
        time: `(n,)` days, increasing.
        lags: Lags (days).
    """
    for lag in lags:
        later = time[time >= time[0] + lag - 1e-3]
        if (find_days(time, later - lag) < 0).any():
            return False
    return True


@dataclass(frozen=True, eq=False)
class Frame:
    """Settings that sums must share to be merged.

    Attributes:
        channels: The `C` channels.
        reference: `(C, P)` float32 channel units, the reference field at each of `P` points.
        harmonics: Number of annual harmonics; there are `K = 2 harmonics + 1` basis functions.
        lags: The `L` lags (days).
        masked: Positions of the channels that may be missing; all channels where the training
            days themselves have gaps.
    """

    channels: tuple[FieldSpec, ...]
    reference: np.ndarray
    harmonics: int
    lags: tuple[int, ...]
    masked: tuple[int, ...]

    @classmethod
    def about(
        cls,
        day: np.ndarray,
        channels: tuple[FieldSpec, ...],
        harmonics: int,
        lags: Sequence[int],
        masked: Sequence[int],
    ) -> Frame:
        """Use one day, `(C, H, W)` physical, as reference field, with its mean where missing."""
        reference = np.empty((len(channels), day[0].size), np.float32)
        for index, spec in enumerate(channels):
            field = _channel_units(day[index].reshape(-1), spec)
            known = np.isfinite(field)
            mean = field[known].mean() if known.any() else 0.0
            reference[index] = np.where(known, field, mean)
        return cls(channels, reference, harmonics, tuple(lags), tuple(masked))

    @property
    def bytes_per_point(self) -> int:
        """Return the memory of `Moments` per point and channel, without the days they keep."""
        size, lags = 2 * self.harmonics + 1, len(self.lags)
        share = len(self.masked) / max(len(self.channels), 1)
        numbers = size + 1 + lags + share * (1 + lags) * (4 * self.harmonics + 1)
        return round(8 * (numbers + share * 2 * lags * (size + 1)))

    def centred(self, values: np.ndarray, channel: int, points: slice) -> np.ndarray:
        """Return `(n, p)` float64 minus the reference field, from `(n, C, P)` float32 physical."""
        part = _channel_units(
            values[:, channel, points].astype(np.float64), self.channels[channel]
        )
        part -= self.reference[channel, points]
        return part


@dataclass
class PairSums:
    """Sums of channels that may be missing, `(..., C_m, P)`.

    Attributes:
        days: `(J, C_m, P)`, sums of 1, cos, sin, ..., up to twice the harmonics, over known days.
        pairs: `(L, J, C_m, P)`, the same over the later days of pairs.
        later: `(L, K + 1, C_m, P)`, sums of `B(t) x(t)` and of `x(t)^2` over pairs.
        earlier: `(L, K + 1, C_m, P)`, sums of `B(s) x(s)` and of `x(s)^2` over pairs.
    """

    days: np.ndarray
    pairs: np.ndarray
    later: np.ndarray
    earlier: np.ndarray

    @classmethod
    def empty(cls, frame: Frame) -> PairSums:
        """Return sums over no days."""
        size, lags = 2 * frame.harmonics + 1, len(frame.lags)
        shape = (len(frame.masked), frame.reference.shape[1])
        return cls(
            np.zeros((2 * size - 1, *shape)),
            np.zeros((lags, 2 * size - 1, *shape)),
            np.zeros((lags, size + 1, *shape)),
            np.zeros((lags, size + 1, *shape)),
        )

    def __iadd__(self, other: PairSums) -> PairSums:
        for name in ("days", "pairs", "later", "earlier"):
            getattr(self, name).__iadd__(getattr(other, name))
        return self


@dataclass
class Moments:
    """Sums over consecutive training days.

    Attributes:
        frame: Settings shared with other sums.
        time: `(n,)` the days, increasing.
        moment: `(K, C, P)`, sum of `B x`.
        square: `(C, P)`, sum of `x^2`.
        product: `(L, C, P)`, sum of `x(t) x(t - lag)`.
        pair_sums: Sums of the channels that may be missing.
        head: `(h, C, P)` float32 physical, the first days, up to the longest lag.
        tail: `(h, C, P)`, the last days, up to the longest lag.
    """

    frame: Frame
    time: np.ndarray
    moment: np.ndarray
    square: np.ndarray
    product: np.ndarray
    pair_sums: PairSums
    head: np.ndarray
    tail: np.ndarray

    @classmethod
    def of_days(cls, frame: Frame, values: np.ndarray, time: np.ndarray) -> Moments:
        """Sum over days.

        Args:
            frame: Channels, reference field, harmonics and lags.
            values: `(n, C, H, W)` float32 physical, NaN missing; n > 0.
            time: `(n,)` days since 1970-01-01, increasing.
        """
        count, channels = values.shape[:2]
        values = values.reshape(count, channels, -1)
        points = values.shape[2]
        size = 2 * frame.harmonics + 1
        ahead, back = _ends(time, frame.lags)
        sums = cls(
            frame,
            np.array(time, np.float64),
            np.zeros((size, channels, points)),
            np.zeros((channels, points)),
            np.zeros((len(frame.lags), channels, points)),
            PairSums.empty(frame),
            values[ahead].copy(),
            values[back].copy(),
        )
        trig = trigonometric(time, 2 * frame.harmonics)
        matches = [_matches(time, time, lag) for lag in frame.lags]
        for channel, part in _parts(channels, points, count):
            x = frame.centred(values, channel, part)
            if channel in frame.masked:
                place = (frame.masked.index(channel), part)
                known = np.isfinite(x)
                sums.pair_sums.days[(slice(None), *place)] += trig.T @ known.astype(np.float64)
                x[~known] = 0.0
                for number, (now, before) in enumerate(matches):
                    sums._add_pairs(number, channel, part, x, known, x, known, now, before, trig)
            else:
                for number, (now, before) in enumerate(matches):
                    sums.product[number, channel, part] += _dot(x, x, now, before)
            sums.moment[:, channel, part] += trig[:, :size].T @ x
            sums.square[channel, part] += np.einsum("tp,tp->p", x, x)
        return sums

    def merge(self, later: Moments) -> None:
        """Add the sums over the days that follow.

        Args:
            later: Sums with the same frame over later days; may share memory afterwards.
        """
        frame = self.frame
        self.moment += later.moment
        self.square += later.square
        self.product += later.product
        self.pair_sums += later.pair_sums
        ahead, back = _ends(later.time, frame.lags)[0], _ends(self.time, frame.lags)[1]
        new, old = later.time[ahead], self.time[back]
        trig = trigonometric(np.concatenate([old, new]), 2 * frame.harmonics)
        both = [_matches(old, new, lag) for lag in frame.lags]
        for channel, part in _parts(*frame.reference.shape, len(old) + len(new)):
            x = frame.centred(later.head, channel, part)
            y = frame.centred(self.tail, channel, part)
            if channel in frame.masked:
                known, before_known = np.isfinite(x), np.isfinite(y)
                x[~known], y[~before_known] = 0.0, 0.0
                for number, (now, before) in enumerate(both):
                    self._add_pairs(
                        number, channel, part, x, known, y, before_known, now, before, trig,
                        len(old),
                    )  # fmt: skip
            else:
                for number, (now, before) in enumerate(both):
                    self.product[number, channel, part] += _dot(x, y, now, before)
        self._lengthen(later)

    def _lengthen(self, later: Moments) -> None:
        """Join the time axes, and update the first and last days that are kept."""
        ahead, back = (_ends(m.time, self.frame.lags) for m in (self, later))
        own_last, new_first = self.time[ahead[1]], later.time[back[0]]
        first, last = self.time[0], later.time[-1]
        reach = max(self.frame.lags, default=0)
        keep = new_first < first + reach - 1e-3
        if keep.any():
            self.head = np.concatenate([self.head, later.head[keep]])
        keep = own_last > last - reach + 1e-3
        self.tail = np.concatenate([self.tail[keep], later.tail]) if keep.any() else later.tail
        self.time = np.concatenate([self.time, later.time])

    def _add_pairs(
        self,
        number: int,
        channel: int,
        part: slice,
        x: np.ndarray,
        known: np.ndarray,
        y: np.ndarray,
        before_known: np.ndarray,
        now: np.ndarray,
        before: np.ndarray,
        trig: np.ndarray,
        offset: int = 0,
    ) -> None:
        """Add pairs of later days `now` of `x` and earlier days `before` of `y`.

        Row `i` of `y` is row `i` of `trig`; row `i` of `x` is row `offset + i`.
        """
        if len(now) == 0:
            return
        frame, sums = self.frame, self.pair_sums
        size = 2 * frame.harmonics + 1
        place = (slice(None), frame.masked.index(channel), part)
        both = known[now] & before_known[before]
        a, b = x[now] * both, y[before] * both
        sums.pairs[number][place] += trig[offset + now].T @ both.astype(np.float64)
        for target, values, basis in (
            (sums.later[number], a, trig[offset + now, :size]),
            (sums.earlier[number], b, trig[before, :size]),
        ):
            target[:size][place] += basis.T @ values
            target[size, place[1], part] += np.einsum("tp,tp->p", values, values)
        self.product[number, channel, part] += np.einsum("tp,tp->p", a, b)


def _channel_units(values: np.ndarray, spec: FieldSpec) -> np.ndarray:
    """Transform physical values of one channel; the result may share memory with the input."""
    return TRANSFORMS[spec.transform].forward_array(values)


def _ends(time: np.ndarray, lags: Sequence[int]) -> tuple[slice, slice]:
    """Return the first and the last days that may form a pair across a border of the period."""
    reach = max(lags, default=0)
    first = int(np.searchsorted(time, time[0] + reach - 1e-3))
    last = int(np.searchsorted(time, time[-1] - reach + 1e-3))
    return slice(0, first if reach else 0), slice(last if reach else len(time), len(time))


def _matches(earlier: np.ndarray, later: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of later days that have a day `lag` earlier, and of the latter."""
    if len(earlier) == 0 or len(later) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    partner = find_days(earlier, later - lag)
    return np.flatnonzero(partner >= 0), partner[partner >= 0]


def _dot(x: np.ndarray, y: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray | float:
    """Sum `x(now) y(before)` over days."""
    if len(now) == 0:
        return 0.0
    one, other = (
        # Slices are views where an index would copy.
        slice(int(i[0]), int(i[-1]) + 1) if i[-1] - i[0] + 1 == len(i) else i
        for i in (now, before)
    )
    return np.einsum("tp,tp->p", x[one], y[other])


def _parts(channels: int, points: int, days: int) -> Iterator[tuple[int, slice]]:
    """Divide channels and points into parts whose working copy is small."""
    width = max(64, _WORKING_COPY // (8 * max(days, 1)))
    for channel in range(channels):
        for start in range(0, points, width):
            yield channel, slice(start, min(start + width, points))
