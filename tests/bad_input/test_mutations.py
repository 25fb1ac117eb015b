"""Recipes that were changed at random: exit code 0 or 2, one sentence, no traceback, no hang."""

from __future__ import annotations

import os

import pytest

from tests.bad_input.mutations import Failure, make_case, mutated_recipes, run_case

# A failure names the seed: SLAMS_MUTATIONS_SEED=... runs the same cases again.
_SEED = int(os.environ.get("SLAMS_MUTATIONS_SEED", "16"))
_CASES = 1500


def test_a_case_is_the_same_again() -> None:
    assert make_case(3, 5) == make_case(3, 5)
    assert make_case(3, 5) != make_case(3, 6)


@pytest.mark.slow
def test_mutated_recipes_are_taken_or_refused() -> None:
    print(f"seed {_SEED}")
    failures, codes = [], []
    with mutated_recipes() as experiments:
        for number in range(_CASES):
            outcome = run_case(make_case(_SEED, number), experiments)
            if isinstance(outcome, Failure):
                failures.append(str(outcome))
            else:
                codes.append(outcome[0])
    assert not failures, f"seed {_SEED}:\n" + "\n\n".join(failures[:10])
    # Mutations that change nothing, or everything, would test nothing.
    assert codes.count(0) > _CASES / 20
    assert codes.count(2) > _CASES / 2
