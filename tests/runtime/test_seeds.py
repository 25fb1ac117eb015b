"""Draws depend on what they are for, and on nothing else."""

from __future__ import annotations

import torch

from slams.runtime.seeds import generator, member_noise


def first(*key: int | str) -> float:
    return float(torch.rand(1, dtype=torch.float64, generator=generator(*key)))  # type: ignore[arg-type]


def test_equal_keys_give_equal_numbers_and_other_keys_others() -> None:
    torch.manual_seed(1)
    one = first(0, "observations", "stations", 7)
    torch.manual_seed(2)
    assert first(0, "observations", "stations", 7) == one
    others = [
        first(1, "observations", "stations", 7),
        first(0, "background", "stations", 7),
        first(0, "observations", "satellite", 7),
        first(0, "observations", "stations", 8),
        first(0, "observations", "stations", 7, 0),
        first(0, "observations", "stations"),
    ]
    assert len({one, *others}) == 7


def test_the_generator_is_the_same_in_every_process_and_release() -> None:
    """Pin the scheme: results of earlier releases must stay reproducible."""
    assert generator(0, "a", 1).initial_seed() == 3975144308853378137


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    member_noise((4,), 0, "noise", 3, range(2))
    assert torch.equal(torch.rand(3), expected)


def test_a_member_does_not_depend_on_its_company() -> None:
    many = member_noise((2, 3), 0, "noise", 3, range(5))
    assert many.shape == (5, 2, 3)
    assert many.dtype == torch.float32
    assert torch.equal(many[:2], member_noise((2, 3), 0, "noise", 3, range(2)))
    assert torch.equal(many[3:4], member_noise((2, 3), 0, "noise", 3, range(3, 4)))
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(many, member_noise((2, 3), 0, "noise", 4, range(5)))
    assert not torch.equal(many, member_noise((2, 3), 0, "other", 3, range(5)))


def test_members_are_standard_normal_and_independent() -> None:
    noise = member_noise((2000,), 0, "noise", 3, range(20)).double()
    covariance = noise @ noise.T / 2000
    assert float((covariance - torch.eye(20)).abs().max()) < 5 / 2000**0.5
    assert abs(float(noise.mean())) < 5 / 40000**0.5
