"""Samplers: exact shards, orders that depend only on seed and epoch, few files at a time."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.stream.samplers import BlockShuffleSampler, ShardSampler


@pytest.mark.parametrize(("length", "world"), [(7, 2), (7, 3), (2, 4), (0, 2), (8, 1)])
def test_shards_hold_each_position_exactly_once(length, world):
    shards = [list(ShardSampler(length, rank, world)) for rank in range(world)]
    assert sorted(p for shard in shards for p in shard) == list(range(length))
    assert [len(ShardSampler(length, r, world)) for r in range(world)] == [
        len(shard) for shard in shards
    ]
    if (length, world) == (7, 2):
        # Nothing is counted twice, as padding to equal lengths would.
        assert shards == [[0, 2, 4, 6], [1, 3, 5]]


def test_blocks_of_a_shard_stay_together():
    shards = [list(ShardSampler(14, rank, 2, block=4)) for rank in range(2)]
    assert shards == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13]]
    assert list(ShardSampler(4, 1, 2, block=4)) == []


def sampler(**changes) -> BlockShuffleSampler:
    settings = {"blocks": np.arange(100) // 16, "seed": 3, "buffer": 2, **changes}
    return BlockShuffleSampler(**settings)


def test_training_order_is_a_permutation_of_seed_and_epoch():
    orders = {(seed, epoch): None for seed in (3, 4) for epoch in (0, 1)}
    for seed, epoch in orders:
        s = sampler(seed=seed)
        s.set_epoch(epoch)
        orders[seed, epoch] = tuple(s)
        assert sorted(orders[seed, epoch]) == list(range(100))
        assert tuple(s) == orders[seed, epoch]
    assert len(set(orders.values())) == 4


def test_ranks_share_an_epoch_in_equal_parts():
    parts = [list(sampler(rank=rank, world=3)) for rank in range(3)]
    assert [len(p) for p in parts] == [33, 33, 33]
    assert len({p for part in parts for p in part}) == 99
    order = list(sampler())
    # A global batch of 3 x 4 is the same twelve positions as one rank would take.
    assert {p for part in parts for p in part[:4]} == set(order[:12])


def test_neighbours_come_from_few_files():
    blocks = np.arange(6400) // 64
    order = BlockShuffleSampler(blocks, seed=0, buffer=4).order(0)
    for start in range(0, 6400, 256):
        assert len(np.unique(blocks[order[start : start + 256]])) == 4
    assert not np.array_equal(np.sort(order[:256]), order[:256])


def test_resumed_order_goes_on_where_it_stopped():
    whole = sampler()
    whole.set_epoch(2)
    resumed = sampler()
    resumed.resume(2, 40)
    assert list(resumed) == list(whole)[40:]
    assert len(resumed) == 100
    # Only the interrupted epoch is shortened.
    resumed.set_epoch(3)
    whole.set_epoch(3)
    assert list(resumed) == list(whole)


def test_no_position_makes_no_epoch():
    assert list(BlockShuffleSampler(np.zeros(0), seed=0)) == []
