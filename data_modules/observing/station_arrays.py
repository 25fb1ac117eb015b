"""The stations of a training store: their list and the array of their values.

    station_id (station, character)                 uint8, UTF-8 padded with zero bytes
    station_latitude, _longitude, _elevation        float64, elevation NaN where unknown
    stations (time, station, variable)              float32 channel units, NaN missing
    station_errors (time, station, variable)        float32 channel units, standard deviation of
                                                    the error that the reports state, NaN where
                                                    they do not; absent where none does
    station_hours (time, station, variable)         float32, hours from the time of the step to
                                                    that of the reports; absent for steps of a day

The attributes of `stations` are its variables and units; for real reports also the `counts`,
`repairs`, `left_out` and `conventions` of their preparation (`data_modules.preparation.in_situ`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import zarr

from data_modules.observing.observers import StationObserver
from data_modules.store.training_store import TrainingStore
from data_modules.store.writing import create_steps
from slams.observations.networks import Network

__all__ = ["ERRORS", "HOURS", "create_beside", "create_stations", "read_stations"]

ERRORS, HOURS = "station_errors", "station_hours"

_COORDINATES = {"latitude": "degrees_north", "longitude": "degrees_east", "elevation": "m"}


def create_stations(
    group: zarr.Group,
    observer: StationObserver,
    steps: int,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array:
    """Write the list of stations and create the array of their values.

    Args:
        group: The store.
        observer: The observer of the stations.
        steps: Days of the store.
        attributes: Further attributes of the array.
    """
    network = observer.network
    for name, units in _COORDINATES.items():
        group.create_array(
            f"station_{name}",
            data=getattr(network, name).numpy(),
            dimension_names=("station",),
            attributes={"units": units},
        )
    # Fixed-width bytes: variable-length strings are not part of the Zarr format 3 core.
    ids = np.array([name.encode() for name in network.id])
    group.create_array(
        "station_id",
        data=np.frombuffer(ids.tobytes(), dtype=np.uint8).reshape(len(ids), -1),
        dimension_names=("station", "character"),
        attributes={"comment": "UTF-8, padded with zero bytes"},
    )
    names = list(observer.operators)
    return create_steps(
        group,
        "stations",
        (steps, len(network.id), len(names)),
        ("time", "station", "variable"),
        {
            "variables": [name.partition("/")[2] for name in names],
            "units": [operator.units for operator in observer.operators.values()],
            **(attributes or {}),
        },
    )


def create_beside(group: zarr.Group, name: str) -> zarr.Array:
    """Create an array beside that of the values: `ERRORS` that reports state, or `HOURS`."""
    values = group["stations"]
    names = {"variables": values.attrs["variables"]}
    names["units"] = values.attrs["units"] if name == ERRORS else "h"
    return create_steps(group, name, values.shape, ("time", "station", "variable"), names)


def read_stations(store: TrainingStore) -> Network:
    """Read the list of stations of a store.

    Raises:
        UserError: A file of the list is missing or corrupt.
    """
    numbers = {
        name: torch.from_numpy(store.read_small(f"station_{name}", np.float64))
        for name in _COORDINATES
    }
    names = store.read_small("station_id", np.uint8)
    return Network(id=tuple(bytes(n).rstrip(b"\0").decode() for n in names), **numbers)
