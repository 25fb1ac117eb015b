from __future__ import annotations

import numpy as np
import pytest
import torch

from slams.errors import UserError
from slams.linalg.localised_gain import (
    innovation_covariance,
    localised_increments,
    solve_innovations,
)


def test_equals_dense_linear_algebra() -> None:
    rng = np.random.default_rng(0)
    n, fields, points, observed, members = 12, 3, 20, 9, 4
    z = rng.normal(size=(n, fields, points))
    z -= z.mean(axis=0)
    y = z.reshape(n, -1) @ rng.normal(size=(fields * points, observed))
    here, there = rng.normal(size=(points, 3)), rng.normal(size=(observed, 3))
    zo = np.exp(-np.square(here[:, None] - there[None]).sum(-1))
    oo = np.exp(-np.square(there[:, None] - there[None]).sum(-1))
    variance = rng.uniform(0.5, 2.0, observed)
    d = rng.normal(size=(members, observed))

    cross = np.einsum("nkg,np->kgp", z, y) / (n - 1) * zo
    s = oo * (y.T @ y) / (n - 1) + np.diag(variance)
    expected = np.einsum("kgp,pq,jq->jkg", cross, np.linalg.inv(s), d)

    z32, y32 = torch.from_numpy(z).float(), torch.from_numpy(y).float()
    covariance = innovation_covariance(y32, torch.from_numpy(oo), torch.from_numpy(variance))
    weights = solve_innovations(covariance, torch.from_numpy(d))
    found = localised_increments(z32, y32, torch.from_numpy(zo).float(), weights)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_observations_without_error_are_solved_with_a_raised_diagonal() -> None:
    # Two observations of one thing without error: S is singular.
    covariance = torch.ones(2, 2, dtype=torch.float64)
    weights = solve_innovations(covariance, torch.tensor([[2.0, 2.0]]))
    torch.testing.assert_close(weights.sum(), torch.tensor(2.0, dtype=torch.float64))


def test_a_raised_diagonal_does_not_depend_on_units() -> None:
    # The same twice, in units so different that a mean of the diagonal is that of the second.
    units = torch.tensor([1e-4, 1e-4, 1e4, 1e4], dtype=torch.float64)
    pairs = torch.block_diag(*[torch.ones(2, 2, dtype=torch.float64)] * 2)
    innovation = torch.tensor([[2.0, 2.0, 3.0, 3.0]], dtype=torch.float64)
    plain = solve_innovations(pairs, innovation)
    mixed = solve_innovations(units[:, None] * pairs * units, innovation * units)
    torch.testing.assert_close(mixed * units[:, None], plain, rtol=1e-5, atol=0)


def test_what_never_varies_and_has_no_error_is_solved() -> None:
    covariance = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    weights = solve_innovations(covariance, torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(weights[:, 0], torch.tensor([2.0, 0.0], dtype=torch.float64))


def test_refuses_a_covariance_that_is_none() -> None:
    covariance = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    with pytest.raises(UserError, match="not positive definite"):
        solve_innovations(covariance, torch.ones(1, 2))
