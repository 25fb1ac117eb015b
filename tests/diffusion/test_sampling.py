"""Samplers by themselves: noise levels, the last step, members that diverge."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from slams.benchmarks.gaussian import dense_problem
from slams.benchmarks.guided import noise_of
from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule, time_of_sigma
from slams.diffusion.samplers.predictor_corrector import PredictorCorrectorSampler
from slams.diffusion.sampling import (
    DivergedError,
    SamplerProblem,
    make_sampler,
    noise_levels,
    sample,
)
from slams.diffusion.settings import SamplerSettings

KINDS = ("adams_bashforth", "heun", "ddim", "ancestral", "predictor_corrector")


class _Scalar(Denoiser):
    """Gives E[x | x_t] of N(mean, variance), point by point; keeps the levels it is asked."""

    def __init__(self, variance: float, mean: float = 0.0) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
        self.variance, self.mean = variance, mean
        self.levels: list[float] = []

    def forward(self, x_t, t, **condition):
        _, sigma_t = self.schedule(t)
        self.levels.append(float(sigma_t))
        share = self.variance / (self.variance + sigma_t**2)
        return DiracPosterior(mean=self.mean + share * (x_t - self.mean))


@pytest.mark.parametrize("kind", KINDS)
def test_the_denoiser_is_evaluated_at_the_noise_levels(kind: str) -> None:
    config = SamplerSettings(kind=kind, steps=6)
    denoiser = _Scalar(1.0)
    sample(denoiser, config, noise_of((3,), 2), 2)
    levels = noise_levels(config)
    twice = {"heun": [1, 2, 2, 2, 2, 2], "predictor_corrector": [2, 2, 2, 2, 2, 1]}
    times = torch.tensor(twice.get(kind, [1] * 6))
    torch.testing.assert_close(
        torch.tensor(denoiser.levels), levels.repeat_interleave(times), rtol=1e-4, atol=0
    )
    assert float(levels[0]) == pytest.approx(60.0)
    assert float(levels[-1]) == pytest.approx(0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_few_centred_members_is_the_analysis(kind: str) -> None:
    """For a Gaussian the mean of five members is exact; drawn freely, off by sd / sqrt(5)."""
    draw = noise_of((400,), 5)
    found = {}
    for centred in (True, False):
        config = SamplerSettings(kind=kind, steps=12, centred=centred)
        members = sample(_Scalar(0.3**2), config, draw, 5).members
        found[centred] = members.mean(dim=0).square().mean().sqrt(), members.var(dim=0).mean()
    assert float(found[True][0]) < 1e-5
    expected = float((found[False][1] / 5).sqrt())  # some samplers narrow the spread
    assert float(found[False][0]) == pytest.approx(expected, rel=0.15)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-4, atol=0)


def spread_of(config: SamplerSettings, sd: float) -> float:
    """Return the ratio of the sampled spread of a Gaussian to its own, `sd`.

    The deterministic samplers are linear here: it is what a member is over what it started from.
    """
    draw = noise_of((1,), 1)
    member = sample(_Scalar(sd**2), config, draw, 1).members[0]
    # Starting from sigma_max in place of sqrt(sigma_max^2 + sd^2) takes nothing away here.
    return float(member / draw(0, "start")) / sd


@pytest.mark.parametrize(
    ("sd", "band"),
    [(0.05, 0.03), (0.1, 0.02), (0.3, 0.01), (0.5, 0.005), (1.0, 0.005), (1.7, 0.005)],
)
def test_the_default_keeps_any_spread(sd: float, band: float) -> None:
    assert spread_of(SamplerSettings(), sd) == pytest.approx(1, abs=band)


def test_a_higher_order_comes_nearer_to_the_spread() -> None:
    off = [
        abs(spread_of(SamplerSettings(order=order, steps=24), 0.5) - 1) for order in (1, 2, 3, 4)
    ]
    assert off[0] > 5 * off[1] > 25 * off[2] > 0
    assert off[3] < off[1] / 5  # of one size with what the last step leaves


def test_the_first_order_is_ddim() -> None:
    draw = noise_of((40,), 3)
    first, ddim = (
        sample(_Scalar(0.3), config, draw, 3).members
        for config in (SamplerSettings(order=1), SamplerSettings(kind="ddim"))
    )
    torch.testing.assert_close(first, ddim, rtol=1e-5, atol=1e-6)


def test_centred_members_are_like_the_truth_where_inflation_makes_up_for_centring() -> None:
    """With a factor of (M / (M + 1))^1/2 the truth has every rank among M members as often."""
    count, points, sd = 4, 40_000, 0.5
    draw = noise_of((points,), count)
    truth = sd * torch.randn(points, generator=torch.Generator().manual_seed(7))

    def ranks(inflation: float) -> torch.Tensor:
        members = sample(_Scalar(sd**2), SamplerSettings(inflation=inflation), draw, count).members
        below = (members < truth).sum(dim=0)
        return torch.bincount(below, minlength=count + 1) / points * (count + 1)

    # A share has a standard error of 1 %; without the factor the outer ranks are a tenth too rare.
    torch.testing.assert_close(
        ranks((count / (count + 1)) ** 0.5), torch.ones(count + 1), rtol=0, atol=0.04
    )
    assert float(ranks(1.0)[[0, -1]].max()) < 0.95


@pytest.mark.parametrize("kind", ["adams_bashforth", "heun", "ddim"])
def test_inflation_is_a_factor_on_the_spread_alone(kind: str) -> None:
    config, draw = SamplerSettings(kind=kind), noise_of((40,), 5)
    plain, narrow = (
        sample(_Scalar(0.3**2, mean=1.5), replace(config, inflation=factor), draw, 5).members
        for factor in (1.0, 0.8)
    )
    mean = plain.mean(dim=0)
    torch.testing.assert_close(narrow.mean(dim=0), mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(narrow - mean, 0.8 * (plain - mean), rtol=1e-4, atol=1e-4)


def test_the_last_step_ends_at_zero_noise() -> None:
    """A state known to be zero ends at half of sigma_min's noise, not at all of it."""
    config = SamplerSettings(kind="ddim")
    draw = noise_of((1,), 1)
    member = sample(_Scalar(0.0), config, draw, 1).members[0]
    assert float(member / draw(0, "start")) == pytest.approx(config.sigma_min / 2, rel=1e-4)


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_a_correction_leaves_a_gaussian_as_it_is(tau: float) -> None:
    """Hold the variance after a step to the closed form, and the closed form to its bound."""
    variance, sigma = 0.7, 0.9
    denoiser, count = _Scalar(variance), 200_000
    draw = torch.Generator().manual_seed(0)
    x_t = math.sqrt(variance + sigma**2) * torch.randn(count, 1, generator=draw)
    noise = torch.randn(count, 1, generator=draw)
    settings = SamplerSettings(corrections=1, correction=tau)
    sampler = PredictorCorrectorSampler(SamplerProblem(denoiser, settings, lambda n: noise))
    time = time_of_sigma(torch.tensor(sigma), denoiser.schedule)
    found = float(sampler.step(x_t, time, time).var()) / (variance + sigma**2)
    share = sigma**2 / (variance + sigma**2)
    loss = (1 - math.sqrt(1 - tau)) ** 2
    assert found == pytest.approx(1 - loss * share * (1 - share), abs=0.012)
    assert loss * share * (1 - share) <= loss / 4


@pytest.mark.parametrize(("tau", "sigma"), [(0.5, 0.3), (0.8, 0.3), (0.8, 0.9)])
def test_what_many_corrections_lose_of_a_gaussian(tau: float, sigma: float) -> None:
    variance, draw = 0.7, torch.Generator().manual_seed(0)
    denoiser, count = _Scalar(variance), 40_000
    settings = SamplerSettings(corrections=200, correction=tau)
    sampler = PredictorCorrectorSampler(
        SamplerProblem(denoiser, settings, lambda n: torch.randn(count, 1, generator=draw))
    )
    time = time_of_sigma(torch.tensor(sigma), denoiser.schedule)
    x_t = math.sqrt(variance + sigma**2) * torch.randn(count, 1, generator=draw)
    found = float(sampler.step(x_t, time, time).var()) / (variance + sigma**2)
    share, c = sigma**2 / (variance + sigma**2), 1 - math.sqrt(1 - tau)
    kept = (2 - c) / (2 - share * c)
    assert found == pytest.approx(kept, abs=0.03)
    assert kept > 1 - c / 2


@pytest.mark.parametrize("corrections", [1, 2, 20])
@pytest.mark.parametrize(("tau", "sigma"), [(0.5, 0.3), (0.8, 0.3), (0.8, 0.9), (1.0, 3.0)])
def test_averaged_corrections_keep_a_gaussian(tau: float, sigma: float, corrections: int) -> None:
    """Hold a Gaussian of the right variance to it; plain corrections lose up to 28 % of it."""
    variance, draw = 0.7, torch.Generator().manual_seed(0)
    denoiser, count = _Scalar(variance), 100_000
    settings = SamplerSettings(corrections=corrections, correction=tau, averaged=True)
    sampler = PredictorCorrectorSampler(
        SamplerProblem(denoiser, settings, lambda n: torch.randn(count, 1, generator=draw))
    )
    time = time_of_sigma(torch.tensor(sigma), denoiser.schedule)
    x_t = math.sqrt(variance + sigma**2) * torch.randn(count, 1, generator=draw)
    found = float(sampler.step(x_t, time, time).var()) / (variance + sigma**2)
    share, c = sigma**2 / (variance + sigma**2), 1 - math.sqrt(1 - tau)
    # What the first, a plain one of c / 2, loses fades with those that follow.
    first = (c / 2) ** 2 * share * (1 - share)
    expected = 1 - first * (1 - share * c) ** (2 * (corrections - 1))
    assert found == pytest.approx(expected, abs=0.012)


def test_averaged_corrections_of_one_level_share_their_noise() -> None:
    """Draw are one more than corrections a level; none is taken from one level to the next."""
    config = SamplerSettings(kind="predictor_corrector", steps=6, corrections=3, averaged=True)
    asked = []

    def draw(member: int, stream: str) -> torch.Tensor:
        asked.append(stream)
        return torch.ones(2)

    sample(_Scalar(1.0), config, draw, 1)
    assert asked == ["start", *(f"step {number}" for number in range(5 * 4))]


def test_stochastic_samplers_draw_noise_by_member_and_step() -> None:
    for kind, draws in {"ancestral": 5, "predictor_corrector": 15, "heun": 0, "ddim": 0}.items():
        config = SamplerSettings(kind=kind, steps=6, corrections=3)
        asked = []

        def draw(member: int, stream: str, asked: list = asked) -> torch.Tensor:
            asked.append((member, stream))
            return torch.ones(2)

        state = torch.random.get_rng_state()
        sample(_Scalar(1.0), config, draw, 2)
        assert torch.equal(torch.random.get_rng_state(), state)
        streams = ["start", *(f"step {number}" for number in range(draws))]
        assert asked == [(member, stream) for stream in streams for member in (0, 1)]


class _Diverging(Denoiser):
    """Sends some members to infinity in their first draw, as a bad gain would."""

    def __init__(self, inner: Denoiser, bad: float) -> None:
        super().__init__()
        self.inner, self.bad = inner, bad

    @property
    def schedule(self):
        return self.inner.schedule

    def forward(self, x_t, t, **condition):
        mean = self.inner(x_t, t).mean
        runaway = x_t.flatten(1)[:, 0] > self.bad
        return DiracPosterior(
            mean=torch.where(runaway.reshape(-1, 1, 1, 1, 1), 1e6 * torch.ones_like(x_t), mean)
        )


class _Counting(Denoiser):
    """Keeps the number of members of each evaluation."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__()
        self.inner = inner
        self.sizes: list[int] = []

    @property
    def schedule(self):
        return self.inner.schedule

    def forward(self, x_t, t, **condition):
        self.sizes.append(len(x_t))
        return self.inner(x_t, t)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
def test_some_members_are_what_they_are_among_all(kind: str, centred: bool) -> None:
    config = SamplerSettings(kind=kind, steps=4, centred=centred)
    draw = noise_of((6,), 5)
    condition = {"season": torch.arange(5.0)}
    every = sample(_Scalar(1.0), config, draw, 5, **condition).members
    for only in (range(2), range(2, 5), range(4, 5)):
        some = sample(_Scalar(1.0), config, draw, 5, only, **condition).members
        torch.testing.assert_close(some, every[only.start : only.stop], rtol=1e-6, atol=1e-6)


def test_diverged_members_are_drawn_again_and_counted() -> None:
    problem = dense_problem(0.3)
    config = SamplerSettings(steps=8)
    draw = noise_of(problem.shape, 50)
    samples = sample(_Diverging(problem.denoiser, 40.0), config, draw, 50)
    assert 0 < samples.diverged < 50
    assert samples.members.abs().max() < 50


def test_members_are_drawn_again_by_a_denoiser_that_waits_for_no_other_process() -> None:
    problem = dense_problem(0.3)
    draw = noise_of(problem.shape, 50)
    first, again = _Diverging(problem.denoiser, 40.0), _Counting(problem.denoiser)
    samples = sample(first, SamplerSettings(steps=8), draw, 50, again=again)
    assert set(again.sizes) == {samples.diverged}


def test_members_that_always_diverge_are_an_error() -> None:
    problem = dense_problem(0.3)
    draw = noise_of(problem.shape, 2)
    with pytest.raises(DivergedError, match="diverged in each of 4 draws"):
        sample(_Diverging(problem.denoiser, -1e9), SamplerSettings(steps=4), draw, 2)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("euler", "found 'euler'; expected one of adams_bashforth"),
        ("ancestral", "needs noise, found none"),
        ("predictor_corrector", "needs noise, found none"),
    ],
)
def test_a_sampler_that_cannot_be_made_is_refused(kind: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_sampler(_Scalar(1.0), SamplerSettings(kind=kind))
