"""Superobservations: error of the mean, operator, background, silence, and what is left alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.errors import UserError
from slams.fields import Batch, Observations
from slams.observations.cells import Cells, equal_area_cells
from slams.observations.departures import observation_counts
from slams.observations.operators.column import ColumnOperator
from slams.observations.satellite import SatelliteOperator
from slams.observations.stations import StationOperator
from slams.observations.superobs import SuperobOperator, Superobs, average
from tests.assimilators.problems import linear_gaussian

# Three stations in one cell of the fixture's grid (rows at 38 and 23, columns 15 degrees apart),
# one alone in another, two in a third across longitude 0.
LATITUDE = torch.tensor([36.0, 39.0, 40.0, 20.0, -21.0, -24.0], dtype=torch.float64)
LONGITUDE = torch.tensor([44.0, 46.0, 48.0, 100.0, 359.0, 3.0], dtype=torch.float64)
CELL = [[0, 1, 2], [3], [4, 5]]


@pytest.fixture
def problem():
    return linear_gaussian()


@pytest.fixture
def stations(grid, channels) -> StationOperator:
    height = torch.linspace(0, 2000, 6, dtype=torch.float64)
    terrain = torch.full(grid.shape, 300.0, dtype=torch.float64)
    return StationOperator(grid, channels, "2m_temperature", LATITUDE, LONGITUDE, height, terrain)


@pytest.fixture
def cells(grid) -> Cells:
    return Cells.of(grid.cell(LATITUDE, LONGITUDE), LATITUDE, LONGITUDE)


def seen(operator, generator, variance=2.0, bound=-math.inf) -> Observations:
    values = 280 + torch.randn(2, 1, len(operator), generator=generator)
    mask = torch.ones_like(values, dtype=torch.bool)
    name = "stations/2m_temperature"
    return Observations(name, operator, values, mask, torch.full_like(values, variance), bound)


def states(generator, *shape: int) -> torch.Tensor:
    return 280 + 5 * torch.randn(*shape, 4, 12, 24, generator=generator)


def without(observations: Observations, *points: int) -> Observations:
    mask, values = observations.mask.clone(), observations.values.clone()
    mask[..., list(points)], values[..., list(points)] = False, torch.nan
    return replace(observations, mask=mask, values=values)


# the operator


def test_cells_of_the_fixture(cells):
    order = [cells.index[points[0]].item() for points in CELL]
    assert sorted(order) == [0, 1, 2]
    assert all(len(set(cells.index[points].tolist())) == 1 for points in CELL)
    assert cells.size[order].tolist() == [3, 1, 2]


@pytest.mark.parametrize("kind", ["stations", "column", "satellite"])
def test_adjoint_offset_and_mean(kind, grid, channels, stations, generator):
    inner = {
        "stations": stations,
        "column": ColumnOperator(grid, channels, "temperature", [850], [1.0], LATITUDE, LONGITUDE),
        "satellite": SatelliteOperator(grid, channels, "outgoing_longwave_radiation", 2),
    }[kind]
    names = equal_area_cells(40.0, inner.latitude, inner.longitude)
    operator = SuperobOperator(inner, Cells.of(names, inner.latitude, inner.longitude))
    assert 1 < len(operator) < len(inner)
    assert (operator.units, operator.variable) == (inner.units, inner.variable)
    u = torch.randn(3, 4, 12, 24, generator=generator, dtype=torch.float64)
    v = torch.randn(3, len(operator), generator=generator, dtype=torch.float64)
    left, right = (operator.linear(u) * v).sum(), (u * operator.adjoint(v)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-12)
    each = inner(u)
    for cell in range(len(operator)):
        expected = each[:, names == names.unique()[cell]].mean(dim=1)
        torch.testing.assert_close(operator(u)[:, cell], expected)
    if kind == "stations":
        torch.testing.assert_close(operator(u), operator.linear(u) + operator.offset)
        assert operator.offset.abs().max() > 0


def test_touches_and_to(stations, cells):
    operator = SuperobOperator(stations, cells)
    points = torch.zeros(4, 12, 24, dtype=torch.bool)
    points.flatten(-2)[1, stations._index[5]] = True  # those of one of two stations of a cell
    assert operator.touches(points).nonzero().flatten().tolist() == [cells.index[5].item()]
    moved = operator.to("meta")
    parts = (moved.latitude, moved.offset, moved.cells.index, moved.inner._weight)
    assert all(part.device.type == "meta" for part in parts)
    assert operator.inner._weight.device.type == operator.cells.size.device.type == "cpu"


# where cells are


def test_mean_position_across_the_date_line_and_at_the_pole():
    latitude = torch.tensor([10.0, 10.0, 89.0, 89.0, 89.0, -90.0], dtype=torch.float64)
    longitude = torch.tensor([179.0, -179.0, 0.0, 120.0, 240.0, 33.0], dtype=torch.float64)
    cells = Cells.of(torch.tensor([0, 0, 1, 1, 1, 2]), latitude, longitude)
    # The middle of a great circle lies poleward of the parallel.
    assert cells.latitude.tolist() == pytest.approx([10.0015, 90, -90], abs=1e-3)
    assert cells.longitude[0].item() == pytest.approx(180)
    assert (cells.latitude[2].item(), cells.longitude[2].item()) == (-90.0, 33.0)
    around = Cells.of(torch.tensor([0, 0]), latitude[:2], torch.tensor([359.0, 1.0]))
    assert min(around.longitude.item(), 360 - around.longitude.item()) < 1e-9
    assert 0 <= around.longitude.item() < 360


def test_one_cell_holds_both_sides_of_the_date_line_and_of_longitude_zero(grid):
    latitude = torch.full((4,), 8.0, dtype=torch.float64)
    there = torch.tensor([179.0, -179.0, 359.0, 1.0], dtype=torch.float64)
    names = grid.cell(latitude, there)
    assert names[0] == names[1] != names[2] == names[3]


@pytest.mark.parametrize("degrees", [0.5, 3.0, 7.0, 30.0, 90.0])
def test_cells_have_about_equal_areas(degrees, generator):
    # A million points spread evenly over the sphere.
    sine = 2 * torch.rand(1_000_000, generator=generator, dtype=torch.float64) - 1
    latitude = torch.rad2deg(torch.asin(sine))
    longitude = 720 * torch.rand(1_000_000, generator=generator, dtype=torch.float64) - 360
    names = equal_area_cells(degrees, latitude, longitude)
    assert torch.equal(names, equal_area_cells(degrees, latitude, longitude + 360))
    number = len(names.unique())
    height = math.radians(degrees)
    # Rows hold whole numbers of cells: 3 instead of 2.5 in each of two rows of 90 degrees.
    assert number == pytest.approx(4 * math.pi / height**2, rel=0.2 if degrees == 90 else 0.08)
    if degrees >= 7:
        counts = names.unique(return_counts=True)[1] * number / 1e6
        assert counts.min() > 0.7
        assert counts.max() < 1.4


# values and errors


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_error_of_the_mean(stations, cells, generator, correlation):
    observations = without(seen(stations, generator, variance=2.0), 1)
    found = average(observations, cells, correlation, states(generator, 2, 1))
    for points, k in zip(CELL, (2, 1, 2), strict=True):
        cell = cells.index[points[0]]
        expected = 2.0 * (correlation + (1 - correlation) / k)
        torch.testing.assert_close(found.error_variance[..., cell], torch.full((2, 1), expected))
        assert found.count[..., cell].tolist() == [[k], [k]]


def test_error_of_the_mean_of_unequal_reports(stations, cells, generator):
    """By the covariance of the reports: `rho s_i s_j` off the diagonal."""
    sd = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.7, 1.1])
    observations = replace(
        seen(stations, generator), error_variance=sd.square().expand(2, 1, 6).contiguous()
    )
    found = average(observations, cells, 0.4, states(generator, 2, 1))
    covariance = 0.4 * sd[:, None] * sd + 0.6 * torch.diag(sd.square())
    for points in CELL:
        expected = covariance[points][:, points].mean()
        torch.testing.assert_close(found.error_variance[0, 0, cells.index[points[0]]], expected)


def test_the_background_does_not_count_where_all_report(stations, cells, generator):
    observations = seen(stations, generator)
    one, other = (average(observations, cells, 0.3, states(generator, 2, 1)) for _ in range(2))
    assert torch.equal(one.values, other.values)
    for points in CELL:
        expected = observations.values[..., points].mean(dim=-1)
        torch.testing.assert_close(one.values[..., cells.index[points[0]]], expected)


def test_departures_are_averaged_where_a_report_is_missing(stations, cells, generator):
    """Exact reports of a state give the state's own value in the cell, if it is the background."""
    state = states(generator, 2, 1)
    observations = without(replace(seen(stations, generator), values=stations(state)), 1, 4)
    found = average(observations, cells, 0.3, state)
    torch.testing.assert_close(found.values, found.operator(state), rtol=0, atol=1e-4)
    plain = observations.values[..., [0, 2]].mean(dim=-1)
    assert (found.values[..., cells.index[0]] - plain).abs().max() > 0.1


def test_a_cell_without_an_active_report_is_masked(stations, cells, generator):
    found = average(without(seen(stations, generator), 3, 4), cells, 0.3, states(generator, 2, 1))
    assert found.mask[..., cells.index[3]].any().item() is False
    assert found.values[..., cells.index[3]].isnan().all()
    assert found.mask[..., cells.index[[0, 5]]].all()
    assert found.count[..., cells.index[3]].tolist() == [[0], [0]]
    assert (found.error_variance > 0).all()


def test_silent_gauges(stations, cells, generator):
    rain = seen(stations, generator, variance=0.1, bound=0.0)
    #                        one wet of three   dry   both dry
    values = torch.tensor([0.0, 1.2, 0.0, 0.0, 0.0, 0.0]).expand(2, 1, 6).contiguous()
    rain = replace(rain, values=values)
    state = states(generator, 2, 1)
    found = average(rain, cells, 0.3, state)
    wet, dry, both = (cells.index[points[0]] for points in CELL)
    torch.testing.assert_close(found.values[..., wet], torch.full((2, 1), 0.4))
    assert (found.values[..., [dry, both]] == 0).all()
    assert found.bound == 0.0
    # Without the wet one the cell is silent; with it alone, it is as wet as that.
    assert (average(without(rain, 1), cells, 0.3, state).values[..., wet] == 0).all()
    alone = average(without(rain, 0, 2), cells, 0.3, state)
    torch.testing.assert_close(alone.values[..., wet], torch.full((2, 1), 1.2))
    # A bound whose multiples are no whole numbers.
    odd = replace(rain, values=values.clamp(min=0.1), bound=0.1)
    low = average(odd, cells, 0.3, state).values
    assert (low[..., [dry, both]] <= 0.1).all()
    assert (low[..., wet] > 0.1).all()
    assert (low >= torch.tensor(0.1)).all()


# which networks


def batch_of(problem, *observations: Observations) -> Batch:
    return replace(problem.batch(), observations=observations)


def made(problem, latitude, longitude, name="stations/2m_temperature") -> Observations:
    operator = StationOperator(
        problem.grid, problem.normaliser.channels, "2m_temperature", latitude, longitude
    )
    values = torch.full((1, 1, len(operator)), 281.0)
    return Observations(
        name, operator, values, torch.ones_like(values, dtype=torch.bool), torch.ones_like(values)
    )


def scattered(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sine, turn = torch.rand(2, count, generator=generator, dtype=torch.float64)
    return torch.rad2deg(torch.asin(2 * sine - 1)), 360 * turn


def test_a_sparse_network_is_left_as_it_is(problem):
    batch = problem.batch()
    assert Superobs(problem.grid)(batch, problem.normaliser) is batch
    superobs = Superobs(problem.grid)
    for observations in batch.observations:
        operator = observations.operator
        assert superobs.operator(observations.name, operator) is operator


def test_a_dense_network_gets_one_point_per_cell(problem):
    dense, sparse = made(problem, *scattered(400)), made(problem, *scattered(8), "few/t")
    found = Superobs(problem.grid)(batch_of(problem, sparse, dense), problem.normaliser)
    assert found.observations[0] is sparse
    averaged = found.observations[1]
    names = problem.grid.cell(averaged.operator.latitude, averaged.operator.longitude)
    assert len(names.unique()) == len(averaged.operator) <= 8 * 16
    assert int(averaged.count.sum()) == 400
    counts = observation_counts(found, problem.normaliser.channels, problem.grid)
    assert int(counts[0, 0, 0].sum()) == 400
    again = Superobs(problem.grid).operator("x", averaged.operator)
    assert again is averaged.operator, "superobservations are not averaged again"


@pytest.mark.parametrize(("points", "averaged"), [(5, False), (6, True)])
def test_the_density_from_which_a_network_is_averaged(problem, points, averaged):
    """Four cells: five points are 1.25 per cell, six are more."""
    latitude = torch.full((points,), 11.0, dtype=torch.float64)
    longitude = 22.5 * (torch.arange(points) % 4).to(torch.float64)
    given = made(problem, latitude, longitude)
    found = Superobs(problem.grid)(batch_of(problem, given), problem.normaliser)
    assert (found.observations[0] is not given) == averaged


def test_cells_in_degrees_average_any_two_points_of_a_cell(problem):
    given = made(problem, *scattered(40))
    found = Superobs(problem.grid, 30.0)(batch_of(problem, given), problem.normaliser)
    (averaged,) = found.observations
    names = equal_area_cells(30.0, *scattered(40))
    assert len(averaged.operator) == len(names.unique()) < 40
    alone = Superobs(problem.grid, 0.01)(batch_of(problem, given), problem.normaliser)
    assert alone.observations[0] is given


def test_points_of_different_quantities_are_not_averaged(problem):
    given = made(problem, *scattered(400))
    given.operator.one_quantity = False
    assert Superobs(problem.grid)(batch_of(problem, given), problem.normaliser).observations == (
        given,
    )


def test_cells_are_found_again_when_a_network_changes(problem):
    superobs = Superobs(problem.grid)
    sizes = []
    for count in (400, 300, 400):
        given = batch_of(problem, made(problem, *scattered(count)))
        (found,) = superobs(given, problem.normaliser).observations
        sizes.append(int(found.count.sum()))
    assert sizes == [400, 300, 400]


@pytest.mark.parametrize("known", [True, False])
def test_departures_are_from_the_background_or_the_climatology(problem, known):
    """Exact reports of that state, half of them missing, give its own value in every cell."""
    given = without(made(problem, *scattered(400)), *range(0, 400, 2))
    batch = batch_of(problem, given)
    # A climatology that is not constant: a constant one would not matter.
    slope = torch.linspace(0, 9, 8)[:, None].expand(8, 16)
    batch = replace(batch, climatology=batch.climatology + slope)
    state = batch.climatology
    if known:
        state = problem.normaliser.denormalise(batch.background.mean, state)
        assert (state - batch.climatology)[:, :, 0].abs().max() > 1
    else:
        batch = replace(batch, background=None)
    exact = torch.where(given.mask, given.operator(state), torch.nan)
    batch = replace(batch, observations=(replace(given, values=exact),))
    (found,) = Superobs(problem.grid)(batch, problem.normaliser).observations
    expected = found.operator(state)
    torch.testing.assert_close(found.values[found.mask], expected[found.mask], rtol=0, atol=1e-3)
    assert not found.mask.all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cell": -1.0}, "-1 degrees; expected 0 to 90"),
        ({"cell": 91.0}, "91 degrees"),
        ({"cell": math.nan}, "nan degrees"),
        ({"correlation": 1.5}, "1.5; expected 0 to 1"),
    ],
)
def test_settings_out_of_range(problem, settings, words):
    with pytest.raises(UserError, match=words):
        Superobs(problem.grid, **settings)


# analyses


def test_repeats_of_one_report_are_one_report_of_smaller_error(problem):
    """With `k` exact repeats and no correlation: one report of the variance `s^2 / k`."""
    method = OptimalInterpolation(problem.normaliser, problem.grid, seed=0, season=400)
    method.fit(problem.archive(problem.draw(60, seed=3)))
    latitude, longitude = (x[:5] for x in scattered(12))
    repeats = 4
    many = made(problem, latitude.repeat(repeats), longitude.repeat(repeats))
    one = made(problem, latitude, longitude)
    one = replace(one, error_variance=one.error_variance / repeats)
    superobs = Superobs(problem.grid, correlation=0.0)
    averaged = superobs(batch_of(problem, many), problem.normaliser)
    assert len(averaged.observations[0].operator) == 5
    analyses = [
        method.analyse(batch, 4).mean
        for batch in (averaged, batch_of(problem, one), batch_of(problem, many))
    ]
    background = problem.normaliser.denormalise(averaged.background.mean, averaged.climatology)
    assert (analyses[1] - background).abs().max() > 1
    for other in analyses[1:]:
        torch.testing.assert_close(analyses[0], other, rtol=0, atol=2e-3)
