"""A network that knows its training days by a known amount, and errors as large as on new days."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.denoising_archive import DenoisingArchive
from slams.assimilators.unseen_errors import error_scale, interpolated, measured_levels
from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule
from slams.diffusion.sampling import noise_levels
from slams.diffusion.settings import SamplerSettings
from slams.nn.latent_space import IdentitySpace
from slams.stages.methods import error_scales
from tests.assimilators.latent_gaussian import assimilator
from tests.assimilators.problems import LinearGaussian, linear_gaussian

LEVELS = noise_levels(SamplerSettings(steps=8, sigma_max=10.0, sigma_min=0.1))


@pytest.fixture
def problem() -> LinearGaussian:
    return linear_gaussian()


class Overfitted(Denoiser):
    """Leaves an error of a known size: of days it knows, a share of that of new ones.

    The error is that of the noised state, shrunk; the share depends on noise level and channel.
    """

    schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.known = known

    def share(self, sigma: Tensor, channels: int) -> Tensor:
        channel = torch.linspace(0.0, 0.2, channels)
        return (1 - 0.1 * torch.log(1 + sigma) - channel).clamp(min=0.2)

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        _, sigma = self.schedule(t)
        nearest = torch.cdist(x_t.flatten(1), self.known.flatten(1))
        closest = nearest.argmin(dim=1)
        truth = self.known[closest]
        # A state is known where the network saw it: no noise of these levels hides it here.
        seen = (condition["season"] < 0.5)[:, None, None, None, None]
        noise = x_t - truth
        factor = torch.where(
            seen, self.share(sigma, x_t.shape[2]).reshape(-1, 1, 1), torch.ones(())
        )
        return DiracPosterior(mean=truth + 0.5 * factor * noise)


def archive_at(archive: Archive, year_share: float) -> Archive:
    """Put all days of an archive into one part of the year."""
    time = torch.full_like(archive.time, 365.2425 * (10 + year_share))
    time = time + torch.arange(len(time), dtype=time.dtype)[:, None] * 365.2425
    return Archive(archive.fields, archive.background, time)


def test_the_scale_is_what_the_network_knows_too_well(problem: LinearGaussian) -> None:
    """Seen days have the share of the error that `Overfitted` gives them, new days all of it."""
    train = archive_at(problem.archive(problem.draw(60, seed=3)), 0.4)
    new = archive_at(problem.archive(problem.draw(40, seed=4)), 0.6)
    channels = train.fields.shape[2]
    space = IdentitySpace(torch.zeros(channels), torch.ones(channels))

    denoiser = Overfitted(torch.cat([train.fields, new.fields]))
    days = DenoisingArchive(train, space, problem.normaliser.sd, LEVELS, 60, 0)
    unseen = DenoisingArchive(new, space, problem.normaliser.sd, LEVELS, 40, 0, unseen=True)
    operators = tuple(o.operator for o in problem.batch(1).observations)
    scale = days.scale(denoiser, False, unseen)
    assert scale.shape == (len(LEVELS), channels)
    at = measured_levels(len(LEVELS))
    expected = torch.stack([1 / denoiser.share(LEVELS[level], channels) for level in at])
    # Errors of 40 days and hundreds of points: their size is known to 2 %.
    torch.testing.assert_close(scale[at].float(), expected, rtol=0.08, atol=0)
    assert scale[0].mean() > 1.2
    # Applied, each channel of the errors is as much larger, and what is seen through H follows.
    plain = days.errors(denoiser, operators, False)
    twice = torch.full_like(scale, 2.0)
    for level, (a, b, c) in enumerate(
        zip(
            plain,
            days.errors(denoiser, operators, False, scale),
            days.errors(denoiser, operators, False, twice),
            strict=True,
        )
    ):
        factor = scale[level].float().repeat(train.fields.shape[1])[:, None]
        torch.testing.assert_close(b.latent, factor * a.latent, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(c.observed, 2 * a.observed, rtol=1e-3, atol=1e-4)


def test_a_scale_of_one_changes_nothing(problem: LinearGaussian) -> None:
    archive = problem.archive(problem.draw(40, seed=3))
    channels = archive.fields.shape[2]
    space = IdentitySpace(torch.zeros(channels), torch.ones(channels))

    class Shrink(Denoiser):
        schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)

        def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
            return DiracPosterior(mean=0.5 * x_t)

    days = DenoisingArchive(archive, space, problem.normaliser.sd, LEVELS, 40, 0)
    operators = tuple(o.operator for o in problem.batch(1).observations)
    ones = torch.ones(len(LEVELS), channels)
    plain, scaled = (days.errors(Shrink(), operators, False, s) for s in (None, ones))
    for a, b in zip(plain, scaled, strict=True):
        torch.testing.assert_close(a.latent, b.latent, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.observed, b.observed, rtol=1e-4, atol=1e-5)


def test_only_days_of_the_same_season_are_compared() -> None:
    """Winter's errors are twice as large: days of summer must not be held against them."""
    time = 10 * torch.arange(360, dtype=torch.float64)
    winter = ((time % 365.2425) < 90)[:, None]
    seen = torch.where(winter, 4.0, 1.0).double().expand(-1, 2)
    unseen_time = 4000 + 365.2425 / 2 + torch.arange(10, dtype=torch.float64)
    found = error_scale(seen, time, torch.full((10, 2), 1.44).double(), unseen_time)
    torch.testing.assert_close(found, torch.full((2,), 1.2).double())


def test_scales_are_linear_in_the_logarithm_of_the_level() -> None:
    levels = torch.tensor([100.0, 10.0, 1.0, 0.1])
    measured = torch.tensor([[1.6, 1.0], [1.0, 4.0]])
    found = interpolated(measured, [0, 3], levels)
    expected = torch.tensor([[1.6, 1.0], [1.4, 2.0], [1.2, 3.0], [1.0, 4.0]])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(interpolated(measured[:1], [0], levels[:1]), measured[:1])
    assert measured_levels(1) == [0]
    assert measured_levels(16)[0] == 0
    assert measured_levels(16)[-1] == 15


def test_an_exact_denoiser_knows_no_day_better(problem: LinearGaussian) -> None:
    """The scale is one but for chance, it reaches the method, and the run's record has it."""
    method = assimilator(problem, archive=400, steps=8).method
    assert method.error_scale is None
    method.unseen = lambda: problem.archive(problem.draw(200, 9))
    method.analyse(problem.batch(1), 2)
    assert method.error_scale is not None
    assert method.error_scale.shape[0] == 8
    assert float(method.error_scale.mean()) == pytest.approx(1, abs=0.05)
    found = error_scales([method])["latent_diffusion"]
    assert len(found) == 8
    first = next(iter(found.values()))
    assert first == pytest.approx(float(method.error_scale[0].mean()), abs=1e-4)
    assert error_scales([assimilator(problem, archive=400, steps=8).method]) == {}
