"""Statistics of the training period: climatology, standard deviation, damped persistence.

At every grid point and channel, with `f` in channel units, `B(t)` the annual harmonics and sums
over the training days on which `f` is known::

    c     = (sum B B^T)^-1 sum B f                      climatology, least squares
    a     = f - B^T c                                   anomaly
    sd    = max(sqrt(mean a^2), floor x rms of the channel)
    rho_l = sum a(t) a(t - l) / sum a(t - l)^2          damped persistence, clipped to [0, 1]
    v_l   = mean (a(t) - rho_l a(t - l))^2 / sd^2       its error variance

All are computed from the sums of one pass, `moments.Moments`, in whose notation (`x = f - g`)

    sum a^2        = S - 2 c.M + c.G c,                          G = sum B B^T,
    sum a(t)^2     = the same with P_l and the sums over pairs; a(s)^2 with E_l,
    sum a(t) a(s)  = X_l - c.R_l^T E_l - c.R_l P_l + c.G_l R_l^T c,   G_l = sum B(t) B(t)^T.

Each is a complete quadratic form in `c`, so the error of `c` enters squared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_modules.preparation.moments import Moments, trigonometric
from data_modules.store.writing import StatisticsArrays
from slams.errors import UserError
from slams.normalisation import DAYS_PER_YEAR

__all__ = ["statistics"]

# Condition number above which the days do not determine the harmonics.
_WORST_CONDITION = 1e8


@dataclass(frozen=True)
class _Side:
    """Sums over one end of the pairs, or over all days: `(J, P or 1)`, `(K, P)`, `(P,)`."""

    trig: np.ndarray
    moment: np.ndarray
    square: np.ndarray

    def without(self, trig: np.ndarray, x: np.ndarray) -> _Side:
        """Return the sums without some days, `trig (n, J)` and `x (n, P)`."""
        size = len(self.moment)
        return _Side(
            self.trig - trig.sum(axis=0)[:, None],
            self.moment - trig[:, :size].T @ x,
            self.square - np.einsum("tp,tp->p", x, x),
        )

    def anomalies(self, c: np.ndarray) -> np.ndarray:
        """Return the sum of squared anomalies from a climatology `(K, P)`."""
        gram = _gram(self.trig)
        total = self.square - 2 * (c * self.moment).sum(axis=0) + _form(c, gram, c)
        return np.maximum(total, 0.0)


def statistics(sums: Moments, floor: float, weights: np.ndarray) -> StatisticsArrays:
    """Compute the statistics of the store from the sums over all training days.

    Args:
        sums: Sums of one pass over the training days.
        floor: Smallest standard deviation as a fraction of the channel's rms.
        weights: `(P,)` area weights.

    Raises:
        UserError: The training days do not determine the harmonics, or a channel does not vary.
    """
    frame = sums.frame
    size, (channels, points), lags = (
        2 * frame.harmonics + 1,
        frame.reference.shape,
        len(frame.lags),
    )
    out = StatisticsArrays(
        np.empty((size, channels, points), np.float32),
        np.empty((channels, points), np.float32),
        np.asarray(frame.lags, dtype=np.int64),
        np.empty((lags, channels, points), np.float32),
        np.empty((lags, channels, points), np.float32),
    )
    # Channel by channel, to limit the working memory.
    for channel, spec in enumerate(frame.channels):
        every, pairs = _sides(sums, channel)
        c = _climatology(every.trig, every.moment)
        days = np.broadcast_to(every.trig[0], points)
        sd = _standard_deviation(every.anomalies(c), days, floor, weights, spec.name)
        out.harmonics[:, channel] = c
        out.harmonics[0, channel] = c[0] + frame.reference[channel]
        out.sd[channel] = sd
        for number, (lag, (later, earlier)) in enumerate(zip(frame.lags, pairs, strict=True)):
            rotation = _rotation(lag, frame.harmonics)
            product = (
                sums.product[number, channel]
                - (c * (rotation.T @ earlier.moment)).sum(axis=0)
                - (c * (rotation @ later.moment)).sum(axis=0)
                + _form(c, _gram(later.trig), rotation.T @ c)
            )
            rho, error = _persistence(later, earlier, product, c, sd)
            out.persistence[number, channel] = rho
            out.persistence_variance[number, channel] = error
    return out


def _sides(sums: Moments, channel: int) -> tuple[_Side, list[tuple[_Side, _Side]]]:
    """Return the sums of a channel over all days, and over both ends of the pairs per lag."""
    frame, time = sums.frame, sums.time
    if channel in frame.masked:
        place, stored = frame.masked.index(channel), sums.pair_sums
        every = _Side(stored.days[:, place], sums.moment[:, channel], sums.square[channel])
        pairs = []
        for number, lag in enumerate(frame.lags):
            trig = stored.pairs[number, :, place]
            later, earlier = stored.later[number, :, place], stored.earlier[number, :, place]
            pairs.append(
                (
                    _Side(trig, later[:-1], later[-1]),
                    _Side(_rotation(lag, 2 * frame.harmonics) @ trig, earlier[:-1], earlier[-1]),
                )
            )
        return every, pairs
    trig = trigonometric(time, 2 * frame.harmonics)
    every = _Side(trig.sum(axis=0)[:, None], sums.moment[:, channel], sums.square[channel])
    head, tail = (frame.centred(days, channel, slice(None)) for days in (sums.head, sums.tail))
    pairs = []
    for lag in frame.lags:
        # The first `lag` days are not the later day of a pair, the last not the earlier one.
        first = int(np.searchsorted(time, time[0] + lag - 1e-3))
        last = len(time) - int(np.searchsorted(time, time[-1] - lag + 1e-3))
        pairs.append(
            (
                every.without(trig[:first], head[:first]),
                every.without(trig[len(time) - last :], tail[len(tail) - last :]),
            )
        )
    return every, pairs


def _climatology(trig: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Solve for the coefficients `(K, P)`; points without enough days have the mean of the others.

    Raises:
        UserError: The training days do not determine the harmonics.
    """
    size, points = moment.shape
    gram = np.moveaxis(_gram(trig), -1, 0)
    days = gram[:, 0, 0]
    if not days.any():
        raise UserError("data.splits.train: the training days have no value at all")
    usable = np.linalg.cond(gram / np.maximum(days, 1.0)[:, None, None]) < _WORST_CONDITION
    if not usable.any():
        raise UserError(
            f"data.harmonics: {(size - 1) // 2} annual harmonics cannot be fitted to "
            f"{int(days.max())} training days; lower data.harmonics, lengthen data.splits.train "
            f"or set data.statistics_from to another store"
        )
    safe = np.where(usable[:, None, None], gram, np.eye(size))
    solution = np.linalg.solve(safe, moment.T[:, :, None])[:, :, 0].T
    usable = np.broadcast_to(usable, points)
    if not usable.all():
        solution[:, ~usable] = solution[:, usable].mean(axis=1, keepdims=True)
    return solution


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


def _persistence(
    later: _Side, earlier: _Side, product: np.ndarray, c: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the regression on the earlier day and its error variance over `sd`, `(P,)` each."""
    before, now = earlier.anomalies(c), later.anomalies(c)
    pairs = np.broadcast_to(later.trig[0], product.shape)
    possible = before > 0
    rho = np.clip(np.where(possible, product / np.where(possible, before, 1.0), 0.0), 0.0, 1.0)
    total = np.maximum(now - 2 * rho * product + rho**2 * before, 0.0)
    error = np.where(pairs > 0, total / np.maximum(pairs, 1.0) / sd**2, 1.0)
    return rho, error


def _gram(trig: np.ndarray) -> np.ndarray:
    """Return the sum of `B B^T`, `(K, K, P)`, from sums of 1, cos, sin, ... of twice the order."""
    harmonics = (len(trig) - 1) // 4
    cosine = np.concatenate([trig[:1], trig[1::2]])
    sine = np.concatenate([np.zeros_like(trig[:1]), trig[2::2]])
    order = [0, *(k for k in range(1, harmonics + 1) for _ in range(2))]
    odd = [False, *(flag for _ in range(harmonics) for flag in (False, True))]
    out = np.empty((len(order), len(order), trig.shape[1]))
    for i, (j, sin_j) in enumerate(zip(order, odd, strict=True)):
        for n, (k, sin_k) in enumerate(zip(order, odd, strict=True)):
            if sin_j and sin_k:
                value = cosine[abs(j - k)] - cosine[j + k]
            elif not sin_j and not sin_k:
                value = cosine[abs(j - k)] + cosine[j + k]
            else:
                s, o = (j, k) if sin_j else (k, j)  # sin s cos o
                value = sine[s + o] + np.sign(s - o) * sine[abs(s - o)]
            out[i, n] = value / 2
    return out


def _form(a: np.ndarray, gram: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Evaluate `a^T G b` at each point."""
    gram = np.broadcast_to(gram, (*gram.shape[:2], a.shape[1]))
    return np.einsum("ip,ijp,jp->p", a, gram, b, optimize=False)


def _rotation(lag: float, harmonics: int) -> np.ndarray:
    """Return `R` of `B(t - lag) = R B(t)`."""
    rotation = np.eye(2 * harmonics + 1)
    for k in range(1, harmonics + 1):
        phase = 2 * np.pi * k * lag / DAYS_PER_YEAR
        block = slice(2 * k - 1, 2 * k + 1)
        rotation[block, block] = [
            [np.cos(phase), np.sin(phase)],
            [-np.sin(phase), np.cos(phase)],
        ]
    return rotation
