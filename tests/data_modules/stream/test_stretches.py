"""Streams of days: order of time within a stream, every stretch once, the same for ranks."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.stream.samplers import StretchSampler
from slams.errors import UserError

# Two pieces of days with a gap between them.
TIME = np.concatenate([np.arange(100), 150 + np.arange(90)]).astype(float)


def streams(**changes) -> np.ndarray:
    """Return first days by stream, `(streams, steps)`."""
    settings = {"step": 2, "steps": 10, "streams": 3, "seed": 1, **changes}
    epoch = settings.pop("epoch", 0)
    sampler = StretchSampler(TIME, **settings)
    sampler.set_epoch(epoch)
    positions = np.array(list(sampler))
    assert len(positions) == len(sampler)
    return TIME[positions].reshape(-1, settings["streams"]).T


def test_a_stream_goes_on_in_steps_and_begins_anew_after_a_stretch():
    for stream in streams():
        jumps = np.flatnonzero(np.diff(stream) != 2)
        # One jump per stretch, and one where the part that was left out at first comes last.
        assert len(jumps) <= len(stream) // 10
        inside = np.delete(np.arange(len(stream) - 1), jumps)
        assert (stream[inside + 1] - stream[inside] == 2).all()


def test_no_day_is_read_twice_and_no_stretch_crosses_a_gap():
    days = streams().flatten()
    assert len(set(days.tolist())) == len(days)
    for offset in range(20):
        sampler = StretchSampler(TIME, 2, 10, 3, seed=1)
        for stretch in sampler.stretches(offset):
            assert TIME[stretch[-1]] - TIME[stretch[0]] == 18


def test_streams_begin_at_different_places_of_their_stretches():
    sampler = StretchSampler(TIME, 2, 10, 3, seed=1)
    days = sampler.positions(0).reshape(-1, 3).T
    stretches = {tuple(stretch) for offset in range(20) for stretch in sampler.stretches(offset)}
    for stream, left_out in enumerate((0, 3, 6)):
        whole = np.roll(days[stream], left_out)
        assert all(tuple(part) in stretches for part in whole.reshape(-1, 10))


def test_the_order_depends_on_seed_and_epoch_alone():
    assert (streams() == streams()).all()
    assert not np.array_equal(streams(), streams(epoch=1))
    assert not np.array_equal(streams(), streams(seed=2))


def test_ranks_have_streams_of_their_own():
    ranks = [streams(streams=1, rank=rank, world=3) for rank in range(3)]
    assert (np.concatenate(ranks) == streams()).all()


def test_resumed_streams_go_on_where_they_stopped():
    sampler = StretchSampler(TIME, 2, 10, 3, seed=1)
    whole = list(sampler)
    sampler.resume(0, 12)
    assert list(sampler) == whole[12:]
    assert list(sampler) == whole


def test_validation_takes_the_longest_stretches_in_every_epoch_alike():
    found = streams(steps=None, streams=4)
    assert (found == streams(steps=None, streams=4, epoch=3)).all()
    # Two of the four streams in each piece of 100 and 90 days.
    assert found.shape == (4, 22)
    assert (np.diff(found) == 2).all()


def test_too_many_streams_are_refused():
    with pytest.raises(UserError, match=r"filter\.batch_size: found 30 streams"):
        StretchSampler(TIME, 2, 10, 30, seed=1)
