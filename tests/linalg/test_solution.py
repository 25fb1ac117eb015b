from __future__ import annotations

import pytest
import torch
from torch import Tensor

from slams.errors import UserError
from slams.linalg.solution import factorise


def solved(covariance: Tensor, innovation: Tensor) -> Tensor:
    return torch.cholesky_solve(innovation[:, None].double(), factorise(covariance))[:, 0]


def test_observations_without_error_are_solved_with_a_raised_diagonal() -> None:
    # Two observations of one thing without error: S is singular.
    weights = solved(torch.ones(2, 2, dtype=torch.float64), torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(weights.sum(), torch.tensor(2.0, dtype=torch.float64))


def test_a_raised_diagonal_does_not_depend_on_units() -> None:
    # The same twice, in units so different that a mean of the diagonal is that of the second.
    units = torch.tensor([1e-4, 1e-4, 1e4, 1e4], dtype=torch.float64)
    pairs = torch.block_diag(*[torch.ones(2, 2, dtype=torch.float64)] * 2)
    innovation = torch.tensor([2.0, 2.0, 3.0, 3.0])
    plain = solved(pairs, innovation)
    mixed = solved(units[:, None] * pairs * units, innovation * units)
    torch.testing.assert_close(mixed * units, plain, rtol=1e-5, atol=0)


def test_what_never_varies_and_has_no_error_is_solved() -> None:
    covariance = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    weights = solved(covariance, torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(weights, torch.tensor([2.0, 0.0], dtype=torch.float64))


def test_several_systems_are_factorised_at_once() -> None:
    good, singular = torch.eye(2).double(), torch.ones(2, 2).double()
    both = factorise(torch.stack([good, singular]))
    torch.testing.assert_close(both @ both.mT, torch.stack([good, singular]), rtol=1e-6, atol=1e-6)


def test_refuses_a_covariance_that_is_none() -> None:
    covariance = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    with pytest.raises(UserError, match="not positive definite"):
        factorise(torch.stack([torch.eye(2).double(), covariance]))
