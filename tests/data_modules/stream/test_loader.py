"""Reading ahead changes only the time, not order, errors, ends, or what counts as delivered."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from torch.utils.data import Dataset

from data_modules.stream.loader import StreamLoader, prefetched
from data_modules.stream.samplers import BlockShuffleSampler
from slams.benchmarks.shuffle_quality import measure
from slams.errors import UserError


class Positions(Dataset):
    """Dataset of the positions themselves, which fails at one of them."""

    def __init__(self, length: int, fails_at: int = -1) -> None:
        self.length, self.fails_at = length, fails_at

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, positions):
        if self.fails_at in positions:
            raise UserError("a chunk is corrupt")
        return list(positions)


def stream(ahead, rank=0, world=1, fails_at=-1, length=42):
    blocks = np.arange(length) // 8
    sampler = BlockShuffleSampler(blocks, seed=1, rank=rank, world=world, buffer=2)
    return StreamLoader(
        Positions(length, fails_at), batch_size=3, sampler=sampler, collate_fn=list, ahead=ahead
    )


@pytest.mark.parametrize("ahead", [1, 2, 50])
def test_the_order_is_that_of_reading_when_asked(ahead):
    plain, early = stream(0), stream(ahead)
    for _ in range(3):
        assert list(early) == list(plain)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("stop", [1, 4])
def test_what_was_read_ahead_but_not_seen_comes_again(world, stop):
    """Ranks that are interrupted and resume share each position exactly once."""
    seen = []
    for rank in range(world):
        first = stream(3, rank, world)
        batches = iter(first)
        begun = [next(batches) for _ in range(stop)]
        state = first.state_dict()
        batches.close()
        second = stream(3, rank, world)
        second.load_state_dict(state)
        rest = list(second)
        assert begun + rest == list(stream(0, rank, world))
        seen += [p for batch in begun + rest for p in batch]
    assert sorted(seen) == list(range(42))


def test_an_error_comes_where_its_batch_would_have_come():
    order = list(stream(0))
    failing = stream(4, fails_at=order[5][0])
    batches = iter(failing)
    assert [next(batches) for _ in range(5)] == order[:5]
    with pytest.raises(UserError, match="a chunk is corrupt"):
        next(batches)


def test_no_thread_is_left_when_the_reader_goes_away():
    def count():
        return sum(t.name.startswith("slams-read-ahead") for t in threading.enumerate())

    batches = iter(stream(2))
    next(batches)
    assert count() == 1
    batches.close()
    assert count() == 0
    list(stream(2))
    assert count() == 0


def test_no_more_than_asked_for_is_read_ahead():
    read = []
    asked = threading.Event()

    def source():
        for number in range(10):
            read.append(number)
            if number == 3:
                asked.set()
            yield number

    ahead = prefetched(source(), 3)
    assert next(ahead) == 0
    # One is delivered, three are read ahead.
    assert asked.wait(10)
    assert read == [0, 1, 2, 3]
    assert list(ahead) == list(range(1, 10))
    with pytest.raises(StopIteration):
        next(ahead)
    ahead.close()


def test_measures_of_an_order_in_closed_form():
    files = np.arange(400) // 40
    found = measure(np.arange(400), files, batch=8)
    assert found.same_file == 390 / 399
    assert found.serial_correlation == pytest.approx(1.0)
    # Of eight neighbours in a row, the ends have five others within five days, and so on inwards.
    assert found.near == (5 + 6 + 7 + 7 + 7 + 7 + 6 + 5) / 8
    assert found.files_per_batch == 1.0
    apart = np.arange(400).reshape(10, 40).T.reshape(-1)
    found = measure(apart, files, batch=10)
    assert (found.same_file, found.near, found.files_per_batch) == (0.0, 0.0, 10.0)


def test_mixing_more_files_is_more_random():
    files = np.arange(3650) // 64

    def order(buffer):
        sampler = BlockShuffleSampler(files, seed=0, buffer=buffer)
        return measure(sampler.order(0), files, batch=8)

    shares = [order(buffer).same_file for buffer in (1, 4, 16, 58)]
    assert shares == sorted(shares, reverse=True)
    # b files mixed at a time: about one neighbour in b from the same one.
    assert shares[1] == pytest.approx(1 / 4, abs=0.05)
    assert shares[3] == pytest.approx(64 / 3650, abs=0.01)
    assert abs(order(58).serial_correlation) < 0.05
