"""Networks of weather stations: real airport sites, or a list from a file.

Airports with an ICAO location indicator are the sites that send METAR reports. They are where
people live: on land, unevenly distributed, with few in the far south. Thinning selects a subset in
which no two sites are closer than a separation, chosen so that the requested number remains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from slams.errors import UserError
from slams.grid import EARTH_RADIUS_KM, unit_vectors
from slams.observations.station_list import COLUMNS, read_station_list
from slams.observations.stations import check_positions
from slams.runtime.seeds import generator

__all__ = ["Network", "airport_network", "read_network"]

_METRES_PER_FOOT = 0.3048


@dataclass(frozen=True, eq=False)
class Network:
    """A list of stations.

    Attributes:
        id: `P` distinct names.
        latitude: `(P,)` float64 degrees north.
        longitude: `(P,)` float64 degrees east in [-180, 360].
        elevation: `(P,)` float64 m above sea level, NaN where unknown.

    Raises:
        UserError: A name occurs twice, or the position of a station is invalid.
    """

    id: tuple[str, ...]
    latitude: Tensor
    longitude: Tensor
    elevation: Tensor

    def __post_init__(self) -> None:
        check_positions(self.latitude, self.longitude, self.id)
        seen: set[str] = set()
        for name in self.id:
            if name in seen:
                raise UserError(f"station {name} is listed twice; expected distinct names")
            seen.add(name)

    def __len__(self) -> int:
        return len(self.id)

    def select(self, stations: Tensor) -> Network:
        """Return the network of some of the stations.

        Args:
            stations: `(Q,)` int64, indices of the stations to keep, at least one.
        """
        return Network(
            id=tuple(self.id[i] for i in stations.tolist()),
            latitude=self.latitude[stations],
            longitude=self.longitude[stations],
            elevation=self.elevation[stations],
        )

    def split(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Draw the stations that are held out for verification.

        Args:
            share: Fraction of all stations to hold out, in [0, 1).
            seed: The experiment's seed; a different seed holds out different stations.

        Returns:
            Indices of the stations that are kept and of those held out, each in order.

        Raises:
            UserError: The fraction is above 0 but less than half a station, or leaves none.
        """
        count = round(share * len(self))
        if share > 0 and not 0 < count < len(self):
            raise UserError(
                f"observations.stations.held_out: a share of {share:g} of {len(self)} stations "
                f"is {count} of them; expected at least one, and one left to assimilate"
            )
        order = torch.randperm(len(self), generator=generator(seed, "held_out"))
        return order[count:].sort().values, order[:count].sort().values

    def write(self, path: str | Path) -> None:
        """Write the stations to a CSV file with columns id, latitude, longitude, elevation."""
        numbers = {column: getattr(self, column).tolist() for column in COLUMNS[1:]}
        table = pd.DataFrame({"id": self.id, **numbers})
        table.to_csv(path, index=False, float_format="%.10g", lineterminator="\r\n")


def airport_network(count: int = 400, seed: int = 0) -> Network:
    """Thin the world's airports to a number of stations.

    Args:
        count: Number of stations.
        seed: The experiment's seed; a different seed gives a different selection.

    Returns:
        The network, sorted by ICAO indicator; elevations are the airports' own.

    Raises:
        UserError: The number is less than 1 or more than the number of airports.
    """
    # Imported here because reading the table takes time that a user's own list does not need.
    import airportsdata

    table = airportsdata.load("ICAO")
    # Four letters: the table also lists national codes with digits, which send no METAR.
    codes = sorted(c for c in table if len(c) == 4 and c.isascii() and c.isalpha())
    if not 1 <= count <= len(codes):
        raise UserError(
            f"{count} stations requested; expected between 1 and {len(codes)}, the airports there "
            "are"
        )
    rows = [table[code] for code in codes]
    latitude = torch.tensor([r["lat"] for r in rows], dtype=torch.float64)
    longitude = torch.tensor([r["lon"] for r in rows], dtype=torch.float64)
    feet = torch.tensor([r["elevation"] for r in rows], dtype=torch.float64)
    order = torch.randperm(len(codes), generator=generator(seed, "network"))
    kept = order[_thin(unit_vectors(latitude, longitude)[order], count)].sort().values
    return Network(
        id=tuple(codes[i] for i in kept.tolist()),
        latitude=latitude[kept],
        longitude=longitude[kept],
        elevation=feet[kept] * _METRES_PER_FOOT,
    )


def read_network(path: str | Path) -> Network:
    """Read stations from a CSV file with columns id, latitude, longitude and elevation.

    The elevation (m) may be omitted or empty, which means unknown.

    Raises:
        UserError: As for `station_list.read_station_list`.
    """
    stations = read_station_list(path)
    columns = {
        column: torch.tensor([getattr(s, column) for s in stations], dtype=torch.float64)
        for column in COLUMNS[1:]
    }
    return Network(id=tuple(s.id for s in stations), **columns)


def _thin(vectors: Tensor, count: int) -> Tensor:
    """Select `count` of the points `(N, 3)`, far apart, preferring earlier ones.

    The separation is found by bisection: it is the largest for which `count` points remain when
    the points are visited in order and those too close to a selected point are skipped.
    """
    low, high = 0.0, math.pi
    kept = torch.arange(count)
    while (high - low) * EARTH_RADIUS_KM > 1.0:
        separation = (low + high) / 2
        trial = _separated(vectors, math.cos(separation), count)
        if len(trial) == count:
            low, kept = separation, trial
        else:
            high = separation
    return kept


def _separated(vectors: Tensor, closest: float, count: int) -> Tensor:
    """Visit points in order; keep at most `count` whose mutual cosines are below `closest`."""
    free = torch.ones(len(vectors), dtype=torch.bool)
    kept: list[int] = []
    while len(kept) < count and bool(free.any()):
        first = int(free.nonzero()[0])
        kept.append(first)
        free &= vectors @ vectors[first] < closest
        free[first] = False
    return torch.tensor(kept, dtype=torch.int64)
