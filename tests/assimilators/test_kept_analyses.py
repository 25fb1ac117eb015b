"""Analyses that were made before, read as a method of the comparison."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from slams.assimilators.kept_analyses import KeptAnalyses
from slams.assimilators.materials import KeptDay
from slams.calendar.days import day_of
from slams.errors import UserError
from slams.stages.limit_files import CycleFiles, DayScores, read_day
from tests.assimilators.problems import DATE, linear_gaussian

MEMBERS = 10


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


@pytest.fixture(scope="module")
def batch(problem):
    return problem.batch(seed=3)


@pytest.fixture
def day(problem, batch) -> KeptDay:
    """Return members around the climatology, physical."""
    generator = torch.Generator().manual_seed(1)
    sd = problem.normaliser.sd
    noise = torch.randn(MEMBERS, *sd.shape, generator=generator)
    members = (batch.climatology[0, 0] + sd * noise).float()
    channels = [channel.name for channel in problem.normaliser.channels]
    return KeptDay(members, channels, problem.grid.fingerprint, 0)


def method(problem, directory: Path, seed: int = 0) -> KeptAnalyses:
    read = partial(read_day, directory)
    kept = KeptAnalyses(problem.normaliser, problem.grid, seed, read=read)
    kept.fit(problem.archive(problem.draw(2, seed=0)))
    return kept


def write(day: KeptDay, directory: Path) -> Path:
    files = CycleFiles.open(directory, {"of": "a test"}, "auto")
    files.finish(str(day_of(DATE)), day, DayScores([], [], []))
    (path,) = (directory / "analyses").glob("*.pt")
    return path


def test_the_members_are_some_of_the_kept_ones_and_their_mean_is_that_of_all(
    problem, batch, day, tmp_path
) -> None:
    write(day, tmp_path)
    found = method(problem, tmp_path).analyse(batch, 4)
    assert found.centred
    members = found.members[0, :, 0].float()
    assert members.shape == (4, *day.members.shape[1:])
    mean = day.members.mean(dim=0)
    torch.testing.assert_close(members.mean(dim=0), mean, rtol=0, atol=1e-3)
    # Each is a kept one, shifted by the same field.
    shifts = members[:, None] - day.members[None]
    same = (shifts[:, :, None] - shifts[0][None, None]).abs().amax(dim=(-3, -2, -1)) < 1e-2
    assert int(same.any(dim=1).all(dim=0).sum()) == 1
    every = method(problem, tmp_path).analyse(batch, MEMBERS).members[0, :, 0].float()
    torch.testing.assert_close(
        every.sort(dim=0).values, day.members.sort(dim=0).values, rtol=0, atol=1e-3
    )


def test_channels_are_found_by_name(problem, batch, day, tmp_path) -> None:
    write(day, tmp_path)
    one = method(problem, tmp_path).analyse(batch, 3).members
    turned = replace(day, members=day.members.flip(1), channels=day.channels[::-1])
    write(turned, tmp_path)
    torch.testing.assert_close(method(problem, tmp_path).analyse(batch, 3).members, one)


def test_neither_truth_nor_observations_are_read(problem, batch, day, tmp_path) -> None:
    write(day, tmp_path)
    blind = replace(
        batch, fields=batch.fields * torch.nan, background=None, observations=(), held_out=()
    )
    one, two = (method(problem, tmp_path).analyse(b, 3).members for b in (batch, blind))
    assert torch.equal(one, two)


def test_what_does_not_fit_is_refused(problem, batch, day, tmp_path) -> None:
    with pytest.raises(UserError, match=r"letkf_perfect_model\.analyses'.*none.*`slams limit`"):
        method(problem, tmp_path).analyse(batch, 3)
    path = write(day, tmp_path)
    later = replace(batch, time=batch.time + 1)
    name = day_of(DATE)
    with pytest.raises(UserError, match=f"those of {name} to {name}, expected .* of 1994-08-24"):
        method(problem, tmp_path).analyse(later, 3)
    with pytest.raises(UserError, match="found seed 0, expected those of the recipe"):
        method(problem, tmp_path, seed=5).analyse(batch, 3)
    write(replace(day, grid="0" * 16), tmp_path)
    with pytest.raises(UserError, match="found the grid 0000"):
        method(problem, tmp_path).analyse(batch, 3)
    write(replace(day, channels=["2m_temperature", "surface_pressure"]), tmp_path)
    with pytest.raises(UserError, match="without outgoing_longwave_radiation, expected"):
        method(problem, tmp_path).analyse(batch, 3)
    write(day, tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"\.pt is damaged"):
        method(problem, tmp_path).analyse(batch, 3)


def test_windows_of_several_days_are_refused(day, tmp_path) -> None:
    problem = linear_gaussian(days=2)
    write(day, tmp_path)
    with pytest.raises(UserError, match="windows of 2 days, expected one day"):
        method(problem, tmp_path).analyse(problem.batch(seed=3), 3)
