"""The damping and the errors of a cycle's own backgrounds, in closed form."""

from __future__ import annotations

import pytest
import torch

from slams.assimilators.own_errors import own_errors


def test_damping_and_variance_are_those_of_the_regression_on_analyses() -> None:
    """Analyses that are trusted too much are damped more than true states would be."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.randn(4000, 2, 3, 4, generator=draw)
    analyses = truth + torch.tensor([0.5, 1.0])[:, None, None] * torch.randn(
        truth.shape, generator=draw
    )
    later = 0.8 * truth + 0.6 * torch.randn(truth.shape, generator=draw)
    found = own_errors(analyses, later, torch.arange(4000.0))
    expected = torch.tensor([0.8 / 1.25, 0.8 / 2.0])
    torch.testing.assert_close(
        found.coefficient, expected[:, None, None].expand(2, 3, 4), rtol=0.04, atol=0
    )
    left = 1 - 0.8 * expected
    torch.testing.assert_close(found.variance.mean(dim=(1, 2)), left, rtol=0.03, atol=0)
    errors = found.archive.fields - found.archive.background
    torch.testing.assert_close(errors[:, 0], later - found.coefficient * analyses)
    # One damping for each row: the days of one point would be too few.
    assert float(found.coefficient.var(dim=-1).max()) == pytest.approx(0, abs=1e-12)
