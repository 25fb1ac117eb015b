"""A denoised archive is taken again for the next setting, and only when nothing has changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slams.assimilators.base import Archive
from slams.assimilators.denoising_archive import DenoisingArchive
from slams.diffusion.backend import KarrasDenoiser, VESchedule
from slams.fields import ObservationOperator
from slams.nn.latent_space import IdentitySpace
from slams.runtime.kept_tensors import KeptTensors, MemoryTensors
from tests.assimilators.problems import LinearGaussian, linear_gaussian


class Network(nn.Module):
    """Scales its input and counts how often it was asked."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, z: Tensor, log_sigma: Tensor, **inputs: Tensor) -> Tensor:
        self.calls += 1
        condition = inputs.get("condition")
        return self.factor * z + (0 if condition is None else 0.1 * condition)


@pytest.fixture
def problem() -> LinearGaussian:
    return linear_gaussian()


@pytest.fixture
def kept() -> MemoryTensors:
    return MemoryTensors()


def archive_of(
    problem: LinearGaussian, archive: Archive, kept: KeptTensors, seed: int = 0
) -> DenoisingArchive:
    channels = archive.fields.shape[2]
    space = IdentitySpace(torch.zeros(channels), torch.ones(channels))
    levels = torch.tensor([3.0, 0.3])
    sd = problem.normaliser.sd
    return DenoisingArchive(archive, space, sd, levels, 40, seed, kept=kept)


def denoiser(factor: float) -> KarrasDenoiser:
    return KarrasDenoiser(Network(factor), VESchedule())


def operators(problem: LinearGaussian) -> tuple[ObservationOperator, ...]:
    return tuple(o.operator for o in problem.batch(1).observations)


def test_equal_networks_denoise_an_archive_once(
    problem: LinearGaussian, kept: MemoryTensors
) -> None:
    archive, seen = problem.archive(problem.draw(60, seed=3)), operators(problem)
    first, second = denoiser(0.5), denoiser(0.5)
    one = archive_of(problem, archive, kept).errors(first, seen, True)
    assert first.backbone.calls == 4  # two levels, two chunks
    # Another part of the network of stations asks for nothing of the denoiser.
    two = archive_of(problem, archive, kept).errors(second, seen[:1], True)
    assert second.backbone.calls == 0
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.latent, b.latent)
        torch.testing.assert_close(a.observed[:, : b.observed.shape[1]], b.observed)


@pytest.mark.parametrize("what", ["weights", "seed", "condition", "archive"])
def test_whatever_changes_the_result_denoises_again(
    problem: LinearGaussian, kept: MemoryTensors, what: str
) -> None:
    archive, seen = problem.archive(problem.draw(60, seed=3)), operators(problem)
    archive_of(problem, archive, kept).errors(denoiser(0.5), seen, True)
    other = denoiser(0.6 if what == "weights" else 0.5)
    if what == "archive":
        archive = problem.archive(problem.draw(60, seed=4))
    fitted = archive_of(problem, archive, kept, seed=1 if what == "seed" else 0)
    found = fitted.errors(other, seen, what != "condition")
    assert other.backbone.calls == 4
    again = archive_of(problem, archive, MemoryTensors(), seed=1 if what == "seed" else 0)
    fresh = again.errors(other, seen, what != "condition")
    assert all(torch.equal(a.latent, b.latent) for a, b in zip(found, fresh, strict=True))


def test_a_large_archive_is_not_kept(problem: LinearGaussian) -> None:
    kept = MemoryTensors(most=10)
    archive, seen = problem.archive(problem.draw(60, seed=3)), operators(problem)
    archive_of(problem, archive, kept).errors(denoiser(0.5), seen, True)
    assert not kept
