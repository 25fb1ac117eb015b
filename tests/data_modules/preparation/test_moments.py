"""One-pass sums and the statistics from them: closed forms, any split, gaps in time and space."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from data_modules.preparation.moments import Frame, Moments, evenly_paired, trigonometric
from data_modules.preparation.statistics import statistics
from data_modules.store.writing import StatisticsArrays
from slams.errors import UserError
from slams.fields import FieldSpec

CHANNELS = (
    FieldSpec.parse("temperature@850"),
    FieldSpec.parse("total_precipitation_24hr"),
    FieldSpec.parse("outgoing_longwave_radiation"),
)
LAGS, HARMONICS, SHAPE = (1, 3, 4), 2, (5, 8)
WEIGHTS = np.linspace(0.5, 1.5, 40)


def series(time: np.ndarray, seed: int = 0) -> np.ndarray:
    """Make `(n, C, H, W)` values far from zero, with a season and with memory."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((len(time), 3, *SHAPE))
    for step in range(1, len(time)):
        noise[step] = 0.7 * noise[step - 1] + 0.7 * noise[step]
    season = np.cos(2 * np.pi * time / 365.2425)[:, None, None]
    noise[:, 0] = 280 + 10 * season + 3 * noise[:, 0]
    noise[:, 1] = np.maximum(2 + season + 3 * noise[:, 1], 0)
    noise[:, 2] = 54000 + 800 * season + 300 * noise[:, 2]
    return noise.astype(np.float32)


def sums(values: np.ndarray, time: np.ndarray, cuts: list[int], masked: tuple[int, ...] = ()):
    frame = Frame.about(values[0], CHANNELS, HARMONICS, LAGS, masked)
    borders = [0, *cuts, len(time)]
    parts = [Moments.of_days(frame, values[a:b], time[a:b]) for a, b in pairwise(borders)]
    total = parts[0]
    for part in parts[1:]:
        total.merge(part)
    return total


def by_hand(values: np.ndarray, time: np.ndarray, channel: int, floor: float = 0.0):
    """Compute the statistics of one channel at every point from their definitions."""
    f = values[:, channel].reshape(len(time), -1).astype(np.float64)
    f = np.log1p(f) if channel == 1 else f
    basis = trigonometric(time, HARMONICS)
    where = {round(float(t), 3): i for i, t in enumerate(time)}
    climatology, sd = np.empty_like(f), np.empty(f.shape[1])
    rho, error = np.zeros((len(LAGS), f.shape[1])), np.ones((len(LAGS), f.shape[1]))
    for p in range(f.shape[1]):
        known = np.isfinite(f[:, p])
        c = np.linalg.lstsq(basis[known], f[known, p], rcond=None)[0]
        climatology[:, p] = basis @ c
        a = f[:, p] - basis @ c
        sd[p] = np.sqrt((a[known] ** 2).mean())
        for number, lag in enumerate(LAGS):
            pairs = [
                (a[i], a[where[round(t - lag, 3)]])
                for i, t in enumerate(time)
                if round(t - lag, 3) in where and known[i] and known[where[round(t - lag, 3)]]
            ]
            now, before = np.array(pairs).T
            rho[number, p] = np.clip((now * before).sum() / (before**2).sum(), 0, 1)
            error[number, p] = ((now - rho[number, p] * before) ** 2).mean() / sd[p] ** 2
    return climatology, sd, rho, error


def compare(found: StatisticsArrays, values: np.ndarray, time: np.ndarray) -> None:
    for channel in range(3):
        climatology, sd, rho, error = by_hand(values, time, channel)
        scale = sd.mean()
        np.testing.assert_allclose(
            trigonometric(time, HARMONICS) @ found.harmonics[:, channel].astype(np.float64),
            climatology,
            rtol=3e-7,
            atol=1e-5 * scale,
        )
        np.testing.assert_allclose(found.sd[channel], sd, rtol=1e-6)
        np.testing.assert_allclose(found.persistence[:, channel], rho, atol=1e-6)
        np.testing.assert_allclose(found.persistence_variance[:, channel], error, atol=2e-6)


@pytest.mark.parametrize("hours", [24, 6])
def test_statistics_are_those_of_their_definitions(hours):
    time = 11323 + np.arange(380 * 24 // hours) * hours / 24
    values = series(time)
    compare(statistics(sums(values, time, [200]), 0.0, WEIGHTS), values, time)


def test_missing_values_leave_their_days_and_their_pairs():
    time = 11323.0 + np.arange(400)
    values = series(time)
    rng = np.random.default_rng(1)
    for channel in (1, 2):
        values[:, channel][rng.random((400, *SHAPE)) < 0.2] = np.nan
    compare(statistics(sums(values, time, [150, 152], (1, 2)), 0.0, WEIGHTS), values, time)


def test_days_that_the_time_axis_lacks_join_no_seasons():
    time = np.delete(11323.0 + np.arange(420), [*range(60, 90), 200, 202, 203])
    assert not evenly_paired(time, LAGS)
    assert evenly_paired(time[:60], LAGS)
    values = series(time)
    found = sums(values, time, [60, 100], masked=(0, 1, 2))
    compare(statistics(found, 0.0, WEIGHTS), values, time)


@pytest.mark.parametrize("masked", [(), (0, 1, 2)])
def test_any_split_gives_the_same_sums(masked):
    """Merging is associative: blocks of any length, one day included, to 1e-12."""
    time = 11323.0 + np.arange(130)
    values = series(time)
    if masked:
        values[np.random.default_rng(2).random(values.shape) < 0.1] = np.nan
    whole = sums(values, time, [], masked)
    rng = np.random.default_rng(3)
    splits = [[1], [129], [1, 2, 3, 4, 5], list(range(1, 130)), [64, 128]]
    splits += [sorted(rng.choice(np.arange(1, 130), 9, replace=False).tolist()) for _ in range(5)]
    for cuts in splits:
        found = sums(values, time, cuts, masked)
        for name in ("moment", "square", "product"):
            a, b = getattr(found, name), getattr(whole, name)
            scale = np.abs(b).max(axis=-1, keepdims=True)
            assert (np.abs(a - b) <= 1e-12 * scale).all(), (name, cuts)
        for name in ("days", "pairs", "later", "earlier"):
            a, b = getattr(found.pair_sums, name), getattr(whole.pair_sums, name)
            assert np.abs(a - b).max(initial=0) <= 1e-12 * np.abs(b).max(initial=1), (name, cuts)
        np.testing.assert_array_equal(found.head, whole.head)
        np.testing.assert_array_equal(found.tail, whole.tail)
        one, other = (statistics(s, 0.3, WEIGHTS) for s in (found, whole))
        for name in ("harmonics", "sd", "persistence", "persistence_variance"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)


def test_merging_does_not_depend_on_the_brackets():
    time = 11323.0 + np.arange(40)
    values = series(time)
    frame = Frame.about(values[0], CHANNELS, HARMONICS, LAGS, (1,))

    def part(a: int, b: int) -> Moments:
        return Moments.of_days(frame, values[a:b], time[a:b])

    left, right = part(0, 7), part(9, 40)
    left.merge(part(7, 9))
    left.merge(right)
    middle = part(7, 9)
    middle.merge(part(9, 40))
    other = part(0, 7)
    other.merge(middle)
    np.testing.assert_allclose(left.product, other.product, rtol=0, atol=1e-9)
    np.testing.assert_allclose(left.pair_sums.pairs, other.pair_sums.pairs, atol=1e-12)


def test_a_large_offset_costs_no_digits():
    """The spread of 1 m2 s-2 about 500,000: sums of squares of the values would lose it."""
    time = 11323.0 + np.arange(300)
    rng = np.random.default_rng(4)
    values = np.zeros((300, 3, *SHAPE), np.float32)
    values[:, 0] = rng.standard_normal((300, *SHAPE))
    values[:, 1] = rng.random((300, *SHAPE))
    values[:, 2] = 500000 + np.round(8 * rng.standard_normal((300, *SHAPE))) / 8
    found = statistics(sums(values, time, [100]), 0.0, WEIGHTS)
    np.testing.assert_allclose(found.sd[2], by_hand(values, time, 2)[1], rtol=1e-6)


def test_point_that_is_never_known_takes_its_channel_s():
    time = 11323.0 + np.arange(100)
    values = series(time)
    values[:, 2, 1, 3] = np.nan
    found = statistics(sums(values, time, [50], (2,)), 0.0, np.ones(40))
    others = np.delete(np.arange(40), 11)
    rms = np.sqrt((found.sd[2, others].astype(np.float64) ** 2).mean())
    assert found.sd[2, 11] == pytest.approx(rms, rel=1e-6)
    assert np.isfinite(found.harmonics).all()
    assert (found.persistence[:, 2, 11] == 0).all()
    assert (found.persistence_variance[:, 2, 11] == 1).all()


def test_no_value_at_all_is_refused():
    time = 11323.0 + np.arange(100)
    values = series(time)
    values[:, 2] = np.nan
    with pytest.raises(UserError, match="no value at all"):
        statistics(sums(values, time, [], (2,)), 0.0, WEIGHTS)


@pytest.mark.parametrize("gap", [1, 2, 1096])
def test_two_pieces_give_what_their_union_gives_by_hand(gap):
    """Pairs are days that are `lag` days apart, and never on the two sides of a seam."""
    time = 11323.0 + np.concatenate([np.arange(200), 200 + gap + np.arange(190)])
    values = series(time)
    assert not evenly_paired(time, LAGS)
    found = sums(values, time, [130, 200, 260], masked=(0, 1, 2))
    compare(statistics(found, 0.0, WEIGHTS), values, time)
    across = sums(values, time, [130, 260], masked=(0, 1, 2))  # a block that contains the seam
    compare(statistics(across, 0.0, WEIGHTS), values, time)
