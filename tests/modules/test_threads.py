"""How many threads a process takes where the recipe leaves it open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from slams.config.schema import TrainerConfig
from slams.modules.threads import choose_threads, set_threads


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Leave torch as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "ranks", "limit", "threads"),
    [(1, 1, 1, 1), (2, 1, 2, 1), (4, 1, 4, 3), (16, 1, 16, 15), (16, 1, 4, 4), (16, 2, 16, 7)],
)
def test_one_core_stays_free(cores: int, ranks: int, limit: int, threads: int) -> None:
    assert choose_threads(cores, ranks, limit) == threads


def test_ranks_share_the_cores_and_have_one_thread_at_least() -> None:
    for cores in range(1, 20):
        for ranks in range(1, 20):
            threads = choose_threads(cores, ranks, cores)
            assert threads >= 1
            assert threads == 1 or ranks * threads < cores


def test_what_is_chosen_is_set_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said = set_threads(TrainerConfig(), "cpu")
    assert said == "3 threads on 4 cores (trainer.threads sets another number)"
    assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert set_threads(TrainerConfig(), "cpu").startswith("2 threads")
    assert set_threads(replace(TrainerConfig(), devices=2), "cpu").startswith("1 thread per proc")


def test_the_recipe_decides_and_a_gpu_changes_nothing() -> None:
    assert set_threads(replace(TrainerConfig(), threads=2), "cpu") == ""
    assert torch.get_num_threads() == 2
    assert set_threads(TrainerConfig(), "gpu") == ""
    assert torch.get_num_threads() == 2
