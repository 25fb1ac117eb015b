"""Backgrounds that persist from imperfect analyses have the moments that are promised."""

from __future__ import annotations

import pytest
import torch

from slams.assimilators.base import Archive
from slams.assimilators.degraded_backgrounds import degrade

DAMPING = 0.6


@pytest.fixture(scope="module")
def archive() -> Archive:
    """Independent days: the window is the state itself, its background a damped copy of it."""
    fields = torch.randn(1500, 1, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    time = 9000.0 + torch.arange(1500, dtype=torch.float64)[:, None]
    return Archive(fields, DAMPING * fields, time)


@pytest.mark.parametrize("variance", [0.2, 0.5])
def test_the_state_that_persists_is_an_analysis_with_that_error(
    archive: Archive, variance: float
) -> None:
    x, x_a = archive.fields, degrade(archive, variance).background / DAMPING
    assert float((x - x_a).var()) == pytest.approx(variance, abs=0.02)
    assert float(x_a.var()) == pytest.approx(1 - variance, abs=0.02)
    # The error cannot be known from the analysis: regression of the truth on it is one.
    assert float((x * x_a).mean() / x_a.square().mean()) == pytest.approx(1.0, abs=0.02)


def test_the_other_day_is_of_the_same_season(archive: Archive) -> None:
    """Backgrounds that hold nothing but the day of year come back as a mixture of that day."""
    season = torch.cos(2 * torch.pi * archive.time / 365.0)[..., None, None, None].float()
    seasonal = Archive(archive.fields, season.expand_as(archive.fields).clone(), archive.time)
    weight = 0.7 + (0.3 * 0.7) ** 0.5
    torch.testing.assert_close(
        degrade(seasonal, 0.3).background, weight * seasonal.background, rtol=1e-4, atol=1e-4
    )


def test_without_error_nothing_changes(archive: Archive) -> None:
    assert degrade(archive, 0.0) is archive


def test_an_archive_of_less_than_a_year_takes_its_furthest_days(archive: Archive) -> None:
    short = Archive(archive.fields[:50], archive.background[:50], archive.time[:50])
    mixed = degrade(short, 0.5).background
    torch.testing.assert_close(mixed[0], 0.5 * short.background[0] + 0.5 * short.background[49])
