"""The gain: dense linear algebra where a domain sees everything, and what differs elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from slams.linalg.archive_gain import ArchiveGain
from slams.linalg.domains import Domains
from slams.linalg.gain import Gain
from slams.linalg.selection import ObservedPoints
from tests.assimilators.problems import localisation_matrix, small_grid

F64 = torch.float64
GRID = small_grid(10, 20)


class Problem:
    """Anomalies with correlations in space, observed at random points with error."""

    def __init__(self, count: int, days: int = 40, silent: int = 0, half_width: float = 3000.0):
        draw = torch.Generator().manual_seed(count)
        latitude = torch.rad2deg(torch.asin(2 * torch.rand(count, generator=draw, dtype=F64) - 1))
        longitude = 360 * torch.rand(count, generator=draw, dtype=F64)
        places = torch.cat([GRID.points[0], latitude]), torch.cat([GRID.points[1], longitude])
        away = GRID.distance(*places, *places)
        root = torch.linalg.cholesky(torch.exp(-away / 2000) + 1e-6 * torch.eye(len(away)))
        fields = torch.randn(days, 3, len(away), generator=draw, dtype=F64) @ root.T
        fields = fields - fields.mean(dim=0)
        self.anomalies, self.images = fields[..., :200], fields[:, 0, 200:]
        self.variance = 0.1 + torch.rand(count, generator=draw, dtype=F64)
        self.innovations = torch.randn(5, count, generator=draw, dtype=F64)
        kind = torch.arange(count) % 2
        quiet = torch.randperm(count, generator=draw) < silent
        self.observed = ObservedPoints(latitude, longitude, kind, quiet)
        self.half_width = half_width

    def gain(
        self, domains: Domains | None = None, limit: float = math.inf, kind: type[Gain] = Gain
    ) -> Gain:
        domains = Domains.whole(200) if domains is None else domains
        return kind(domains, GRID.points, self.half_width, self.observed, limit)

    def increments(self, gain: Gain) -> Tensor:
        weights = gain.solve(self.images, self.variance, self.innovations)
        return gain.increments(self.anomalies, self.images, weights)

    def localisation(self) -> tuple[Tensor, Tensor]:
        there = self.observed.latitude, self.observed.longitude
        return tuple(
            localisation_matrix(GRID, here, there, self.half_width, F64)
            for here in (GRID.points, there)
        )


@pytest.mark.parametrize("half_width", [3000.0, math.inf])
def test_one_domain_is_dense_linear_algebra(half_width: float) -> None:
    problem = Problem(30, half_width=half_width)
    between, among = problem.localisation()
    y, z = problem.images, problem.anomalies
    cross = torch.einsum("nkg,np->kgp", z, y) / 39 * between
    s = among * (y.T @ y) / 39 + torch.diag(problem.variance)
    expected = torch.einsum("kgp,pq,jq->jkg", cross, torch.linalg.inv(s), problem.innovations)
    # The taper is rounded to float32.
    torch.testing.assert_close(problem.increments(problem.gain()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("half_width", [3000.0, math.inf])
def test_one_increment_alone_is_the_same(half_width: float) -> None:
    """There are three fields: fewer increments are computed in another order."""
    problem = Problem(60, half_width=half_width)
    gain = problem.gain(Domains.cover(GRID, 4000.0))
    together = problem.increments(gain)
    problem.innovations = problem.innovations[:1]
    torch.testing.assert_close(problem.increments(gain), together[:1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("silent", [0, 8])
def test_domains_that_see_everything_give_the_same_as_one(silent: int) -> None:
    problem = Problem(40, silent=silent, half_width=math.inf)
    several = problem.gain(Domains.cover(GRID, 4000.0))
    assert len(several.domains) > 20
    expected = problem.increments(problem.gain())
    torch.testing.assert_close(problem.increments(several), expected, rtol=0, atol=1e-7)


def test_domains_neglect_little_where_they_see_what_is_near() -> None:
    problem = Problem(600, half_width=1500.0)
    dense = problem.increments(problem.gain())
    away = problem.increments(problem.gain(Domains.cover(GRID, 2000.0))) - dense
    assert float(away.std() / dense.std()) < 0.02


def test_the_nearest_of_each_kind_are_selected_in_turn() -> None:
    problem = Problem(300, half_width=math.inf)
    # Kind 1 has a tenth of the observations, and keeps its half of the places.
    kind = (torch.arange(300) % 10 == 0).long()
    problem.observed = replace(problem.observed, kind=kind)
    domains = Domains.cover(GRID, 4000.0)
    gain = problem.gain(domains, limit=20)
    assert gain.index.shape == (len(domains), 20)
    assert bool(gain.used.all())
    assert bool((kind[gain.index].sum(dim=1) == 10).all())
    chosen = kind[gain.index] == 1
    away = torch.from_numpy(
        GRID.distance(
            torch.rad2deg(torch.asin(domains.centres[:, 2])),
            torch.rad2deg(torch.atan2(domains.centres[:, 1], domains.centres[:, 0])),
            problem.observed.latitude,
            problem.observed.longitude,
        ).numpy()
    )
    for row in range(len(domains)):
        taken = gain.index[row][chosen[row]]
        left = torch.tensor([i for i in range(0, 300, 10) if i not in taken.tolist()])
        assert float(away[row, taken].max()) < float(away[row, left].min())


def test_silent_observations_are_at_most_a_tenth_of_a_selection() -> None:
    problem = Problem(300, silent=200, half_width=math.inf)
    gain = problem.gain(Domains.cover(GRID, 4000.0), limit=30)
    silent = problem.observed.silent[gain.index] & gain.used
    # Of both kinds together; the rest is for those that are not silent.
    assert bool((silent.sum(dim=1) == 2).all())
    assert bool(((gain.used & ~silent).sum(dim=1) == 28).all())


def test_padding_has_no_effect() -> None:
    """Domains with few observations in reach stand beside domains with many."""
    problem = Problem(60, silent=10, half_width=1200.0)
    problem.observed = replace(problem.observed, latitude=problem.observed.latitude.abs())
    gain = problem.gain(Domains.cover(GRID, 3000.0))
    assert not bool(gain.used.all())
    assert not bool(gain.used[-3:].any())
    together = problem.increments(gain)
    assert bool(torch.isfinite(together).all())
    south = torch.arange(200).reshape(10, 20)[-1]
    assert float(together[..., south].abs().max()) == 0


@pytest.mark.parametrize("kind", [Gain, ArchiveGain])
def test_a_domain_does_not_depend_on_what_others_use(kind: type[Gain]) -> None:
    """Domains with fewer observations, or fewer silent ones, are padded to the size of others."""
    problem = Problem(80, silent=20 if kind is Gain else 0, half_width=1500.0)
    domains = Domains.cover(GRID, 3000.0)
    together = problem.gain(domains, kind=kind)
    count = together.used.sum(dim=1)
    assert int(count.min()) < int(count.max()) // 2
    alone = [problem.gain(domains.part(k, len(domains)), kind=kind) for k in range(len(domains))]
    total = sum(problem.increments(gain) for gain in alone)
    torch.testing.assert_close(problem.increments(together), total, rtol=0, atol=1e-9)


def test_equivalent_observations_agree_with_those_of_one_domain() -> None:
    problem = Problem(40, silent=12, half_width=math.inf)
    arguments = problem.images, problem.innovations[0], problem.variance
    expected = problem.gain().equivalent(*arguments)
    found = problem.gain(Domains.cover(GRID, 5000.0)).equivalent(*arguments)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-6)
    heard = ~problem.observed.silent
    assert torch.equal(found[0][heard], problem.innovations[0][heard])


def test_a_silent_observation_that_no_domain_selects_says_nothing() -> None:
    problem = Problem(300, silent=200, half_width=math.inf)
    gain = problem.gain(Domains.cover(GRID, 8000.0), limit=30)
    _, variance = gain.equivalent(problem.images, problem.innovations[0], problem.variance)
    left = problem.observed.silent.clone()
    left[gain.index[gain.used]] = False
    assert bool(left.any())
    assert float(variance[left].min()) > 1e10


@pytest.mark.parametrize("domains", [None, Domains.cover(GRID, 5000.0)])
def test_the_space_of_the_archive_gives_the_same_without_localisation(
    domains: Domains | None,
) -> None:
    problem = Problem(70, half_width=math.inf)
    expected = problem.increments(problem.gain())
    found = problem.increments(problem.gain(domains, kind=ArchiveGain))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_the_space_of_the_archive_takes_observations_without_error() -> None:
    """An exact observation is fitted, as in the space of the observations."""
    problem = Problem(12, half_width=math.inf)
    problem.variance[0] = 0.0
    expected = problem.increments(problem.gain())
    found = problem.increments(problem.gain(kind=ArchiveGain))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_space_of_the_archive_enlarges_errors_with_the_distance_from_the_centre() -> None:
    problem = Problem(30)
    pole = torch.tensor([90.0], dtype=F64), torch.tensor([0.0], dtype=F64)
    there = problem.observed.latitude, problem.observed.longitude
    precision = localisation_matrix(GRID, pole, there, 3000.0, F64)[0] / problem.variance
    y = problem.images
    system = 39 * torch.eye(40) + (y * precision) @ y.T
    days = torch.linalg.solve(system, (y * precision) @ problem.innovations.T)
    expected = torch.einsum("nkg,nj->jkg", problem.anomalies, days)
    found = problem.increments(problem.gain(kind=ArchiveGain))  # its centre is the pole
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_space_of_the_archive_leaves_out_what_is_beyond_reach() -> None:
    problem = Problem(60, half_width=1200.0)
    north = problem.observed.latitude.abs()
    problem.observed = replace(problem.observed, latitude=north)
    found = problem.increments(problem.gain(Domains.cover(GRID, 3000.0), kind=ArchiveGain))
    assert float(found[..., -20:].abs().max()) == 0
    assert float(found[..., :20].abs().min()) > 0


@pytest.mark.parametrize("kind", [Gain, ArchiveGain])
@pytest.mark.parametrize("domains", [None, Domains.cover(GRID, 5000.0)])
def test_inner_products_are_those_of_the_covariance(
    domains: Domains | None, kind: type[Gain]
) -> None:
    problem = Problem(40, half_width=math.inf)
    gain = problem.gain(domains, kind=kind)
    y, d = problem.images, problem.innovations
    one, two = (gain.solve(y, problem.variance, d[k : k + 1]) for k in (0, 1))
    b = y.T @ y / 39
    s = b + torch.diag(problem.variance)
    w = torch.linalg.solve(s, d[:2].T)
    expected = float(w[:, 0] @ b @ w[:, 1])
    assert gain.inner((y, one), (y, two)) == pytest.approx(expected, rel=1e-5)
