"""Quantile mapping of decoded precipitation."""

from __future__ import annotations

import torch

from slams.assimilators.marginals import MarginalMap


def rain(count: int = 200_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Make rain of which 40 % is zero, and what a blurring decoder gives for it."""
    draw = torch.Generator().manual_seed(0)
    wet = (torch.randn(count, generator=draw) + 0.25).clamp(min=0)
    return 0.7 * wet + 0.1 + 0.15 * torch.randn(count, generator=draw), wet


def test_what_is_mapped_has_the_distribution_of_the_fields() -> None:
    decoded, fields = rain()
    mapped = MarginalMap.fit(decoded, fields)(decoded)
    dry = float((fields == 0).float().mean())
    assert abs(float((decoded <= 0).float().mean()) - dry) > 0.1
    assert abs(float((mapped <= 0).float().mean()) - dry) < 2e-3
    levels = torch.tensor([0.5, 0.7, 0.9, 0.99])
    torch.testing.assert_close(
        torch.quantile(mapped, levels), torch.quantile(fields, levels), rtol=5e-3, atol=5e-3
    )


def test_it_is_monotone_and_goes_on_beyond_the_archive() -> None:
    decoded, fields = rain()
    marginal = MarginalMap.fit(decoded, fields)
    values = torch.linspace(-1, 6, 400)
    mapped = marginal(values)
    assert bool((mapped.diff() >= 0).all())
    assert float(mapped.min()) >= 0
    top = float(decoded.max())
    beyond = marginal(torch.tensor([top, top + 1.5]))
    torch.testing.assert_close(beyond.diff(), torch.tensor([1.5]))


def test_a_perfect_decoder_is_left_alone() -> None:
    _, fields = rain()
    torch.testing.assert_close(MarginalMap.fit(fields, fields)(fields), fields, rtol=0, atol=2e-3)
