"""Desroziers' estimates, total spread and scores with observation error, on a known problem.

Every point is its own scalar problem: truth 0, background error variance B, observation error
variance R, gain K = B / (B + R), analysis error variance A = (1 - K) B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import scoringrules
import torch

from slams.fields import Background, Batch, FieldSpec, Observations
from slams.metrics.observation_error import crps_with_error, rank_with_error
from slams.metrics.observation_space import (
    SUMS,
    ObservationSpace,
    observed_statistics,
    unit_errors,
)
from slams.metrics.scores import rank_chi_square
from slams.normalisation import Normaliser

B, R, MEMBERS, POINTS = 4.0, 1.0, 12, 20_000
K = B / (B + R)
A = (1 - K) * B
CHANNELS = (FieldSpec.parse("temperature@850"),)
WHOLE = (1, POINTS // 100, 100)


class Everywhere:
    """Observes every point, some degrees north and south of the equator."""

    units = "K"
    latitude = torch.linspace(60, -60, POINTS, dtype=torch.float64)
    longitude = torch.full((POINTS,), 200.0, dtype=torch.float64)  # in the Pacific

    def __call__(self, state):
        return self.linear(state) + 3.0

    def linear(self, state):
        return state[..., 0, :, :].flatten(-2)


def problem(cases=2):
    """Draw cases with their optimal analysis ensembles; held out is a second observation."""
    g = torch.Generator().manual_seed(4)

    def noise(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    background = math.sqrt(B) * noise(cases, 1, *WHOLE)
    values = math.sqrt(R) * noise(cases, 1, POINTS)
    analysis = background + K * (values.reshape(background.shape) - background)
    members = analysis[:, None] + math.sqrt(A) * noise(cases, MEMBERS, 1, *WHOLE)
    variance = torch.full_like(values, R)
    mask = torch.rand(values.shape, generator=g) > 0.2
    spoiled = (values + 3).masked_fill(~mask, math.nan)
    seen = Observations("stations/t", Everywhere(), spoiled, mask, variance)
    later = math.sqrt(R) * noise(cases, 1, POINTS) + 3
    held = Observations("stations/t", Everywhere(), later, torch.ones_like(mask), variance)
    batch = Batch(
        fields=torch.zeros_like(background),
        mask=torch.ones_like(background, dtype=torch.bool),
        time=torch.zeros(cases, 1),
        case=torch.arange(cases),
        climatology=torch.zeros_like(background),
        background=Background(background, torch.full_like(background, B)),
        observations=(seen,),
        held_out=(held,),
    )
    return batch, members


def normaliser():
    # float64, which the statistics of a network of this size deserve.
    return SimpleNamespace(denormalise=lambda x, c: x, sd=torch.ones(WHOLE, dtype=torch.float64))


@pytest.fixture(scope="module")
def found():
    batch, members = problem()
    cases = ObservationSpace(normaliser(), 0)(batch, members)
    sums = {key: sum(case[key].sums for case in cases) for key in cases[0]}
    ranks = {key: sum(case[key].ranks for case in cases) for key in cases[0]}
    values = {key: observed_statistics(s[0], MEMBERS, key[1]) for key, s in sums.items()}
    return SimpleNamespace(cases=cases, sums=sums, ranks=ranks, values=values, batch=batch)


SEEN, HELD = ("stations/t", "assimilated"), ("stations/t", "held_out")


def test_desroziers_recovers_the_error_variances(found):
    values = {name: float(v) for name, v in found.values[SEEN].items()}
    # 32,000 departures: a variance is known to 1 %; the ensemble mean adds A / M to E[d_oa^2].
    assert values["r_desroziers"] == pytest.approx(R, rel=0.04)
    assert values["hbh_desroziers"] == pytest.approx(B, rel=0.04)
    assert values["hah_desroziers"] == pytest.approx(A - A / MEMBERS, rel=0.06)
    assert values["r_assumed"] == R
    assert values["hbh_assumed"] == pytest.approx(B)
    assert values["hah_ensemble"] == pytest.approx(A, rel=0.02)
    assert values["chi2"] == pytest.approx(1, rel=0.04)
    assert values["o_minus_b_sd"] == pytest.approx(math.sqrt(B + R), rel=0.02)
    assert values["departure_variance"] == pytest.approx(R - A + A / MEMBERS, rel=0.04)


def test_total_spread_is_that_of_departures_from_what_was_not_assimilated(found):
    held, seen = found.values[HELD], found.values[SEEN]
    expected = R + A * (1 + 1 / MEMBERS)
    assert float(held["total_spread"]) == pytest.approx(expected, rel=0.02)
    assert float(held["departure_variance"]) == pytest.approx(expected, rel=0.04)
    assert "r_desroziers" not in held
    # One that was assimilated lies closer: a dome, where the held-out ones are flat.
    assert float(seen["departure_variance"]) < 0.5 * float(seen["total_spread"])


def test_ranks_are_flat_for_what_was_held_out_alone(found):
    # Independent points: n times the statistic is chi-square with 12 degrees of freedom,
    # below 32.9 with probability 0.999.
    n = float(found.ranks[HELD].sum())
    assert n == 2 * POINTS
    assert n * float(rank_chi_square(found.ranks[HELD] / n)) < 32.9
    share = found.ranks[SEEN] / found.ranks[SEEN].sum()
    assert float(share[0] + share[-1]) < 0.2 * 2 / (MEMBERS + 1)
    # Without the observation's error, the truth's members would look far too narrow.
    x = torch.zeros(MEMBERS, 5000, dtype=torch.float64)
    g = torch.Generator().manual_seed(0)
    y = torch.randn(5000, generator=g, dtype=torch.float64)
    bare = rank_with_error(x, y, torch.ones(5000).double(), torch.zeros_like(x))
    assert set(bare.tolist()) == {0, MEMBERS}


def test_regions_and_cases_add_up(found):
    sums = found.sums[SEEN]
    torch.testing.assert_close(sums[1:4].sum(dim=0), sums[0])
    torch.testing.assert_close(sums[4] + sums[5], sums[0])
    assert float(sums[0, SUMS.index("n")]) == int(found.batch.observations[0].mask.sum())
    assert float(sums[5, 0]) > 0.9 * float(sums[0, 0])


def test_a_case_s_sums_do_not_depend_on_its_batch(found):
    batch, members = problem()
    alone = ObservationSpace(normaliser(), 0)(batch.select(slice(1, 2)), members[1:])
    for key in (SEEN, HELD):
        assert torch.equal(alone[0][key].sums, found.cases[1][key].sums)
        assert torch.equal(alone[0][key].ranks, found.cases[1][key].ranks)


def test_without_a_background_there_is_no_o_minus_b():
    batch, members = problem(1)
    batch = Batch(**{**vars(batch), "background": None})
    ((case),) = ObservationSpace(normaliser(), 0)(batch, members)
    values = observed_statistics(case[SEEN].sums[0], MEMBERS, "assimilated")
    missing = {name for name, value in values.items() if not math.isfinite(value)}
    assert missing == {
        "o_minus_b_mean",
        "o_minus_b_sd",
        "chi2",
        "hbh_assumed",
        "r_desroziers",
        "hbh_desroziers",
        "hah_desroziers",
    }


def test_crps_with_error_is_the_mean_over_drawn_errors():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, generator=g, dtype=torch.float64) * 2
    y, r = torch.tensor([0.3, -2.0, 5.0]).double(), torch.tensor([0.25, 1.0, 4.0]).double()
    drawn = x[..., None] + r.sqrt()[:, None] * torch.randn(5, 3, 200_000, generator=g).double()
    truth = y[:, None].expand(3, 200_000)
    oracle = scoringrules.crps_ensemble(
        truth.numpy(), drawn.movedim(0, -1).numpy(), estimator="fair", backend="numpy"
    )
    found = crps_with_error(x, y, r)
    error = 4 * oracle.std(axis=1) / math.sqrt(200_000)
    assert (abs(found.numpy() - oracle.mean(axis=1)) < error).all()


def test_crps_with_error_of_equal_members_is_that_of_a_normal_distribution():
    x, y, r = torch.full((4, 1), 1.0).double(), torch.tensor([2.5]).double(), 0.49
    expected = scoringrules.crps_normal(2.5, 1.0, 0.7)
    found = crps_with_error(x, y, torch.tensor([r]).double())
    # The oracle's distribution function is good to 1e-8.
    assert float(found) == pytest.approx(float(expected), rel=1e-7)


def test_the_real_conversions_are_used():
    """O-B in channel units: precipitation is compared as log(1 + mm day-1)."""
    channels = (FieldSpec.parse("total_precipitation_24hr"),)
    shape = (1, *WHOLE[1:])
    normal = Normaliser(channels, torch.full((1, *shape), 0.5), torch.full(shape, 2.0))
    batch, _ = problem(1)
    single = Batch(
        fields=batch.fields.float(),
        mask=batch.mask,
        time=batch.time,
        case=batch.case,
        climatology=normal.climatology(batch.time),
        background=Background(torch.ones(1, 1, *shape), torch.full((1, 1, *shape), 0.25)),
        observations=batch.observations,
    )
    steps = torch.arange(12.0).reshape(1, MEMBERS, 1, 1, 1, 1)
    members = (2.5 + steps).expand(1, MEMBERS, 1, *shape)
    ((case),) = ObservationSpace(normal, 0)(single, members)
    values = observed_statistics(case[SEEN].sums[0], MEMBERS, "assimilated")
    seen = batch.observations[0]
    mean = float(seen.values[0][seen.mask[0]].mean())
    assert float(values["o_minus_b_mean"]) == pytest.approx(mean - (0.5 + 2.0 + 3.0), abs=1e-5)
    assert float(values["o_minus_a_mean"]) == pytest.approx(mean - (2.5 + 5.5 + 3.0), abs=1e-5)
    assert float(values["hbh_assumed"]) == pytest.approx(1.0)


@dataclass
class Mean:
    """One observation, the mean of two neighbouring grid points; the second weighs thrice."""

    units: str = "K"
    latitude: torch.Tensor = field(default_factory=lambda: torch.zeros(1).double())
    longitude: torch.Tensor = field(default_factory=lambda: torch.zeros(1).double())

    def __call__(self, state):
        return self.linear(state) + 3.0

    def linear(self, state):
        return (0.25 * state[..., 0, 0, 0] + 0.75 * state[..., 0, 0, 1])[..., None]


def background_variance(errors):
    """Return `H B H^T` of `Mean` where the background's standard deviations are 2 and 4."""
    one = torch.ones(1, 1, 1).double()
    batch = Batch(
        fields=torch.zeros(1, 1, 1, 1, 2).double(),
        mask=torch.ones(1, 1, 1, 1, 2, dtype=torch.bool),
        time=torch.zeros(1, 1),
        case=torch.arange(1),
        climatology=torch.zeros(1, 1, 1, 1, 2).double(),
        background=Background(
            torch.zeros(1, 1, 1, 1, 2).double(), torch.tensor([4.0, 16.0]).reshape(1, 1, 1, 1, 2)
        ),
        observations=(Observations("satellite/t", Mean(), one, one > 0, one),),
    )
    normal = SimpleNamespace(denormalise=lambda x, c: x, sd=torch.ones(1, 1, 2).double())
    ((case),) = ObservationSpace(normal, 0, errors)(batch, torch.zeros(1, 3, 1, 1, 1, 2).double())
    ((sums),) = case.values()
    return float(observed_statistics(sums.sums[0], 3, "assimilated")["hbh_assumed"])


def test_background_errors_in_a_footprint_are_correlated_as_past_ones():
    alike = torch.ones(1, 1, 1, 1, 2).double()
    alone = math.sqrt(2) * torch.eye(2).double().reshape(2, 1, 1, 1, 2)
    assert background_variance(None) == pytest.approx((0.25 * 2 + 0.75 * 4) ** 2)
    assert background_variance(alike) == pytest.approx((0.25 * 2 + 0.75 * 4) ** 2)
    assert background_variance(alone) == pytest.approx((0.25 * 2) ** 2 + (0.75 * 4) ** 2)
    opposite = (
        torch.tensor([1.0, -1.0]).double().expand(40, 1, 1, 1, 2)
    )  # more than are observed at a time
    assert background_variance(opposite) == pytest.approx((0.25 * 2 - 0.75 * 4) ** 2)


def test_past_errors_have_unit_variance_where_there_are_any():
    errors = torch.randn(9, 1, 2, 3, 4, generator=torch.Generator().manual_seed(1)) * 5
    known = torch.rand(errors.shape, generator=torch.Generator().manual_seed(2)) > 0.3
    known[:, 0, 0, 0, 0] = False
    unit = unit_errors(errors, known)
    size = unit.square().mean(dim=0)
    assert float(size[0, 0, 0, 0]) == 0.0
    torch.testing.assert_close(size.flatten()[1:], torch.ones(23))
    assert bool((unit[~known] == 0).all())


def test_chi_square_of_reports_at_a_bound_is_one():
    batch, members = problem(1)
    (seen,) = batch.observations
    drawn = torch.randn(seen.values.shape, generator=torch.Generator().manual_seed(8)).double()
    guess = 3.0 + batch.background.mean.flatten(-3)
    values = (guess + math.sqrt(B + R) * drawn).clamp(min=3.0)
    bounded = replace(seen, values=values.masked_fill(~seen.mask, math.nan), bound=3.0)
    ((case),) = ObservationSpace(normaliser(), 0)(replace(batch, observations=(bounded,)), members)
    found = observed_statistics(case[SEEN].sums[0], MEMBERS, "assimilated")
    assert float(found["chi2"]) == pytest.approx(1, abs=0.05)
