"""A denoised archive is taken again for the next setting, and only when nothing has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slams.assimilators.background_residual import BackgroundResidual
from slams.assimilators.base import Archive
from slams.assimilators.denoising_archive import DenoisingArchive
from slams.assimilators.field_text import describe_fields
from slams.diffusion.backend import KarrasDenoiser, VESchedule
from slams.fields import ObservationOperator
from slams.nn.latent_space import IdentitySpace
from slams.runtime.kept_tensors import KeptTensors, MemoryTensors, TensorFiles
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
    problem: LinearGaussian,
    archive: Archive,
    kept: KeptTensors,
    seed: int = 0,
    days: int = 40,
    low: float = 0.3,
    offset: float = 0.0,
) -> DenoisingArchive:
    channels = archive.fields.shape[2]
    space = IdentitySpace(torch.full((channels,), offset), torch.ones(channels))
    levels = torch.tensor([3.0, low])
    sd = problem.normaliser.sd
    return DenoisingArchive(archive, space, sd, levels, days, seed, kept=kept)


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


@pytest.mark.parametrize(
    "what", ["weights", "seed", "condition", "archive", "background", "days", "levels", "encoder"]
)
def test_whatever_changes_the_result_denoises_again(
    problem: LinearGaussian, kept: MemoryTensors, what: str
) -> None:
    archive, seen = problem.archive(problem.draw(60, seed=3)), operators(problem)
    archive_of(problem, archive, kept).errors(denoiser(0.5), seen, True)
    other = denoiser(0.6 if what == "weights" else 0.5)
    if what == "archive":
        archive = problem.archive(problem.draw(60, seed=4))
    if what == "background":
        archive = replace(archive, background=archive.background.flip(0))
    settings: dict[str, Any] = {
        "seed": {"seed": 1},
        "days": {"days": 39},
        "levels": {"low": 0.2},
        "encoder": {"offset": 0.5},
    }.get(what, {})
    fitted = archive_of(problem, archive, kept, **settings)
    found = fitted.errors(other, seen, what != "condition")
    assert other.backbone.calls == 4
    again = archive_of(problem, archive, MemoryTensors(), **settings)
    fresh = again.errors(other, seen, what != "condition")
    assert all(torch.equal(a.latent, b.latent) for a, b in zip(found, fresh, strict=True))


def test_another_offset_of_the_decoder_is_observed_again(
    problem: LinearGaussian, kept: MemoryTensors
) -> None:
    """The errors in latent space stay; those at observed points, and the decoder's, do not."""
    archive, seen = problem.archive(problem.draw(60, seed=3)), operators(problem)
    days, network = archive_of(problem, archive, kept), denoiser(0.5)
    lost = BackgroundResidual(days.space, problem.grid, 40)
    drawn = torch.randn(archive.background.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for share in (None, 0.0, 1.0):
        lost.share = None if share is None else torch.full((2,), share)
        lost.of_days = lambda _, at: lost.share[:, None, None] * drawn[at]  # type: ignore[method-assign]
        given = None if share is None else lost
        errors = days.errors(network, seen, True, lost=given)
        found.append((errors[0].observed, days.decoder_variance(seen, given)))
    assert network.backbone.calls == 4
    for plain, none, other in zip(*found, strict=True):
        torch.testing.assert_close(none, plain)
        assert not torch.allclose(other, none, atol=0.1)


def test_another_process_neither_denoises_nor_decodes(
    problem: LinearGaussian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only files are in common; with another network of stations it decodes, and denoises not."""
    archive, unseen = (problem.archive(problem.draw(60, seed)) for seed in (3, 4))
    seen, found, decoded = operators(problem), [], []
    monkeypatch.setattr(
        IdentitySpace, "decode", lambda self, z: decoded.append(len(z)) or z * self.sd + self.mean
    )
    calls = []
    for network in (seen, seen, seen[:1]):
        other, before = denoiser(0.5), len(decoded)
        days = archive_of(problem, archive, TensorFiles(tmp_path))
        new = archive_of(problem, unseen, TensorFiles(tmp_path))
        scale = days.scale(other, True, new)
        errors = days.errors(other, network, True, scale)
        found.append((scale, days.decoder_variance(network), *(e.observed for e in errors)))
        calls.append((other.backbone.calls, len(decoded) > before))
    assert calls == [(8, True), (0, False), (0, True)]
    for a, b in zip(found[0], found[1], strict=True):
        assert torch.equal(a, b)
    assert found[2][-1].shape[1] < found[0][-1].shape[1]


def test_fields_of_another_machine_are_recognised(problem: LinearGaussian) -> None:
    """They differ in the last digit; those of another day differ in the first."""
    fields = problem.draw(60, seed=3).float()
    known = torch.rand(fields.shape, generator=torch.Generator().manual_seed(0)) > 0.1
    text = describe_fields(fields, known)
    assert describe_fields(fields * (1 + 1e-7), known) == text
    one = fields.clone()
    one[7] = fields[8]
    hidden = known.clone()
    hidden[7] = known[8]
    others = [(one, known), (fields, hidden), (fields, None), (fields[:59], known[:59])]
    assert len({text, *(describe_fields(*other) for other in others)}) == 5


def test_a_large_archive_is_not_kept(problem: LinearGaussian) -> None:
    kept = MemoryTensors(most=10)
    archive, seen = problem.archive(problem.draw(60, seed=3)), operators(problem)
    archive_of(problem, archive, kept).errors(denoiser(0.5), seen, True)
    assert not kept
