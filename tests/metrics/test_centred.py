"""Centred and free ensembles of known laws have the scores of the law, whatever their size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import MeanStatistics
from slams.metrics.centred import with_free_ranks, with_free_scatter
from slams.metrics.observation_error import crps_with_error, rank_with_error
from slams.metrics.records import MethodRecord
from slams.metrics.scores import rank_chi_square, spread_skill_ratio
from slams.metrics.spectra import PowerSpectra
from slams.metrics.statistics import CaseStatistics, case_statistics, fair_crps
from slams.normalisation import TRANSFORMS

SIZES = (8, 16, 64)
CHANNELS = (FieldSpec.parse("temperature@850"),)
SD, COUNT = 1.7, 200_000


def draws(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def ensemble(members: int, centred: bool) -> tuple[Tensor, Tensor]:
    """Draw members and truths from one normal distribution about an analysis: `(M, N)`, `(N,)`."""
    count = COUNT * 8 // members
    analysis = 3 * draws(count, seed=1)
    perturbations = SD * draws(members, count, seed=2)
    if centred:
        perturbations = perturbations - perturbations.mean(dim=0)
    return analysis + perturbations, analysis + SD * draws(count, seed=3)


def statistics(
    x: Tensor, y: Tensor, centred: bool, channels: tuple[FieldSpec, ...] = CHANNELS
) -> CaseStatistics:
    """Score `(M, N)` members as one case on a strip of `N` points."""
    truth = y.reshape(1, 1, 1, 1, -1)
    known = torch.ones_like(truth, dtype=torch.bool)
    members = x.reshape(1, len(x), 1, 1, 1, -1)
    case = torch.zeros(1, dtype=torch.int64)
    return case_statistics(
        members, truth, known, torch.ones(1), case, channels, 0, centred=centred
    )


@pytest.mark.parametrize("members", SIZES)
@pytest.mark.parametrize("centred", [False, True], ids=["free", "centred"])
def test_scores_are_those_of_the_law(members: int, centred: bool) -> None:
    found = statistics(*ensemble(members, centred), centred)
    assert float(found.crps) == pytest.approx(SD / math.sqrt(math.pi), rel=0.01)
    ratio = spread_skill_ratio(found.variance, found.mse, members, found.centred)
    assert float(ratio) == pytest.approx(1, rel=0.01)
    # The mean of centred members is the analysis: no chance of few draws in it.
    expected = SD**2 * (1 if centred else 1 + 1 / members)
    assert float(found.mse) == pytest.approx(expected, rel=0.01)
    # Of independent points, times their number, chi-square with as many degrees of freedom.
    points = COUNT * 8 // members
    assert points * float(rank_chi_square(found.rank)) < members + 5 * math.sqrt(2 * members)


@pytest.mark.parametrize("members", [8, 16])
def test_what_was_wrong(members: int) -> None:
    """Centred members scored as free ones: too low a CRPS, too much spread, a dome of ranks."""
    found = statistics(*ensemble(members, True), centred=False)
    expected = 2 * math.sqrt(1 - 1 / (2 * members)) - 1
    assert float(found.crps) * math.sqrt(math.pi) / SD == pytest.approx(expected, rel=0.005)
    assert expected < 1 - 0.49 / members
    ratio = spread_skill_ratio(found.variance, found.mse, members)
    assert float(ratio) == pytest.approx(math.sqrt(1 + 1 / members), rel=0.005)
    assert COUNT * float(rank_chi_square(found.rank)) > 10 * members


@pytest.mark.parametrize("shift", [0.5, 3.0])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_an_ensemble_that_is_not_reliable_has_the_score_of_its_law(
    scale: float, shift: float
) -> None:
    """The estimator is unbiased whatever the truth is: not only where the ensemble is right."""
    x, _ = ensemble(8, True)
    free, _ = ensemble(8, False)
    analysis = x.mean(dim=0)
    y = analysis + shift + scale * SD * draws(len(analysis), seed=9)
    identity = TRANSFORMS["identity"]
    found = fair_crps(x, y, with_free_scatter(x, identity)).mean()
    assert float(found) == pytest.approx(float(fair_crps(free, y).mean()), rel=0.01)


def test_where_the_law_is_not_normal_it_is_nearly_right() -> None:
    """Of an exponential distribution, far more skewed than any field: 3 % too high with 16."""
    generator = torch.Generator().manual_seed(0)
    x = -torch.rand(16, 200_000, generator=generator, dtype=torch.float64).log()
    y = -torch.rand(200_000, generator=generator, dtype=torch.float64).log()
    x = x - x.mean(dim=0) + 1
    found = float(fair_crps(x, y, with_free_scatter(x, TRANSFORMS["identity"])).mean())
    assert 1.0 < found / 0.5 < 1.035


def test_precipitation_is_nearly_right() -> None:
    """A censored normal law of log(1 + mm), a third of it dry: what docs/diagnostics.md says."""
    transform, channel = TRANSFORMS["log1p"], (FieldSpec.parse("total_precipitation_24hr"),)
    deviations = 0.8 * draws(16, 200_000, seed=1)
    y = transform.inverse(0.3 + 0.8 * draws(200_000, seed=2))
    free = statistics(transform.inverse(0.3 + deviations), y, False, channel)
    moved = transform.inverse(0.3 + deviations - deviations.mean(dim=0))
    found = statistics(moved, y, True, channel)
    assert 1.005 < float(found.crps / free.crps) < 1.02
    ratio = spread_skill_ratio(found.variance, found.mse, 16, True)
    assert 0.93 < float(ratio) < 0.95


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_members_are_moved_in_the_units_they_were_centred_in(name: str) -> None:
    transform = TRANSFORMS[name]
    units = 4 + draws(10, 50)
    members = transform.inverse(units)
    for function, share in ((with_free_scatter, 10 / 9), (with_free_ranks, 10 / 11)):
        found = transform.forward(function(members, transform))
        torch.testing.assert_close(found.mean(dim=0), units.mean(dim=0))
        torch.testing.assert_close(found.var(dim=0), share * units.var(dim=0))


def test_a_dry_member_stays_dry() -> None:
    members = torch.tensor([[0.0], [0.0], [5.0], [9.0]], dtype=torch.float64)
    for function in (with_free_scatter, with_free_ranks):
        found = function(members, TRANSFORMS["log1p"])
        assert found[:2].tolist() == [[0.0], [0.0]]
        assert (found[2:] > 0).all()
    # A dry truth among them still takes every rank of the dry ones alike.
    channel = (FieldSpec.parse("total_precipitation_24hr"),)
    x = members.expand(4, 6000).contiguous()
    rank = statistics(x, torch.zeros(6000).double(), True, channel).rank[0, 0]
    torch.testing.assert_close(rank[:3], torch.full((3,), 1 / 3).double(), atol=0.03, rtol=0)
    assert rank[3:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("error", [0.0, 0.8, 3.0])
@pytest.mark.parametrize("centred", [False, True], ids=["free", "centred"])
def test_scores_by_observations_with_errors(centred: bool, error: float) -> None:
    x, truth = ensemble(8, centred)
    y = truth + error * draws(len(truth), seed=5)
    variance = torch.full_like(y, max(error, 1e-6) ** 2)
    found = float(crps_with_error(x, y, variance, centred).mean())
    assert found == pytest.approx(math.sqrt((SD**2 + error**2) / math.pi), rel=0.01)
    rank = rank_with_error(x, y, variance, draws(*x.shape, seed=6), centred)
    share = torch.bincount(rank, minlength=9).double() / len(y)
    assert float(rank_chi_square(share)) < 0.001


def test_members_have_the_power_of_draws() -> None:
    grid = LatLonGrid(torch.linspace(78.75, -78.75, 8).double(), torch.arange(16).double() * 22.5)
    cases, members = 60, 8
    noise = draws(cases, members, 1, 1, 8, 16, seed=4)
    found = {}
    for name, centred in (("free", False), ("centred", True)):
        x = noise - noise.mean(dim=1, keepdim=True) if centred else noise
        spectra = PowerSpectra(CHANNELS, grid)
        truth = torch.zeros(cases, 1, 1, 8, 16)
        spectra.update(x, truth, torch.ones_like(truth, dtype=torch.bool), centred)
        found[name] = spectra.compute()[0][0, 0, 1].sum()
    assert float(found["centred"] / found["free"]) == pytest.approx(1, rel=0.01)


def test_metrics_and_records_know_which_they_are() -> None:
    """A method counts as centred where all its cases are; ranks without cases do not matter."""
    x, y = ensemble(16, True)
    centred, free = statistics(x, y, True), statistics(x, y, False)
    metric = MeanStatistics(1, 16)
    metric.update(centred)
    assert float(metric.compute()["spread_skill"]) == pytest.approx(1, rel=0.01)
    assert float(metric.compute()["crps"]) == pytest.approx(float(centred.crps))
    metric.update(free)
    assert float(metric.compute()["spread_skill"]) == pytest.approx(math.sqrt(17 / 16), rel=0.01)

    def record(found: CaseStatistics, case: int) -> MethodRecord:
        kept = MethodRecord.of_batch(found, torch.zeros(1), 0.0, torch.zeros(0), [{}])
        return MethodRecord(**{**vars(kept), "case": torch.tensor([case])})

    empty = MethodRecord.empty(1, 16)
    assert MethodRecord.merge([empty, record(centred, 0)]).estimator == "centred"
    assert MethodRecord.merge([record(centred, 0), record(free, 1)]).estimator == "free"
    assert MethodRecord.merge([empty]).estimator == "free"
