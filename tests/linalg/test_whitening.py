from __future__ import annotations

import torch

from slams.linalg.whitening import error_unit, positive_variance


def test_units_are_standard_deviations_and_one_where_there_is_no_error() -> None:
    variance = torch.tensor([[4.0, 0.0, 1e-20]], dtype=torch.float64)
    expected = torch.tensor([[2.0, 1.0, 1e-10]], dtype=torch.float64)
    torch.testing.assert_close(error_unit(variance), expected, rtol=1e-12, atol=0)


def test_small_units_are_no_missing_error() -> None:
    variance = torch.tensor([1e-20, 0.0, 1.0], dtype=torch.float64)
    expected = torch.tensor([1e-20, 1e-12, 1.0], dtype=torch.float64)
    assert torch.equal(positive_variance(variance), expected)
