"""A cycle: what the next background is made of, and that the truth never enters it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.assimilators.cycle import Cycle
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from slams.fields import Batch, Ensemble
from tests.assimilators.problems import LinearGaussian, linear_gaussian

DAMPING, PERSISTENCE_ERROR = 0.7, 0.4


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    return linear_gaussian()


def day(problem: LinearGaussian, number: int) -> Batch:
    batch = problem.batch(seed=number)
    return replace(batch, time=batch.time + number)


def make(problem: LinearGaussian, **settings: float) -> Cycle:
    whole = torch.ones(problem.shape[1:])
    return Cycle(problem.normaliser, DAMPING * whole, PERSISTENCE_ERROR * whole, **settings)


def ensemble(problem: LinearGaussian, batch: Batch, anomalies: torch.Tensor) -> Ensemble:
    members = problem.normaliser.denormalise(anomalies, batch.climatology)
    channels = problem.normaliser.channels
    return Ensemble("made", members, batch.time, channels, problem.grid)


def test_the_first_background_is_the_one_it_comes_with(problem) -> None:
    batch = day(problem, 0)
    assert make(problem).prepare(batch).background is batch.background


def test_mean_and_variance_of_the_next_background(problem) -> None:
    cycle, first = make(problem, inflation=1.5), day(problem, 0)
    anomalies = torch.randn(1, 6, *problem.shape, generator=torch.Generator().manual_seed(0))
    cycle.keep(cycle.prepare(first), ensemble(problem, first, anomalies))
    background = cycle.prepare(day(problem, 1)).background
    torch.testing.assert_close(
        background.mean, DAMPING * anomalies.mean(dim=1), rtol=1e-4, atol=1e-4
    )
    expected = 1.5 * (PERSISTENCE_ERROR + DAMPING**2 * anomalies.var(dim=1))
    torch.testing.assert_close(background.variance, expected, rtol=1e-3, atol=1e-4)


def test_a_measured_variance_is_that_of_the_next_background(problem) -> None:
    cycle, first = make(problem, inflation=1.5, measured=True), day(problem, 0)
    anomalies = torch.randn(1, 6, *problem.shape, generator=torch.Generator().manual_seed(0))
    cycle.keep(first, ensemble(problem, first, anomalies))
    background = cycle.prepare(day(problem, 1)).background
    expected = torch.full_like(background.mean, 1.5 * PERSISTENCE_ERROR)
    torch.testing.assert_close(background.variance, expected)


def test_from_the_climatology_the_first_background_is_not_the_one_it_comes_with(problem) -> None:
    background = make(problem, from_climatology=True).prepare(day(problem, 0)).background
    assert background.kind == "climatology"
    assert bool((background.mean == 0).all())
    assert bool((background.variance == 1).all())


def test_each_member_gives_its_own_next_background_where_asked(problem) -> None:
    first = day(problem, 0)
    anomalies = torch.randn(1, 6, *problem.shape, generator=torch.Generator().manual_seed(0))
    found = {}
    for members in (False, True):
        cycle = make(problem, members=members)
        cycle.keep(cycle.prepare(first), ensemble(problem, first, anomalies))
        found[members] = cycle.prepare(day(problem, 1)).background
    torch.testing.assert_close(found[True].members, DAMPING * anomalies, rtol=1e-4, atol=1e-4)
    assert found[False].members is None
    assert torch.equal(found[True].mean, found[False].mean)
    assert torch.equal(found[True].variance, found[False].variance)


@pytest.mark.parametrize("members", [True, False])
def test_members_with_backgrounds_of_their_own_are_as_far_apart_as_they_are_wrong(
    problem, members
) -> None:
    """A chain that only its first half observes, drawn exactly given the state of the day before.

    Then spread is error where it is seen, and the climatology where it is not. Told the mean as
    if it were a state, the same draws are certain of what they made up.
    """
    draw = torch.Generator().manual_seed(0)
    cycle = make(problem, members=members)
    variance, r = 1 - DAMPING**2, 0.5
    seen = torch.zeros(problem.shape).flatten()
    seen[: seen.numel() // 2] = 1
    seen = seen.reshape(problem.shape)
    gain = seen * variance / (variance + r)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, *problem.shape, generator=draw)

    truth, error, spread = noise(1), [], []
    for number in range(160):
        batch = cycle.prepare(day(problem, number)).background
        own = batch.mean if batch.members is None else batch.members[0]
        if number == 0:
            own = DAMPING * truth
        truth = DAMPING * truth + variance**0.5 * noise(1)
        y = truth + r**0.5 * noise(1)
        drawn = own + gain * (y - own) + (variance * (1 - gain)).sqrt() * noise(12)
        cycle.keep(day(problem, number), ensemble(problem, day(problem, number), drawn[None]))
        if number >= 20:
            error.append((drawn.mean(dim=0) - truth[0]).square())
            spread.append(drawn.var(dim=0) * 13 / 12)
    error, spread = torch.stack(error).mean(dim=0), torch.stack(spread).mean(dim=0)
    ratio = (spread / error).sqrt()
    if members:
        assert float(ratio.mean()) == pytest.approx(1, abs=0.05)
        assert float(spread[seen == 0].mean()) == pytest.approx(13 / 12, abs=0.1)
    else:
        unseen = (variance * 13 / 12) ** 0.5  # the mean's own variance is near nothing
        assert float(ratio[seen == 0].mean()) == pytest.approx(unseen, abs=0.05)


GAIN, OFFSET, SHARE = 0.4, 2.0, 0.3


def observed_half(problem: LinearGaussian) -> torch.Tensor:
    seen = torch.zeros(problem.shape).flatten()
    seen[: seen.numel() // 2] = 1
    return seen.reshape(problem.shape)


def one_day(problem: LinearGaussian, cycle: Cycle, number: int) -> torch.Tensor:
    """Analyse a day on which half of the points read `OFFSET`; return its background."""
    batch = cycle.prepare(day(problem, number))
    mean = batch.background.mean
    own = mean if batch.background.members is None else batch.background.members[0]
    apart = 0.3 * torch.tensor([-1.0, 0.0, 1.0])[:, None, None, None, None]
    drawn = own + GAIN * observed_half(problem) * (OFFSET - own) + apart
    cycle.keep(batch, ensemble(problem, batch, drawn[None]))
    return mean[0]


def departures(days: int, share: float) -> list[float]:
    """Return O-B of each day in closed form: errors of the background and of the climatology."""
    error = climatology = OFFSET
    found = []
    for _ in range(days):
        found.append(error)
        climatology -= share * GAIN * error
        error = (1 - DAMPING) * climatology + DAMPING * (1 - GAIN) * error
    return found


@pytest.mark.parametrize("members", [True, False])
@pytest.mark.parametrize("share", [SHARE, 0.0])
def test_an_error_of_the_climatology_is_found_where_it_is_observed(
    problem, share, members
) -> None:
    cycle = make(problem, members=members, bias=share, from_climatology=True)
    means = [one_day(problem, cycle, number) for number in range(100)]
    seen = observed_half(problem) == 1
    for mean, expected in zip(means, departures(100, share), strict=True):
        torch.testing.assert_close(
            OFFSET - mean[seen], torch.full_like(mean[seen], expected), rtol=0, atol=3e-3
        )
        assert float(mean[~seen].abs().max()) < 3e-3
    left = float((OFFSET - means[-1])[seen].mean())
    if share:
        # The rate is the larger root of r^2 - (1 + a (1 - K) - (1 - a) gamma K) r + a (1 - K).
        product = DAMPING * (1 - GAIN)
        half = (1 + product - (1 - DAMPING) * share * GAIN) / 2
        rate = half + (half**2 - product) ** 0.5
        assert departures(60, share)[59] / departures(60, share)[58] == pytest.approx(rate)
        assert abs(left) < 0.01
    else:
        stays = OFFSET * (1 - DAMPING) / (1 - DAMPING * (1 - GAIN))
        assert left == pytest.approx(stays, abs=3e-3)


def test_a_cycle_that_is_continued_knows_the_error_of_the_climatology(problem) -> None:
    settings = {"bias": SHARE, "from_climatology": True}
    whole, part = make(problem, **settings), make(problem, **settings)
    expected = [one_day(problem, whole, number) for number in range(6)]
    for number in range(3):
        one_day(problem, part, number)
    again, older = make(problem, **settings), make(problem, **settings)
    again.restore(*part.state)
    for number in range(3, 6):
        assert torch.equal(one_day(problem, again, number), expected[number])
    older.restore(*part.state[:2])  # as the version before wrote it
    members = part.state[1]
    assert torch.equal(one_day(problem, older, 3), (DAMPING * members).mean(dim=1)[0])
    part.reset()
    assert part.state is None
    assert torch.equal(one_day(problem, part, 0), expected[0])
    assert torch.equal(one_day(problem, part, 1), expected[1])


def test_without_a_share_nothing_is_estimated(problem) -> None:
    cycle = make(problem, from_climatology=True)
    one_day(problem, cycle, 0)
    _, members, bias = cycle.state
    assert bias is None
    assert torch.equal(one_day(problem, cycle, 1), (DAMPING * members).mean(dim=1)[0])


def test_a_cycle_that_is_reset_starts_anew(problem) -> None:
    cycle, first = make(problem), day(problem, 0)
    cycle.keep(first, ensemble(problem, first, torch.ones(1, 2, *problem.shape)))
    cycle.reset()
    assert cycle.prepare(first).background is first.background


def test_a_day_that_does_not_follow_is_refused(problem) -> None:
    cycle, first = make(problem), day(problem, 0)
    cycle.keep(first, ensemble(problem, first, torch.ones(1, 2, *problem.shape)))
    with pytest.raises(UserError, match="found 3 days from one case to the next, expected 1"):
        cycle.prepare(day(problem, 3))


def test_gross_errors_are_judged_by_the_cycled_background(problem) -> None:
    cycle, first = make(problem, gross_error=5.0), day(problem, 0)
    far = torch.full((1, 2, *problem.shape), 40.0)
    assert all(bool(o.mask.all()) for o in cycle.prepare(first).observations)
    cycle.keep(first, ensemble(problem, first, far))
    assert not any(bool(o.mask.any()) for o in cycle.prepare(day(problem, 1)).observations)


def test_the_truth_is_seen_through_observations_alone(problem) -> None:
    """Other truths, same observations: not one number of three days of analyses changes."""

    def cycled(change: float) -> list[torch.Tensor]:
        method = OptimalInterpolation(problem.normaliser, problem.grid, seed=0, season=400)
        method.fit(problem.archive(problem.draw(60, seed=3)))
        cycle, found = make(problem), []
        for number in range(3):
            batch = day(problem, number)
            batch = cycle.prepare(replace(batch, fields=batch.fields + change))
            analysis = method.analyse(batch, 4)
            cycle.keep(batch, analysis)
            found.append(analysis.members)
        return found

    for one, other in zip(cycled(0.0), cycled(9.0), strict=True):
        assert torch.equal(one, other)
