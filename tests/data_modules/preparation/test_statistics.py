"""Two passes of sums and their statistics: closed forms, any blocks, gaps in time and space."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from data_modules.preparation.statistics import Run, TrainingDays, statistics
from data_modules.store.training_store import Statistics
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import harmonic_basis

CHANNELS = (
    FieldSpec.parse("temperature@850"),
    FieldSpec.parse("total_precipitation_24hr"),
    FieldSpec.parse("outgoing_longwave_radiation"),
)
LAGS, HARMONICS, SHAPE = (1, 3, 4), 2, (5, 8)
WEIGHTS = np.linspace(0.5, 1.5, 40)
GRID = LatLonGrid(
    torch.linspace(72, -72, 5, dtype=torch.float64), 45 * torch.arange(8, dtype=torch.float64)
)


@dataclass
class Fields:
    """Stand-in for a store whose fields are in memory."""

    values: np.ndarray
    time: np.ndarray
    file_steps: int = 64
    channels = CHANNELS
    grid = GRID

    def read(self, index: np.ndarray) -> np.ndarray:
        return self.values[index]

    def read_run(self, first: int, out: np.ndarray) -> None:
        out[...] = self.values[first : first + len(out)]


def harmonics_of(time: np.ndarray) -> np.ndarray:
    return harmonic_basis(torch.from_numpy(time), HARMONICS).numpy()


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


def training(
    values: np.ndarray, time: np.ndarray, gaps: tuple[int, ...] = (), file_steps: int = 64
) -> TrainingDays:
    """Make all days the training period."""
    store = Fields(values, np.asarray(time, np.float64), file_steps)
    return TrainingDays(store, np.arange(len(time)), HARMONICS, LAGS, gaps)


def blocks_of(time: np.ndarray, cuts: list[int]) -> Run:
    """Run a task on the blocks of days between cuts."""
    return lambda task: (task(a, b) for a, b in pairwise([0, *cuts, len(time)]))


def fitted(values, time, cuts: list[int], gaps: tuple[int, ...] = (), floor: float = 0.0):
    days = training(values, time, gaps)
    return statistics(days, blocks_of(time, cuts), floor, WEIGHTS)


def by_hand(values: np.ndarray, time: np.ndarray, channel: int, floor: float = 0.0):
    """Compute the statistics of one channel at every point from their definitions."""
    f = values[:, channel].reshape(len(time), -1).astype(np.float64)
    f = np.log1p(f) if channel == 1 else f
    basis = harmonics_of(time)
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


def compare(found: Statistics, values: np.ndarray, time: np.ndarray) -> None:
    harmonics, sds, rhos, errors = (
        getattr(found, name).numpy().reshape(*shape, 3, 40)
        for name, shape in (
            ("harmonics", (5,)),
            ("sd", ()),
            ("persistence", (3,)),
            ("persistence_variance", (3,)),
        )
    )
    for channel in range(3):
        climatology, sd, rho, error = by_hand(values, time, channel)
        scale = sd.mean()
        np.testing.assert_allclose(
            harmonics_of(time) @ harmonics[:, channel].astype(np.float64),
            climatology,
            rtol=3e-7,
            atol=1e-5 * scale,
        )
        np.testing.assert_allclose(sds[channel], sd, rtol=1e-6)
        np.testing.assert_allclose(rhos[:, channel], rho, atol=1e-6)
        np.testing.assert_allclose(errors[:, channel], error, atol=2e-6)


@pytest.mark.parametrize("hours", [24, 6])
def test_statistics_are_those_of_their_definitions(hours):
    time = 11323 + np.arange(380 * 24 // hours) * hours / 24
    values = series(time)
    compare(fitted(values, time, [200]), values, time)


def test_missing_values_leave_their_days_and_their_pairs():
    time = 11323.0 + np.arange(400)
    values = series(time)
    rng = np.random.default_rng(1)
    for channel in (1, 2):
        values[:, channel][rng.random((400, *SHAPE)) < 0.2] = np.nan
    compare(fitted(values, time, [150, 152], (1, 2)), values, time)


def test_days_that_the_time_axis_lacks_join_no_seasons():
    time = np.delete(11323.0 + np.arange(420), [*range(60, 90), 200, 202, 203])
    values = series(time)
    compare(fitted(values, time, [60, 100]), values, time)


def test_only_the_training_days_are_summed():
    """Days between training days are neither summed nor form pairs."""
    time = 11323.0 + np.arange(500)
    values = series(time)
    steps = np.delete(np.arange(500), [*range(20), *range(190, 260), 300, 499])
    days = TrainingDays(Fields(values, time), steps, HARMONICS, LAGS, ())
    found = statistics(days, blocks_of(steps, [170, 250]), 0.0, WEIGHTS)
    compare(found, values[steps], time[steps])


@pytest.mark.parametrize("gaps", [(), (0, 1, 2)])
def test_any_blocks_and_files_give_the_same_sums(gaps):
    """Blocks and files of any length, one day included, to 1e-12; equal blocks the same bits."""
    time = 11323.0 + np.arange(130)
    values = series(time)
    if gaps:
        values[np.random.default_rng(2).random(values.shape) < 0.1] = np.nan
    whole = training(values, time, gaps, file_steps=128)
    climatology = np.random.default_rng(5).standard_normal((5, 3, 40))
    rng = np.random.default_rng(3)
    splits = [[1], [129], [1, 2, 3, 4, 5], list(range(1, 130)), [64, 128]]
    splits += [sorted(rng.choice(np.arange(1, 130), 9, replace=False).tolist()) for _ in range(5)]
    for cuts, file_steps in zip(splits, [64, 1, 2, 3, 64, 8, 5, 16, 1, 32], strict=True):
        days = training(values, time, gaps, file_steps)
        for name, arguments in (("moments", ()), ("anomalies", (climatology,))):
            task = partial(getattr(days, name), *arguments)
            parts = list(blocks_of(time, cuts)(task))
            expected = getattr(whole, name)(*arguments, 0, 130)
            for found, one in zip(zip(*parts, strict=True), expected, strict=True):
                scale = np.abs(one).max(axis=-1, keepdims=True, initial=1e-300)
                assert (np.abs(sum(found) - one) <= 1e-12 * scale).all(), (name, cuts)
            again = pickle.loads(pickle.dumps(task))
            for left, right in zip(again(5, 90), task(5, 90), strict=True):
                np.testing.assert_array_equal(left, right)
        one, other = (fitted(values, time, c, gaps, 0.3) for c in (cuts, []))
        for name in ("harmonics", "sd", "persistence", "persistence_variance"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)


def test_a_large_offset_costs_no_digits():
    """The spread of 1 m2 s-2 about 500,000: sums of squares of the values would lose it."""
    time = 11323.0 + np.arange(300)
    rng = np.random.default_rng(4)
    values = np.zeros((300, 3, *SHAPE), np.float32)
    values[:, 0] = rng.standard_normal((300, *SHAPE))
    values[:, 1] = rng.random((300, *SHAPE))
    values[:, 2] = 500000 + np.round(8 * rng.standard_normal((300, *SHAPE))) / 8
    found = fitted(values, time, [100])
    np.testing.assert_allclose(found.sd[2].reshape(-1), by_hand(values, time, 2)[1], rtol=1e-6)


def test_point_that_is_never_known_takes_its_channel_s():
    time = 11323.0 + np.arange(100)
    values = series(time)
    values[:, 2, 1, 3] = np.nan
    days = training(values, time, (2,))
    found = statistics(days, blocks_of(time, [50]), 0.0, np.ones(40))
    others = np.delete(found.sd[2].numpy().reshape(-1), 11)
    rms = np.sqrt((others.astype(np.float64) ** 2).mean())
    assert float(found.sd[2, 1, 3]) == pytest.approx(rms, rel=1e-6)
    assert found.harmonics.isfinite().all()
    assert (found.persistence[:, 2, 1, 3] == 0).all()
    assert (found.persistence_variance[:, 2, 1, 3] == 1).all()


def test_no_value_at_all_is_refused():
    time = 11323.0 + np.arange(100)
    values = series(time)
    values[:, 2] = np.nan
    with pytest.raises(UserError, match="no value at all"):
        fitted(values, time, [], (2,))


@pytest.mark.parametrize("gap", [1, 2, 1096])
def test_two_pieces_give_what_their_union_gives_by_hand(gap):
    """Pairs are days that are `lag` days apart, and never on the two sides of a seam."""
    time = 11323.0 + np.concatenate([np.arange(200), 200 + gap + np.arange(190)])
    values = series(time)
    compare(fitted(values, time, [130, 200, 260]), values, time)
    compare(fitted(values, time, [130, 260]), values, time)  # a block that contains the seam
