from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.assimilators.base import Archive
from slams.assimilators.climatology import Climatology
from slams.errors import UserError
from slams.normalisation import DAYS_PER_YEAR
from tests.assimilators.autoregressive import Autoregressive


@pytest.fixture(scope="module")
def world():
    return Autoregressive(days=2000, amplitude=0.5)


def fitted(world, seed: int = 0) -> Climatology:
    method = Climatology(world.normaliser, world.grid, seed)
    method.fit(world.archive)
    return method


def test_mean_is_the_climatology_and_spread_follows_the_season(world) -> None:
    case = torch.arange(20, 1420, 20)
    batch = world.batch(case)
    ensemble = fitted(world).analyse(batch, 16)
    assert ensemble.members.shape == (70, 16, 1, 1, 4, 8)
    torch.testing.assert_close(ensemble.mean, batch.climatology, rtol=0, atol=1e-3)
    phase = batch.time[:, 0] % DAYS_PER_YEAR
    season = 1 + 0.5 * torch.cos(2 * torch.pi * phase / DAYS_PER_YEAR)
    variance = (ensemble.spread / 2.0).square().mean(dim=(1, 2, 3, 4))
    strong, weak = season > 1.35, season < 0.65
    for which in (strong, weak):
        expected = float(season[which].square().mean())
        assert float(variance[which].mean()) == pytest.approx(expected, rel=0.2)
    error = (world.normaliser.denormalise(batch.fields, batch.climatology) - ensemble.mean) / 2.0
    assert float(variance.mean() / error.square().mean()) == pytest.approx(1.0, rel=0.1)


def test_moves_with_a_recentred_climatology(world) -> None:
    batch = world.batch(torch.tensor([3]))
    moved = replace(batch, climatology=batch.climatology + 1.5)
    one, two = (fitted(world).analyse(b, 5).members for b in (batch, moved))
    torch.testing.assert_close(two, one + 1.5, rtol=0, atol=1e-4)


def test_members_do_not_depend_on_the_batch_but_on_seed_and_case(world) -> None:
    method = fitted(world)
    whole = method.analyse(world.batch(torch.tensor([3, 40, 77])), 6).members
    alone = method.analyse(world.batch(torch.tensor([40])), 6).members
    assert torch.equal(whole[1], alone[0])
    assert not torch.equal(whole[0], whole[1])
    other = fitted(world, seed=1).analyse(world.batch(torch.tensor([40])), 6).members
    assert not torch.equal(other, alone)


def test_never_reads_the_truth(world) -> None:
    batch = world.batch(torch.tensor([3]))
    blind = replace(batch, fields=torch.full_like(batch.fields, torch.nan))
    assert torch.equal(
        fitted(world).analyse(blind, 4).members, fitted(world).analyse(batch, 4).members
    )


def test_refuses_archives_that_cannot_serve(world) -> None:
    method = Climatology(world.normaliser, world.grid, 0)
    with pytest.raises(UserError, match="call fit"):
        method.analyse(world.batch(torch.tensor([3])), 4)
    archive = world.archive
    with pytest.raises(UserError, match="the archive has 0 windows"):
        method.fit(Archive(archive.fields[:0], archive.background[:0], archive.time[:0]))
    fields = archive.fields.clone()
    fields[5, 0, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="NaN or infinite values in 1 of 1998"):
        method.fit(Archive(fields, archive.background, archive.time))
    with pytest.raises(UserError, match="archive background have shape"):
        method.fit(Archive(archive.fields, archive.background[..., :4], archive.time))


def test_refuses_windows_of_another_length_and_no_members(world) -> None:
    batch = world.batch(torch.tensor([3]))
    longer = replace(batch, climatology=batch.climatology.repeat(1, 2, 1, 1, 1))
    with pytest.raises(UserError, match="windows of 2 days, the archive of 1"):
        fitted(world).analyse(longer, 4)
    with pytest.raises(UserError, match="found 0 members"):
        fitted(world).analyse(batch, 0)
