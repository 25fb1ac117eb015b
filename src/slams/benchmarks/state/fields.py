"""Fields that states are made of: normalised anomalies of rows of latitude, in memory.

Products of wind and temperature gradient are fields too, one per wind component and level: with
`u, T` the whole fields in channel units, bars for their climatology and differences of neighbours,

    u dT/dx - ubar dTbar/dx,    v dT/dy - vbar dTbar/dy.

Whole fields are used, so that the climatological wind carries anomalies and the wind's anomaly
carries the climatology; factors that are constant along a row (the metric) are left to the
regression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_modules.store.training_store import TrainingStore, iso_date
from slams.benchmarks.state.recipe import STATES
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.normalisation import Normaliser

__all__ = ["Band", "StateChannels", "choose_channels", "read_band", "store_levels"]

_TARGET = "temperature"
_SURFACE = ("2m_temperature", "total_precipitation_24hr", "outgoing_longwave_radiation")
_WINDS = ("u_component_of_wind", "v_component_of_wind")
_HUMIDITY = "specific_humidity"
# Days read and normalised at a time.
_CHUNK = 64


@dataclass(frozen=True)
class StateChannels:
    """Channels that are read, and their role in a state.

    Attributes:
        specs: The `C` channels, in the order of the fields.
        index: Positions of the channels of each group: `temperature`, the target, `surface`,
            `pressure`, `winds_3`, `winds` (winds and humidity at the other levels).
        products: Positions `(wind, temperature)` and axis (-1 for x, -2 for y) of each product;
            their fields follow those of the channels.
        product_index: Positions of the products of `winds_3` and `winds` among all fields.
    """

    specs: tuple[FieldSpec, ...]
    index: Mapping[str, tuple[int, ...]]
    products: tuple[tuple[int, int, int], ...]
    product_index: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Band:
    """Fields of neighbouring rows of latitude.

    Attributes:
        values: `(C + P, R, N, W)` normalised anomalies of the channels and `P` products of `R`
            rows and `N` days; products are in units of the standard deviations of wind and
            temperature, row by row.
        sd: `(L, R, W)` standard deviation of the target (K).
        first: Number of the first row.
    """

    values: Tensor
    sd: Tensor
    first: int


def store_levels(store: TrainingStore, variable: str = _TARGET) -> list[int]:
    """Return the levels (hPa) at which a store has a variable, by default the target."""
    return [channel.level for channel in store.channels if channel.variable == variable]


def choose_channels(
    store: TrainingStore, levels: Sequence[int], states: Sequence[str]
) -> StateChannels:
    """Sort the channels of a store into groups.

    Args:
        store: The store.
        levels: Levels (hPa) of `winds_3`.
        states: States to compare.

    Raises:
        UserError: The store lacks a channel that a state needs.
    """
    at = {(c.variable, c.level): i for i, c in enumerate(store.channels)}
    heights = store_levels(store)
    near = [v for level in levels for v in [*((w, level) for w in _WINDS), (_HUMIDITY, level)]]
    moist = store_levels(store, _HUMIDITY)
    far = [(w, level) for w in _WINDS for level in heights] + [(_HUMIDITY, h) for h in moist]
    wanted = {
        "temperature": [(_TARGET, level) for level in heights],
        "surface": [(name, None) for name in _SURFACE],
        "pressure": [("surface_pressure", None)],
        # The store has humidity at low levels only.
        "winds_3": [v for v in near if v[0] != _HUMIDITY or v[1] in moist],
        "winds": [v for v in far if v not in near],
    }
    used = set().union(*(STATES[state].groups for state in states)) - {"before"}
    keys = [key for group, keys in wanted.items() if group in used for key in keys]
    missing = [
        f"{name}@{level}" if level else name for name, level in keys if (name, level) not in at
    ]
    if not heights:
        missing = ["temperature"]
    if {"winds_3", "winds"} & used and not moist:
        missing.append(_HUMIDITY)
    if missing:
        raise UserError(
            f"key 'store': training store {store.path} lacks {', '.join(missing)}, which the "
            f"states {', '.join(states)} need; prepare a store that has them, or choose other "
            f"states"
        )
    place = {key: i for i, key in enumerate(keys)}
    products, product_index = [], {}
    for group in ("winds_3", "winds"):
        pairs = [v for v in wanted[group] if v in place and v[0] in _WINDS]
        pairs = [v for v in pairs if v[1] in heights]
        start = len(keys) + len(products)
        product_index[group] = tuple(range(start, start + len(pairs)))
        products += [
            (place[w, level], place[_TARGET, level], -1 if w == _WINDS[0] else -2)
            for w, level in pairs
        ]
    return StateChannels(
        specs=tuple(store.channels[at[key]] for key in keys),
        index={g: tuple(place[k] for k in ks if k in place) for g, ks in wanted.items()},
        products=tuple(products),
        product_index=product_index,
    )


def read_band(
    store: TrainingStore,
    channels: StateChannels,
    position: np.ndarray,
    rows: range,
    margin: int = 0,
    products: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Band:
    """Read the fields of some rows of latitude and of those around them.

    Args:
        store: The store.
        channels: Channels to read.
        position: `(N,)` days, as positions on the store's time axis.
        rows: Rows of latitude.
        margin: Additional rows on either side, cut at the poles.
        products: Whether to make products.
        dtype: Data type of the fields in memory.

    Raises:
        UserError: A value is missing, or a file is damaged.
    """
    store = store.select([spec.name for spec in channels.specs])
    height, width = store.grid.shape
    # A product needs the rows on either side of its own.
    low, high = max(rows.start - margin - 1, 0), min(rows.stop + margin + 1, height)
    statistics = store.statistics
    normaliser = Normaliser(
        store.channels, statistics.harmonics[:, :, low:high], statistics.sd[:, low:high]
    )
    pairs = channels.products if products else ()
    count = len(channels.specs)
    typical = normaliser.sd.mean(dim=-1)
    sizes = [typical[wind] * typical[temperature] for wind, temperature, _ in pairs]
    values = torch.empty(count + len(pairs), high - low, len(position), width, dtype=dtype)
    for first in range(0, len(position), _CHUNK):
        chosen = position[first : first + _CHUNK]
        fields = torch.from_numpy(store.read(chosen)[:, :, low:high])
        _refuse_missing(fields, store, chosen)
        climatology = normaliser.climatology(torch.from_numpy(store.time[chosen])[:, None])[:, 0]
        whole = normaliser.to_channel_units(fields)
        out = values[:, :, first : first + len(chosen)]
        out[:count] = ((whole - climatology) / normaliser.sd).permute(1, 2, 0, 3)
        for number, (wind, temperature, axis) in enumerate(pairs):
            product = whole[:, wind] * _difference(whole[:, temperature], axis)
            product -= climatology[:, wind] * _difference(climatology[:, temperature], axis)
            out[count + number] = product.permute(1, 0, 2) / sizes[number][:, None, None]
    targets = list(channels.index["temperature"])
    return Band(values, normaliser.sd[targets], low)


def _difference(field: Tensor, axis: int) -> Tensor:
    """Subtract neighbours along longitude (-1) or latitude (-2, one-sided at the ends)."""
    if axis == -1:
        return (field.roll(-1, dims=-1) - field.roll(1, dims=-1)) / 2
    return torch.gradient(field, dim=-2)[0]


def _refuse_missing(fields: Tensor, store: TrainingStore, position: np.ndarray) -> None:
    if bool(fields.isfinite().all()):
        return
    day, channel = (~fields.isfinite()).nonzero()[0, :2].tolist()
    raise UserError(
        f"key 'store': {store.channels[channel].name} is missing in places on "
        f"{iso_date(store.time[position[day]])} in training store {store.path}; this benchmark "
        f"needs whole fields"
    )
