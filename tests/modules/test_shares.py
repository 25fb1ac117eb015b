"""Members shared by ranks are the members that one rank computes alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from slams.modules.shares import Share


@pytest.mark.parametrize(("members", "world"), [(3, 2), (16, 5), (2, 4), (7, 7), (5, 1)])
def test_every_member_belongs_to_one_rank(members, world):
    shares = [Share(rank, world).members(members) for rank in range(world)]
    assert [m for share in shares for m in share] == list(range(members))
    sizes = sorted(len(share) for share in shares)
    assert sizes[-1] - sizes[0] <= 1
    assert all(a.stop == b.start for a, b in pairwise(shares))
    assert max(sizes) == -(-members // world)  # the length that parts are padded to
