"""Land is where it is on the globe."""

from __future__ import annotations

import pytest
import torch

from slams.grid import LatLonGrid
from slams.metrics.land_sea_mask import is_land, land_share

PLACES = {
    "Alice Springs": (-23.7, 133.9, True),
    "Madagascar": (-19, 47, True),
    "Greenland": (72, -42, True),
    "Novosibirsk": (55, 83, True),
    "Chukotka, beyond the date line": (67, -175, True),
    "Antarctica": (-80, 100, True),
    "South Pole": (-90, 0, True),
    "North Pole": (90, 0, False),
    "Pacific": (0, -150, False),
    "Pacific on the date line": (-40, 180, False),
    "Atlantic": (30, -30, False),
    "Southern Ocean": (-60, 20, False),
}


def test_places() -> None:
    latitude, longitude, land = zip(*PLACES.values(), strict=True)
    found = is_land(torch.tensor(latitude), torch.tensor(longitude))
    assert dict(zip(PLACES, found.tolist(), strict=True)) == dict(zip(PLACES, land, strict=True))


@pytest.mark.parametrize("turn", [-360, 360])
def test_any_turn_of_longitude_will_do(turn: int) -> None:
    longitude = torch.arange(0.0, 360.0, 7.3)
    latitude = torch.linspace(-85, 85, len(longitude))
    assert torch.equal(is_land(latitude, longitude), is_land(latitude, longitude + turn))


def test_land_covers_three_tenths_of_the_globe() -> None:
    grid = LatLonGrid(torch.arange(88.75, -90, -2.5), torch.arange(0.0, 360.0, 2.5))
    share = land_share(grid)
    assert share.shape == grid.shape
    assert 0 < float(((share > 0) & (share < 1)).double().mean()) < 0.2  # coasts
    # 29.2 %, of which the Caspian and the lakes, here sea, are a third of a percent.
    assert float((share * grid.weights[:, None]).mean()) == pytest.approx(0.290, abs=0.004)
