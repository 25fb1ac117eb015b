"""Weather stations: bilinear interpolation to irregular points on the sphere.

    y_p = sum_i w_pi f_i - lapse_rate (station_p - model_p)

The second term adjusts near-surface temperature from the elevation of the model's terrain to that
of the station, if both are known; other channels have no such term.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.operator import WeightedOperator

__all__ = ["StationOperator", "check_positions"]

# Channels that depend on the elevation; temperature on a pressure level does not.
_TERRAIN_CHANNELS = ("2m_temperature",)


class StationOperator(WeightedOperator):
    """Operator of one channel at stations.

    Args:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        channel_name: Name of the observed channel, `variable` or `variable@level`.
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east in [-180, 360].
        elevation: `(P,)` m above sea level, NaN where unknown.
        model_elevation: `(H, W)` m, the terrain of the model, NaN where unknown.
        lapse_rate: Decrease of temperature with height (K m-1).
        names: `P` station names for messages; numbers by default.

    Attributes:
        offset: `(P,)` K, 0 where an elevation is unknown; `None` without correction.

    Raises:
        UserError: The position of a station is invalid, shapes disagree, or the channel is
            unknown.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        channel_name: str,
        latitude: Tensor,
        longitude: Tensor,
        elevation: Tensor | None = None,
        model_elevation: Tensor | None = None,
        lapse_rate: float = 0.0065,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(grid, channels, channel_name)
        device = grid.latitude.device
        self.latitude = torch.as_tensor(latitude).to(device, torch.float64)
        self.longitude = torch.as_tensor(longitude).to(device, torch.float64)
        check_positions(self.latitude, self.longitude, names)
        self._index, self._weight = grid.interpolation(self.latitude, self.longitude)
        if (
            elevation is not None
            and model_elevation is not None
            and channels[self.channel].name in _TERRAIN_CHANNELS
        ):
            self.offset = self._elevation_offset(
                torch.as_tensor(elevation).to(device, torch.float64),
                torch.as_tensor(model_elevation).to(device, torch.float64),
                lapse_rate,
            )

    def _elevation_offset(
        self, elevation: Tensor, model_elevation: Tensor, lapse_rate: float
    ) -> Tensor:
        """Return the change of temperature from the model's terrain to the stations', `(P,)` K."""
        rows, columns = self.state_shape[1:]
        if elevation.shape != self.latitude.shape or model_elevation.shape != (rows, columns):
            raise UserError(
                f"elevations of {elevation.numel()} stations and of a "
                f"{' x '.join(map(str, model_elevation.shape))} model terrain; expected "
                f"{len(self)} stations and {rows} x {columns}"
            )
        height = elevation - self._observe(model_elevation)
        return torch.nan_to_num(-lapse_rate * height, nan=0.0)

    def select(self, stations: Tensor) -> StationOperator:
        """Return the operator of some of the stations.

        Args:
            stations: `(Q,)` int64, indices of the stations to keep.
        """
        chosen = copy.copy(self)
        for name in ("latitude", "longitude", "_index", "_weight", "offset"):
            value = getattr(self, name)
            if value is not None:
                setattr(chosen, name, value[stations.to(value.device)])
        return chosen


def check_positions(
    latitude: Tensor, longitude: Tensor, names: Sequence[str] | None = None
) -> None:
    """Refuse stations with invalid positions.

    Args:
        latitude: `(P,)` degrees north.
        longitude: `(P,)` degrees east.
        names: `P` station names for the message.

    Raises:
        UserError: A latitude lies outside [-90, 90], a longitude outside [-180, 360], one of
            them is NaN, there is no station, or the numbers of coordinates disagree.
    """
    if latitude.ndim != 1 or latitude.shape != longitude.shape or not latitude.numel():
        raise UserError(
            f"stations have latitudes {tuple(latitude.shape)} and longitudes "
            f"{tuple(longitude.shape)}; expected the same number of each, at least one"
        )
    for what, values, low, high in (
        ("latitude", latitude, -90, 90),
        ("longitude", longitude, -180, 360),
    ):
        # Written so that NaN counts as outside.
        outside = (~((values >= low) & (values <= high))).nonzero()
        if len(outside):
            number = int(outside[0])
            name = names[number] if names is not None else f"number {number}"
            raise UserError(
                f"station {name}: {what} {float(values[number]):g} lies outside [{low}, {high}] "
                "degrees"
            )
