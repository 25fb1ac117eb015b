"""Operators that an instrument names: adjoints, closed forms, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.instruments import OperatorRequest
from slams.plugins.operators import OPERATORS

CHANNELS = tuple(
    FieldSpec.parse(n)
    for n in ("temperature@850", "temperature@500", "outgoing_longwave_radiation")
)
LATITUDE = torch.tensor([-60.0, 3.0, 44.5], dtype=torch.float64)
LONGITUDE = torch.tensor([-170.0, 10.0, 359.0], dtype=torch.float64)
OPTIONS = {
    "points": {"channel": "temperature@500"},
    "column": {"levels": [850, 500], "weights": [1, 3]},
    "lattice": {"channel": "outgoing_longwave_radiation", "block": 2, "gap": 3},
}


def build(grid: LatLonGrid, name: str, **options: Any) -> Any:
    spec = OPERATORS.get(name, "observations.instruments.0.operator")
    empty = torch.empty(0, dtype=torch.float64)
    where = (LATITUDE, LONGITUDE) if spec.at_sites else (empty, empty)
    elevation = torch.full_like(where[0], torch.nan)
    key = "observations.instruments.0"
    return spec.build(OperatorRequest(grid, CHANNELS, options, key, *where, elevation))


def random(grid: LatLonGrid, generator: torch.Generator, *lead: int) -> Tensor:
    shape = (*lead, len(CHANNELS), *grid.shape)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_every_built_in_operator_is_tested_here() -> None:
    assert set(OPTIONS) == set(OPERATORS.names())


@pytest.mark.parametrize("name", OPTIONS)
def test_the_adjoint_is_the_transpose(name: str, grid, generator) -> None:
    operator = build(grid, name, **OPTIONS[name])
    state = random(grid, generator, 2, 3)
    values = torch.randn(2, 3, len(operator), generator=generator, dtype=torch.float64)
    ours = (operator.linear(state) * values).sum()
    theirs = (state * operator.adjoint(values)).sum()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_asked_of_an_operator(name: str, grid, generator) -> None:
    operator = build(grid, name, **OPTIONS[name])
    state = random(grid, generator)
    assert operator.latitude.shape == operator.longitude.shape == (len(operator),)
    torch.testing.assert_close(operator(state), operator.linear(state))
    torch.testing.assert_close(operator.to("cpu")(state), operator(state))
    # A point is touched exactly where its values depend on the marked grid points.
    marked = random(grid, generator) > 1.2
    moved = operator.linear(state + marked.to(state)) != operator.linear(state)
    assert torch.equal(operator.touches(marked), moved)


def test_a_column_is_the_weighted_mean_of_its_levels(grid, generator) -> None:
    state = random(grid, generator)
    low, high = (
        build(grid, "points", channel=f"temperature@{level}")(state) for level in (850, 500)
    )
    column = build(grid, "column", levels=[850, 500], weights=[1, 3])
    torch.testing.assert_close(column(state), 0.25 * low + 0.75 * high)
    assert column.units == "K"
    assert column.variable == "temperature"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("points", {}, "option 'channel' is missing"),
        ("points", {"chanel": "x"}, "unknown option 'chanel'; did you mean 'channel'"),
        ("points", {"channel": "temperature@700"}, "temperature@700"),
        ("lattice", {"channel": "temperature@850", "block": "2"}, "found '2' for block"),
        ("lattice", {"channel": "temperature@850", "block": True}, "expected a whole number"),
        ("column", {"levels": 850, "weights": [1]}, "found 850 for levels, expected a list"),
        ("column", {"levels": [[850]], "weights": [1]}, "a list of whole numbers"),
        ("column", {"levels": [850], "weights": [float("inf")]}, "finite numbers"),
        ("lattice", {"channel": "temperature@850", "block": 5}, "degradation block"),
        ("column", {"levels": [850], "weights": [1, 2]}, "1 levels and 2 weights"),
        ("column", {"levels": [850, 500], "weights": [0, 0]}, "not all 0"),
        ("column", {"levels": [850, 500], "weights": [-1, 2]}, "0 or more"),
        ("column", {"levels": [850, 700], "weights": [1, 2]}, "temperature@700"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict, said: str, grid) -> None:
    with pytest.raises(UserError, match=said):
        build(grid, name, **options)
