"""Statistics of the training period: climatology, standard deviation, damped persistence.

At every grid point and channel, with `f` in channel units, `B(t)` the annual harmonics and sums
over the training days on which `f` is known::

    c     = (sum B B^T)^-1 sum B f                      climatology, least squares
    a     = f - B^T c                                   anomaly
    sd    = max(sqrt(mean a^2), floor x rms of the channel)
    rho_l = sum a(t) a(t - l) / sum a(t - l)^2          damped persistence, kept in [0, 1]
    v_l   = mean (a(t) - rho_l a(t - l))^2 / sd^2       its error variance

Sums are taken block by block in float64 and added in the order of time, so that they do not
depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from data_modules.periods import find_days
from slams.errors import UserError
from slams.normalisation import harmonic_basis

__all__ = ["AnomalySums", "HarmonicSums", "StatisticsArrays", "finish"]

# Beyond this the harmonics cannot be told apart over the days there are.
_WORST_CONDITION = 1e8


@dataclass
class HarmonicSums:
    """Holds the normal equations of the climatology.

    Attributes:
        gram: `(C, P or 1, K, K)`, sum of `B B^T` where the field is known (P grid points, `K`
            basis functions); one for all points while nothing is missing.
        moment: `(C, P, K)`, sum of `B f`.
    """

    gram: np.ndarray
    moment: np.ndarray

    @classmethod
    def of_block(cls, values: np.ndarray, time: np.ndarray, harmonics: int) -> HarmonicSums:
        """Sums over a block.

        Args:
            values: `(n, C, P)` channel units, NaN missing.
            time: `(n,)` days since 1970-01-01.
            harmonics: Number of annual harmonics.
        """
        basis = harmonic_basis(torch.from_numpy(time), harmonics).numpy()
        pairs = np.einsum("tk,tl->tkl", basis, basis)
        known = np.isfinite(values)
        size = basis.shape[1]
        if known.all():
            gram = np.broadcast_to(pairs.sum(axis=0), (values.shape[1], 1, size, size))
        else:
            gram = np.einsum("tcp,tkl->cpkl", known.astype(np.float64), pairs)
            values = np.where(known, values, 0.0)
        moment = np.stack(
            [np.einsum("tcp,t->cp", values, basis[:, k]) for k in range(size)], axis=-1
        )
        return cls(gram, moment)

    def __add__(self, other: HarmonicSums) -> HarmonicSums:
        return HarmonicSums(self.gram + other.gram, self.moment + other.moment)

    def solve(self) -> np.ndarray:
        """Solves for the coefficients.

        Returns:
            `(K, C, P)` float64; a point without enough days takes its channel's mean.

        Raises:
            UserError: The training days cannot tell the harmonics apart.
        """
        gram = np.broadcast_to(self.gram, (*self.moment.shape, self.moment.shape[-1]))
        days = gram[..., 0, 0]
        if not days.any():
            raise UserError("the training split has no value at all")
        scaled = self.gram / np.maximum(self.gram[..., :1, :1], 1.0)
        usable = np.linalg.cond(scaled) < _WORST_CONDITION
        usable = np.broadcast_to(usable, self.moment.shape[:2])
        if not usable.any(axis=1).all():
            size = self.moment.shape[-1]
            raise UserError(
                f"data.harmonics: {(size - 1) // 2} annual harmonics cannot be fitted to "
                f"{int(days.max())} days of training; lower data.harmonics, lengthen "
                f"data.splits.train or name a store under data.statistics_from"
            )
        safe = np.where(usable[..., None, None], gram, np.eye(gram.shape[-1]))
        solution = np.linalg.solve(safe, self.moment[..., None])[..., 0]
        for channel in np.flatnonzero(~usable.all(axis=1)):
            mean = solution[channel][usable[channel]].mean(axis=0)
            solution[channel][~usable[channel]] = mean
        return np.moveaxis(solution, -1, 0)


@dataclass
class AnomalySums:
    """Holds the second moments of the anomalies.

    Attributes:
        count: `(C, P)`, days known.
        square: `(C, P)`, sum of squares.
        pairs: `(L, C, P)`, days known together with the day `lag` before.
        product: `(L, C, P)`, sum of `a(t) a(t - lag)`.
        earlier: `(L, C, P)`, sum of `a(t - lag)^2` over these pairs.
        later: `(L, C, P)`, sum of `a(t)^2` over these pairs.
    """

    count: np.ndarray
    square: np.ndarray
    pairs: np.ndarray
    product: np.ndarray
    earlier: np.ndarray
    later: np.ndarray

    @classmethod
    def of_block(
        cls,
        values: np.ndarray,
        time: np.ndarray,
        start: int,
        coefficients: np.ndarray,
        lags: tuple[int, ...],
    ) -> AnomalySums:
        """Sums over a block.

        Args:
            values: `(n, C, P)` channel units, NaN missing; days before `start` are there for
                the lags only, and were counted in the block before.
            time: `(n,)` days since 1970-01-01.
            start: First step that counts.
            coefficients: `(K, C, P)`.
            lags: Lags (days).
        """
        harmonics = (coefficients.shape[0] - 1) // 2
        basis = harmonic_basis(torch.from_numpy(time), harmonics).numpy()
        anomaly = values - np.einsum("tk,kcp->tcp", basis, coefficients)
        known = np.isfinite(anomaly)
        whole = bool(known.all())
        anomaly = anomaly if whole else np.where(known, anomaly, 0.0)
        shape = anomaly.shape[1:]
        fields = [np.zeros((len(lags), *shape)) for _ in range(4)]
        for number, lag in enumerate(lags):
            partner = find_days(time, time[start:] - lag)
            now = np.arange(start, len(time))[partner >= 0]
            before = partner[partner >= 0]
            a, b = anomaly[now], anomaly[before]
            if whole:
                fields[0][number] = len(now)
            else:
                both = known[now] & known[before]
                a, b = a * both, b * both
                fields[0][number] = both.sum(axis=0)
            fields[1][number] = np.einsum("tcp,tcp->cp", a, b)
            fields[2][number] = np.einsum("tcp,tcp->cp", b, b)
            fields[3][number] = np.einsum("tcp,tcp->cp", a, a)
        counted = anomaly[start:]
        return cls(
            known[start:].sum(axis=0).astype(np.float64),
            np.einsum("tcp,tcp->cp", counted, counted),
            *fields,
        )

    def __add__(self, other: AnomalySums) -> AnomalySums:
        return AnomalySums(
            self.count + other.count,
            self.square + other.square,
            self.pairs + other.pairs,
            self.product + other.product,
            self.earlier + other.earlier,
            self.later + other.later,
        )


@dataclass(frozen=True)
class StatisticsArrays:
    """Holds the finished statistics as the store keeps them (float32, see `stores.Statistics`)."""

    harmonics: np.ndarray
    sd: np.ndarray
    lags: np.ndarray
    persistence: np.ndarray
    persistence_variance: np.ndarray


def finish(
    coefficients: np.ndarray,
    sums: AnomalySums,
    lags: tuple[int, ...],
    floor: float,
    weights: np.ndarray,
    names: list[str],
) -> StatisticsArrays:
    """Turns the sums into statistics.

    Args:
        coefficients: `(K, C, P)`.
        sums: Of all training days.
        lags: Lags (days).
        floor: Smallest standard deviation as a share of the channel's rms.
        weights: `(P,)` area weights.
        names: The channels, for messages.

    Returns:
        Arrays over the flattened grid, `(..., C, P)`.

    Raises:
        UserError: A channel does not vary in the training period.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = sums.square / sums.count
    known = sums.count > 0
    area = np.where(known, weights, 0.0)
    rms = np.sqrt((np.where(known, variance, 0.0) * area).sum(axis=1) / area.sum(axis=1))
    for name, value in zip(names, rms, strict=True):
        if not value > 1e-6:
            raise UserError(
                f"channel {name} does not vary in the training split (standard deviation "
                f"{value:g}); leave it out of data.channels or check the source"
            )
    sd = np.where(known, np.sqrt(np.where(known, variance, 0.0)), rms[:, None])
    sd = np.maximum(sd, floor * rms[:, None])
    # A floor of zero leaves a constant point (an ocean that never freezes) without spread.
    sd = np.maximum(sd, 1e-6 * rms[:, None])
    possible = sums.earlier > 0
    rho = np.where(possible, sums.product / np.where(possible, sums.earlier, 1.0), 0.0)
    rho = np.clip(rho, 0.0, 1.0)
    total = sums.later - 2 * rho * sums.product + rho**2 * sums.earlier
    error = np.maximum(total, 0.0) / np.maximum(sums.pairs, 1.0) / sd**2
    error = np.where(sums.pairs > 0, error, 1.0)
    return StatisticsArrays(
        coefficients.astype(np.float32),
        sd.astype(np.float32),
        np.asarray(lags, dtype=np.int64),
        rho.astype(np.float32),
        error.astype(np.float32),
    )
