"""The score model's conditional mean, where the exact one is known: the background itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from slams.assimilators import score_mean as module
from slams.assimilators.last_result import LastResult
from slams.assimilators.score_mean import ScoreMean
from slams.diffusion.backend import KarrasDenoiser, VESchedule
from slams.normalisation import DAYS_PER_YEAR
from tests.assimilators.latent_gaussian import ExactDenoiser, linear_space
from tests.assimilators.problems import linear_gaussian


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


def score_mean(problem, validation, **settings) -> ScoreMean:
    space = linear_space(problem)
    return ScoreMean(space, ExactDenoiser(problem, space), problem.grid, 3, validation, **settings)


def test_is_the_mean_of_the_posterior_without_observations(problem) -> None:
    archive = problem.archive(problem.draw(40, seed=2))
    guess = score_mean(problem, archive, sigma=90.0)
    batch = problem.batch(cases=3)
    found = guess.forecast(batch.background.mean, batch.time)
    torch.testing.assert_close(found, batch.background.mean, rtol=0, atol=0.06)
    # A low noise level takes the noise for information: it is no mean any more.
    low = score_mean(problem, archive, sigma=1.0).forecast(batch.background.mean, batch.time)
    assert float((low - batch.background.mean).abs().max()) > 0.2
    seen = guess.denoiser.seen[-1]
    torch.testing.assert_close(
        seen["season"].double(), batch.time[:, 0] / DAYS_PER_YEAR % 1, rtol=0, atol=1e-6
    )


def test_errors_have_the_size_of_those_on_unseen_days(problem) -> None:
    errors = problem.draw(400, seed=2)
    archive = problem.archive(errors)
    larger = problem.draw(300, seed=3) * torch.tensor([1.5, 0.8])[:, None, None]
    validation = problem.archive(larger, seed=8)
    guess = score_mean(problem, validation, sigma=90.0)
    guess.fit(archive)
    assert guess.inflation.tolist() == pytest.approx([1.5, 0.8], rel=0.05)
    expected = problem.variance * torch.tensor([1.5, 0.8])[:, None, None] ** 2
    torch.testing.assert_close(guess.variance, expected, rtol=0.35, atol=0.02)
    # Errors keep their shape: only their size is another.
    found = archive.fields - guess.archive.background
    ratio = found[:, :, 0] / errors[:, :, 0].float()
    assert float(ratio.median()) == pytest.approx(1.5, rel=0.05)


def test_compares_with_archive_days_of_the_same_season(problem) -> None:
    archive = problem.archive(problem.draw(400, seed=2))
    time = archive.time.clone()
    time[200:] += DAYS_PER_YEAR / 2
    other = archive.fields.clone()
    other[200:] += 5.0 * problem.draw(200, seed=4).float()
    archive = replace(archive, fields=other, time=time)
    validation = problem.archive(problem.draw(300, seed=3), seed=8)
    guess = score_mean(problem, validation, sigma=90.0)
    guess.fit(archive)
    assert guess.inflation.tolist() == pytest.approx([1.0, 1.0], rel=0.05)


def test_missing_fields_do_not_count(problem) -> None:
    errors = problem.draw(300, seed=3)
    validation = problem.archive(errors, seed=8)
    known = torch.ones_like(validation.fields, dtype=torch.bool)
    known[:, :, :, ::2] = False
    spoiled = torch.where(known, validation.fields, 50.0)
    guess = score_mean(problem, replace(validation, fields=spoiled, known=known), sigma=90.0)
    guess.fit(problem.archive(problem.draw(400, seed=2)))
    assert guess.inflation.tolist() == pytest.approx([1.0, 1.0], rel=0.08)


class Network(nn.Module):
    """Gives a share of the condition and counts how often it was asked."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, z: Tensor, log_sigma: Tensor, condition: Tensor, season: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * condition + 0 * z


def networks(problem, validation, factor: float = 0.5, sigma: float = 8.0) -> ScoreMean:
    space = linear_space(problem)
    denoiser = KarrasDenoiser(Network(factor), VESchedule())
    return ScoreMean(space, denoiser, problem.grid, 3, validation, sigma=sigma)


def test_equal_networks_forecast_the_same_days_once(
    problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_kept", LastResult())
    archive = problem.archive(problem.draw(40, seed=2))
    validation = problem.archive(problem.draw(30, seed=3), seed=8)
    first, second = networks(problem, validation), networks(problem, validation)
    first.fit(archive)
    assert first.denoiser.backbone.calls > 0
    second.fit(archive)
    assert second.denoiser.backbone.calls == 0
    assert torch.equal(first.archive.background, second.archive.background)
    assert torch.equal(first.inflation, second.inflation)


@pytest.mark.parametrize(
    "what", ["weights", "sigma", "archive", "validation", "decoder", "time", "known"]
)
def test_whatever_changes_a_forecast_makes_it_again(
    problem, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(module, "_kept", LastResult())
    archive = problem.archive(problem.draw(40, seed=2))
    validation = problem.archive(problem.draw(30, seed=3), seed=8)
    networks(problem, validation).fit(archive)
    if what == "archive":
        archive = problem.archive(problem.draw(40, seed=2), seed=4)
    if what == "validation":
        validation = problem.archive(problem.draw(30, seed=3), seed=5)
    if what == "time":
        archive = replace(archive, time=archive.time + 40)
    if what == "known":
        known = torch.ones_like(archive.background, dtype=torch.bool)
        known[:, :, :, ::2] = False
        archive = replace(archive, background_known=known)
    factor, sigma = 0.6 if what == "weights" else 0.5, 9.0 if what == "sigma" else 8.0
    guess, fresh = (networks(problem, validation, factor, sigma) for _ in range(2))
    for one in (guess, fresh):
        one.space.decoder.turn.mul_(2.0 if what == "decoder" else 1.0)
    guess.fit(archive)
    assert guess.denoiser.backbone.calls > 0
    module._kept.clear()
    fresh.fit(archive)
    assert torch.equal(guess.archive.background, fresh.archive.background)


def test_a_large_archive_is_forecast_anew(problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_kept", LastResult())
    monkeypatch.setattr(module, "_MOST_KEPT", 10)
    archive = problem.archive(problem.draw(40, seed=2))
    networks(problem, archive).fit(archive)
    assert not module._kept
