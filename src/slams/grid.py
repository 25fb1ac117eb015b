"""The global latitude-longitude grid: cell areas, interpolation, distances.

Rows run from north to south, columns eastwards from about 0 degrees. The cells of a row extend to
the midpoints between it and its neighbours, the outermost cells to the poles, so that the area of
a cell is proportional to

    w_j = sin(upper_j) - sin(lower_j),    sum_j w_j = 2.

Beyond a pole the field continues along the opposite meridian: the next row is again the row next
to the pole, shifted by 180 degrees of longitude. Interpolation uses this; in longitude everything
is periodic. Scalars only: vector components would change sign across the
pole.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from slams.errors import UserError

__all__ = [
    "EARTH_RADIUS_KM",
    "LatLonGrid",
    "block_columns",
    "block_rows",
    "great_circle",
    "unit_vectors",
]

EARTH_RADIUS_KM = 6371.0

# A point closer to a grid point than this fraction of a cell is moved onto it: coordinates that
# were stored as float32 must not bring in a neighbour, which may be missing.
_SNAP = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class LatLonGrid:
    """A global grid in canonical order.

    Attributes:
        latitude: `(H,)` float64 degrees north, north to south, not necessarily equally spaced.
        longitude: `(W,)` float64 degrees east in [0, 360), equally spaced, the first less than
            one spacing from 0.
        latitude_bounds: `(H + 1,)` float64 degrees north, cell bounds from 90 to -90; by
            default the midpoints.

    Raises:
        UserError: The grid is not global, not in canonical order or not equally spaced in
            longitude, or a coordinate is duplicated or NaN.
    """

    latitude: Tensor
    longitude: Tensor
    latitude_bounds: Tensor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        latitude = torch.as_tensor(self.latitude).detach().to(torch.float64)
        longitude = torch.as_tensor(self.longitude).detach().to(torch.float64)
        _check_latitude(latitude)
        longitude = _regular_longitude(longitude)
        bounds = self.latitude_bounds
        if bounds is None:
            middle = (latitude[1:] + latitude[:-1]) / 2
            bounds = torch.cat([middle.new_tensor([90.0]), middle, middle.new_tensor([-90.0])])
        object.__setattr__(self, "latitude", latitude)
        object.__setattr__(self, "longitude", longitude)
        object.__setattr__(self, "latitude_bounds", bounds)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of latitudes and longitudes `(H, W)`."""
        return self.latitude.shape[0], self.longitude.shape[0]

    @property
    def spacing(self) -> float:
        """Return the spacing of the longitudes (degrees)."""
        return 360.0 / self.longitude.shape[0]

    @property
    def pole_rows(self) -> bool:
        """Return whether the outermost rows lie on the poles themselves."""
        return bool(self.latitude[0] > 90 - 1e-6) and bool(self.latitude[-1] < -90 + 1e-6)

    @cached_property
    def weights(self) -> Tensor:
        """Return the area weight of the cells of each row, `(H,)` float64 with mean 1."""
        sine = torch.sin(torch.deg2rad(self.latitude_bounds))
        area = sine[:-1] - sine[1:]
        return area / area.mean()

    @cached_property
    def points(self) -> tuple[Tensor, Tensor]:
        """Return all grid points in row order: latitude `(H*W,)` and longitude `(H*W,)`."""
        latitude, longitude = torch.meshgrid(self.latitude, self.longitude, indexing="ij")
        return latitude.reshape(-1), longitude.reshape(-1)

    @cached_property
    def fingerprint(self) -> str:
        """Return the identifier of the grid, equal for coordinates that agree to 1e-4 degrees."""
        coordinates = torch.cat([self.latitude, self.longitude]).cpu()
        # Rounded to multiples of 1e-4, so that float32 and float64 files of one grid agree.
        whole = torch.round(coordinates * 1e4).to(torch.int64).tolist()
        text = f"{self.shape}:{whole}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"LatLonGrid({rows} x {columns}, fingerprint={self.fingerprint})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LatLonGrid) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LatLonGrid:
        """Move the coordinates to a device."""
        if self.latitude.device == torch.device(device):
            return self
        # Skip the checks of the constructor, each of which would wait for the device.
        moved = object.__new__(LatLonGrid)
        for name in ("latitude", "longitude", "latitude_bounds"):
            value = getattr(self, name).to(device, non_blocking=non_blocking)
            object.__setattr__(moved, name, value)
        vars(moved)["fingerprint"] = self.fingerprint
        return moved

    def coarsen(self, block: int) -> LatLonGrid:
        """Return the grid of block means over `block` x `block` cells.

        Its cells are unions of this grid's cells, its latitudes the means of their latitudes.
        Where the block does not divide the rows, the blocks at the poles have fewer
        (`block_rows`). Where it does not divide the columns, blocks overlap (`block_columns`);
        the longitudes, equally spaced, are then within half a column of the means over the blocks.

        Raises:
            UserError: The block is not between 1 and the number of rows less one.
        """
        rows, columns = self.shape
        if not 1 <= block < min(rows, columns):
            self.check_block(block, "block")
        if columns % block == 0:
            longitude = self.longitude.reshape(-1, block).mean(dim=1)
        else:
            starts = self.longitude.new_tensor(block_columns(columns, block))
            even = torch.arange(len(starts)).to(starts) * (columns / len(starts))
            middle = (block - 1) / 2 + (starts - even).mean()
            longitude = self.longitude[0] + self.spacing * (even + middle)
        if rows % block == 0:
            latitude = self.latitude.reshape(-1, block).mean(dim=1)
            return LatLonGrid(latitude, longitude, self.latitude_bounds[::block])
        edges = block_rows(rows, block)
        parts = self.latitude.split([b - a for a, b in itertools.pairwise(edges)])
        latitude = torch.stack([part.mean() for part in parts])
        return LatLonGrid(latitude, longitude, self.latitude_bounds[list(edges)])

    def check_block(self, block: int, what: str) -> None:
        """Refuse a block of cells that does not divide the grid in both directions.

        Args:
            block: Cells in each direction.
            what: Name of the setting, for the message.

        Raises:
            UserError: The block does not divide the grid; the message lists the nearest that do.
        """
        rows, columns = self.shape
        if block >= 1 and rows % block == 0 and columns % block == 0 and rows > block:
            return
        divisors = [d for d in range(1, rows) if rows % d == 0 and columns % d == 0]
        nearest = sorted(sorted(divisors, key=lambda d: abs(d - block))[:3])
        raise UserError(
            f"{what} {block} does not divide the {rows} x {columns} grid; "
            f"nearest that do: {', '.join(map(str, nearest))}"
        )

    def interpolation(self, latitude: Tensor, longitude: Tensor) -> tuple[Tensor, Tensor]:
        """Find the four grid points and weights of bilinear interpolation on the sphere.

        Between the outermost row and its pole, the interpolation runs along the meridian across
        the pole to the same row, 180 degrees of longitude away.

        Args:
            latitude: `(P,)` degrees north in [-90, 90].
            longitude: `(P,)` degrees east, in any range.

        Returns:
            `(P, 4)` int64 indices into the flattened `H*W` points, and `(P, 4)` float64
            weights, not negative, summing to 1. A point of weight 0 is replaced by one of
            positive weight, so that a missing value next to an observed one has no effect.
        """
        device = self.latitude.device
        latitude = torch.as_tensor(latitude).to(device, torch.float64)
        longitude = torch.as_tensor(longitude).to(device, torch.float64)
        rows, _ = self.shape
        beyond = torch.cat([180 - self.latitude[:1], self.latitude, -180 - self.latitude[-1:]])
        # `upper` is an index into `beyond`: 0 is the row across the north pole.
        upper = torch.searchsorted(-beyond, -latitude, right=True) - 1
        upper = upper.clamp(0, rows)
        height = beyond[upper] - beyond[upper + 1]
        below = _snap((beyond[upper] - latitude) / height.clamp(min=1e-12)).clamp(0, 1)
        index, weight = [], []
        for row, share in ((upper, 1 - below), (upper + 1, below)):
            across = (row == 0) | (row == rows + 1)
            west, east, toward_east = self._columns(longitude + 180 * across)
            inside = (row - 1).clamp(0, rows - 1)
            index += [inside * self.shape[1] + west, inside * self.shape[1] + east]
            weight += [share * (1 - toward_east), share * toward_east]
        index, weight = torch.stack(index, dim=-1), torch.stack(weight, dim=-1)
        heaviest = index.gather(-1, weight.argmax(dim=-1, keepdim=True))
        return torch.where(weight > 0, index, heaviest), weight

    def cell(self, latitude: Tensor, longitude: Tensor) -> Tensor:
        """Find the cell that contains each point.

        Args:
            latitude: `(P,)` degrees north.
            longitude: `(P,)` degrees east, in any range.

        Returns:
            `(P,)` int64 indices into the flattened `H*W` points.
        """
        rows, columns = self.shape
        latitude, longitude = (x.to(self.latitude) for x in (latitude, longitude))
        inner = self.latitude_bounds[1:-1]
        row = torch.searchsorted(-inner, -latitude.contiguous()).clamp(max=rows - 1)
        column = torch.round((longitude - self.longitude[0]) / self.spacing).to(torch.int64)
        return row * columns + column % columns

    def _columns(self, longitude: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the columns west and east of `(P,)` longitudes and the fraction of the way east."""
        count = self.shape[1]
        position = _snap((longitude - self.longitude[0]) / self.spacing)
        west = torch.floor(position)
        column = west.to(torch.int64)
        return column % count, (column + 1) % count, position - west

    def distance(self, lat1: Tensor, lon1: Tensor, lat2: Tensor, lon2: Tensor) -> Tensor:
        """Compute great-circle distances.

        Args:
            lat1: `(P1,)` degrees north.
            lon1: `(P1,)` degrees east.
            lat2: `(P2,)` degrees north.
            lon2: `(P2,)` degrees east.

        Returns:
            `(P1, P2)` km, in the precision of the arguments.
        """
        return great_circle(unit_vectors(lat1, lon1), unit_vectors(lat2, lon2))


def great_circle(one: Tensor, two: Tensor) -> Tensor:
    """Compute great-circle distances between points given by `unit_vectors`.

    Args:
        one: `(..., P1, 3)`.
        two: `(..., P2, 3)`.

    Returns:
        `(..., P1, P2)` km, in the precision of the arguments.
    """
    # From the chord, which is accurate for near points; the arc cosine of a product is not.
    square = (one[..., :, None, 0] - two[..., None, :, 0]).square_()
    for axis in (1, 2):
        square += (one[..., :, None, axis] - two[..., None, :, axis]).square_()
    half_chord = square.sqrt_().mul_(0.5).clamp_(max=1.0)
    return half_chord.asin_().mul_(2 * EARTH_RADIUS_KM)


def unit_vectors(latitude: Tensor, longitude: Tensor) -> Tensor:
    """Return points on the unit sphere `(..., 3)` at latitudes and longitudes in degrees."""
    latitude, longitude = torch.deg2rad(latitude), torch.deg2rad(longitude)
    across = torch.cos(latitude)
    return torch.stack(
        [across * torch.cos(longitude), across * torch.sin(longitude), torch.sin(latitude)], dim=-1
    )


def block_rows(rows: int, block: int) -> tuple[int, ...]:
    """Return where blocks of rows begin, and the end of the last.

    Rows that are missing to a multiple of the block are left out at both poles: half of them
    (rounded down) at the north pole, the others at the south pole.
    """
    count = -(-rows // block)
    north = (count * block - rows) // 2
    return (0, *(i * block - north for i in range(1, count)), rows)


def block_columns(columns: int, block: int) -> tuple[int, ...]:
    """Return the first column of each block of columns.

    The number of blocks is rounded up. Where the block does not divide the columns, neighbouring
    blocks overlap, all round the globe by the same number of columns up to one.
    """
    count = -(-columns // block)
    return tuple(i * columns // count for i in range(count))


def _snap(position: Tensor) -> Tensor:
    """Move positions (in cells) that agree with a grid point up to rounding onto it."""
    nearest = torch.round(position)
    return torch.where((position - nearest).abs() < _SNAP, nearest, position)


def _check_axis(name: str, values: Tensor) -> Tensor:
    """Refuse coordinates that are not distinct numbers; return the steps between them."""
    if values.ndim != 1 or values.shape[0] < 2:
        raise UserError(
            f"{name} has shape {tuple(values.shape)}; expected one dimension and at least 2 values"
        )
    if bool(torch.isnan(values).any()):
        raise UserError(f"{name} {int(values.isnan().nonzero()[0])} is NaN; expected degrees")
    steps = values[1:] - values[:-1]
    if bool((steps.abs() < 1e-6).any()):
        twice = float(values[int(steps.abs().argmin())])
        raise UserError(f"{name} {twice:g} occurs twice; expected distinct {name}s")
    return steps


def _check_latitude(latitude: Tensor) -> None:
    """Refuse latitudes that are not distinct, global and ordered from north to south."""
    steps = -_check_axis("latitude", latitude)
    first, last = float(latitude[0]), float(latitude[-1])
    if bool((latitude.abs() > 90 + 1e-6).any()):
        worst = float(latitude[latitude.abs().argmax()])
        raise UserError(f"latitude {worst:g} lies outside [-90, 90] degrees")
    if bool((steps < 0).any()):
        order = "south to north" if bool((steps < 0).all()) else "no order"
        raise UserError(
            f"latitudes run in {order} ({first:g} to {last:g}); expected north to south: flip the "
            "latitude axis of the fields and coordinates"
        )
    if 90 - first > 1.1 * float(steps[0]) or 90 + last > 1.1 * float(steps[-1]):
        raise UserError(
            f"latitudes range from {first:g} to {last:g} degrees; expected a global grid that "
            "reaches to within one spacing of both poles"
        )


def _regular_longitude(longitude: Tensor) -> Tensor:
    """Refuse longitudes that do not span the globe once; return them without rounding errors."""
    steps = _check_axis("longitude", longitude)
    count = longitude.shape[0]
    spacing = 360.0 / count
    first, last = float(longitude[0]), float(longitude[-1])
    if bool((steps < 0).any()) or first < -1e-3 * spacing or first > spacing * (1 - 1e-3):
        raise UserError(
            f"longitudes run from {first:g} to {last:g} degrees; expected eastwards from about 0 "
            "in [0, 360): roll the longitude axis of the fields and coordinates"
        )
    regular = max(first, 0.0) + spacing * torch.arange(
        count, dtype=torch.float64, device=longitude.device
    )
    if float((longitude - regular).abs().max()) > 1e-2 * spacing:
        even = math.isclose(float(steps.max()), float(steps.min()), rel_tol=1e-2)
        raise UserError(
            f"longitudes from {first:g} to {last:g} degrees are not "
            + ("global" if even else "equally spaced")
            + f"; expected {count} values {spacing:g} degrees apart, spanning the globe once"
        )
    return regular
