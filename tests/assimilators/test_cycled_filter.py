"""Cycled filters against the Kalman filter of a chain, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from slams.assimilators.cycled_filter import (
    CycledFilter,
    EnKFCycled,
    LETKFCycled,
    MemberCycle,
    _reduced,
)
from slams.errors import UserError
from slams.fields import Batch
from tests.assimilators.chains import Chain, ExactForecast, kalman, make_chain

FILTERS = pytest.mark.parametrize("kind", [EnKFCycled, LETKFCycled])
DAYS, SPIN_UP, MEMBERS = 500, 30, 120


@pytest.fixture(scope="module")
def chain() -> Chain:
    return make_chain()


@pytest.fixture(scope="module")
def forecast(chain: Chain) -> ExactForecast:
    return ExactForecast(chain)


@pytest.fixture(scope="module")
def truth(chain: Chain) -> Tensor:
    return chain.series(DAYS, seed=6)


@pytest.fixture(scope="module")
def batches(chain: Chain, truth: Tensor) -> list[Batch]:
    return chain.batches(truth, seed=7)


def make(kind: type[CycledFilter], chain: Chain, forecast: ExactForecast, **settings):
    settings = {"ensemble": MEMBERS, "localisation": math.inf, "season": 400.0, **settings}
    method = kind(chain.normaliser, chain.grid, 0, forecast=forecast, **settings)
    method.fit(forecast.days)
    return method


def cycled(method: CycledFilter, batches: list[Batch]) -> tuple[Tensor, Tensor]:
    """Return the means of all analyses and their variances, `(N, D)` normalised."""
    cycle, means, variances = MemberCycle(method, from_climatology=True), [], []
    for batch in batches:
        batch = cycle.prepare(batch)
        ensemble = method.analyse(batch, method.ensemble)
        cycle.keep(batch, ensemble)
        anomalies = ensemble.members[0].double() - batch.climatology[0].double()
        means.append(anomalies.mean(dim=0).flatten())
        variances.append(anomalies.var(dim=0).flatten())
    return torch.stack(means), torch.stack(variances)


@FILTERS
def test_a_cycle_reaches_the_error_of_the_riccati_equation_and_its_spread_is_its_error(
    chain, forecast, truth, batches, kind
) -> None:
    """All of it within 3 %: error against theory, error against the best filter, and spread."""
    best, covariance = kalman(chain, batches)
    means, variances = cycled(make(kind, chain, forecast), batches)

    def rmse(analyses: Tensor) -> float:
        return float((analyses - truth)[SPIN_UP:].square().mean().sqrt())

    riccati = float(covariance.diag().mean().sqrt())
    spread = float(variances[SPIN_UP:].mean().sqrt())
    climate = float(chain.stationary.diag().mean().sqrt())
    assert riccati < 0.75 * climate  # observations count
    assert rmse(means) == pytest.approx(riccati, rel=0.03)
    assert rmse(means) == pytest.approx(rmse(best), rel=0.02)
    assert spread == pytest.approx(riccati, rel=0.03)
    assert spread == pytest.approx(rmse(means), rel=0.03)


def test_the_day_before_is_updated_too(chain, forecast, batches) -> None:
    """A filter that corrects the last day alone forecasts from a day that it knows is wrong."""
    method = make(LETKFCycled, chain, forecast)
    cycle = MemberCycle(method, from_climatology=True)
    for batch in batches[:3]:
        batch = cycle.prepare(batch)
        before = method.prior[1][:, 0]
        cycle.keep(batch, method.analyse(batch, 4))
        after = method.analysis[:, 0]
        assert float((after - before).abs().max()) > 1e-3
        assert float(after.var(dim=0).mean()) < float(before.var(dim=0).mean())


@FILTERS
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_share_of_past_errors_is_right_where_they_are_errors_of_the_members(
    chain, batches, kind, share
) -> None:
    """Where errors are as states of other years are, the first update is the climatology's."""
    climate = ExactForecast(chain, chain.stationary[4:, 4:])
    method = make(kind, chain, climate, static_share=share, ensemble=600)
    method.analyse(MemberCycle(method, from_climatology=True).prepare(batches[0]), 4)
    best, covariance = kalman(chain, batches[:1])
    last = method.analysis[:, -1].flatten(1).double()
    assert last.shape == (600, 4)
    torch.testing.assert_close(last.mean(dim=0), best[0], rtol=0, atol=0.08)
    found = torch.cov(last.T)
    assert float(found.trace()) == pytest.approx(float(covariance.trace()), rel=0.06)
    assert float((found - covariance).norm() / covariance.norm()) < 0.15


def test_combinations_have_the_covariance_of_all_perturbations() -> None:
    draw = torch.Generator().manual_seed(0)
    whole = torch.randn(60, 3, generator=draw) @ torch.tensor(
        [[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 2.0]]
    )
    whole = whole - whole.mean(dim=0)
    covariances = []
    for case in range(300):
        few = _reduced(whole, 20, 0, "made", case)
        assert float(few.mean(dim=0).abs().max()) < 1e-5
        covariances.append(torch.cov(few.T))
    mean = torch.stack(covariances).mean(dim=0)
    torch.testing.assert_close(mean, torch.cov(whole.T), rtol=0.06, atol=0.06)


@FILTERS
def test_a_taper_takes_back_its_part_of_the_update(chain, forecast, batches, kind) -> None:
    """The chain has no level; with all fields at one level the update is halved."""
    whole, half = make(kind, chain, forecast), make(kind, chain, forecast)
    half._taper = torch.full((1, 1, 1), 0.5)
    for method in (whole, half):
        cycle = MemberCycle(method, from_climatology=True)
        method.analyse(cycle.prepare(batches[0]), 4)
    prior = whole.prior[1]
    torch.testing.assert_close(half.prior[1], prior)
    torch.testing.assert_close(half.analysis - prior, 0.5 * (whole.analysis - prior))


def test_a_cycle_continues_from_its_state(chain, forecast, batches) -> None:
    method, other = (make(LETKFCycled, chain, forecast, ensemble=20) for _ in range(2))
    cycle, again = (MemberCycle(one, from_climatology=True) for one in (method, other))
    for number, batch in enumerate(batches[:5]):
        if number == 3:
            again.restore(*cycle.state)
        for one in (cycle, again) if number >= 3 else (cycle,):
            prepared = one.prepare(batch)
            one.keep(prepared, one.method.analyse(prepared, 4))
    assert torch.equal(method.analysis, other.analysis)
    cycle.reset()
    assert cycle.state is None


def test_from_the_climatology_the_first_background_knows_nothing(chain, forecast, batches) -> None:
    method = make(EnKFCycled, chain, forecast)
    background = MemberCycle(method, from_climatology=True).prepare(batches[0]).background
    assert float(background.mean.abs().max()) < 1e-5
    climate = chain.stationary.diag()[:4].float()
    torch.testing.assert_close(background.variance.flatten(), climate, rtol=0.4, atol=0)
    given = MemberCycle(method).prepare(batches[0]).background
    torch.testing.assert_close(given.mean, batches[0].background.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(given.variance, batches[0].background.variance, rtol=0.4, atol=0)


def test_days_that_do_not_follow_and_days_without_a_cycle_are_refused(
    chain, forecast, batches
) -> None:
    method = make(LETKFCycled, chain, forecast, ensemble=20)
    with pytest.raises(UserError, match=r"letkf_cycled keeps .*assimilation.cycle_days"):
        method.analyse(batches[0], 4)
    cycle = MemberCycle(method)
    first = cycle.prepare(batches[0])
    cycle.keep(first, method.analyse(first, 4))
    with pytest.raises(UserError, match="found 2 days from one case to the next"):
        cycle.prepare(batches[2])


def test_a_taper_has_a_factor_for_each_level(chain, forecast) -> None:
    with pytest.raises(UserError, match=r"letkf_cycled.taper: found 2 factors.*the 0 levels"):
        make(LETKFCycled, chain, forecast, taper=(1.0, 0.5))
