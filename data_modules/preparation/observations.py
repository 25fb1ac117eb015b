"""Writing observations, drawn or real, into the training store."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
import zarr

from data_modules.observing.observers import SatelliteObserver, StationObserver
from data_modules.observing.station_arrays import ERRORS, HOURS, create_beside, create_stations
from data_modules.preparation.blocks import channel_units
from data_modules.preparation.imagery import write_imagery
from data_modules.preparation.in_situ.archive import station_days
from data_modules.preparation.job import Job
from data_modules.preparation.plan import Plan
from data_modules.store.training_store import SHARD_STEPS
from data_modules.store.writing import create_steps
from slams.calendar.steps import steps_per_day
from slams.normalisation import Normaliser
from slams.runtime.memory import return_freed_memory
from slams.runtime.ranks import say

__all__ = ["draw_observations"]

# Steps of fields that are observed at a time, a divisor of the steps of any larger file.
_READ_STEPS = 8


def draw_observations(job: Job, work: Plan, group: zarr.Group) -> None:
    """Observe every day of a store that is being written, and write `stations`, `satellite`.

    Where the stations have an archive of reports, or the imagery files, their values are written
    instead of drawn ones.

    Values are in channel units (K, log(1 + mm day-1), W m-2), NaN where nothing is observed.

    Args:
        job: The preparation, whose seed draws the observations.
        work: Its plan, with the channels, grid and time axis of the store.
        group: The store, with its fields written.

    Raises:
        UserError: Stations, errors, channels or footprint are invalid.
    """
    # The fields are written: what their tasks left behind would come on top of the reports.
    return_freed_memory()
    observations, time, channels, grid = job.observations, work.time, work.channels, work.grid
    observers: dict[str, StationObserver | SatelliteObserver] = {}
    arrays: dict[str, zarr.Array] = {}
    if "stations" in observations.use:
        if observations.stations.source.kind:
            _write_reports(job, work, group)
        else:
            stations = StationObserver(
                observations.stations, job.seed, channels, grid, _terrain(group)
            )
            observers["stations"] = stations
            arrays["stations"] = create_stations(group, stations, len(time))
    if "satellite" in observations.use and observations.satellite.source.kind:
        write_imagery(job, work, group, work.steps)
    elif "satellite" in observations.use:
        satellite = SatelliteObserver(observations.satellite, job.seed, channels, grid, work.step)
        observers["satellite"] = satellite
        arrays["satellite"] = _create_satellite(group, satellite, len(time))
    # A few steps are read at a time, because each is held in single and double precision;
    # observations are small and are written as whole files, so that each is written once.
    read_steps = min(_READ_STEPS, group["fields"].shards[0])
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in observers}
    for start in range(0, len(time) if observers else 0, read_steps):
        stop = min(start + read_steps, len(time))
        fields = channel_units(np.asarray(group["fields"][start:stop]), channels)
        # In single precision, as in the DataModules, so that the values are identical.
        truth = torch.from_numpy(fields.astype(np.float32))
        truth = truth.reshape(stop - start, 1, len(channels), *grid.shape)
        days = torch.from_numpy(time[start:stop]).unsqueeze(1)
        case = torch.arange(start, stop)
        for name, observer in observers.items():
            found = observer(truth, torch.isfinite(truth), days, case)
            values = torch.stack([o.values[:, 0] for o in found], dim=-1).numpy()
            if name == "satellite":
                values = values.transpose(0, 2, 1)
            drawn[name].append(values.reshape(stop - start, *arrays[name].shape[1:]))
        if stop % SHARD_STEPS == 0 or stop == len(time):
            for name, values in drawn.items():
                block = np.concatenate(values)
                arrays[name][stop - len(block) : stop] = block
                values.clear()


def _write_reports(job: Job, work: Plan, group: zarr.Group) -> None:
    """Write real station reports, with a record of their processing."""
    stations, channels, grid = job.observations.stations, work.channels, work.grid
    harmonics, sd = (
        torch.from_numpy(np.asarray(group[f"statistics/{name}"][...]))
        for name in ("harmonics", "sd")
    )
    terrain = _terrain(group)
    normaliser = Normaliser(channels, harmonics, sd, steps_per_day(work.step))
    found = station_days(stations, channels, grid, work.time, normaliser, terrain, work.steps)
    for line in found.lines():
        say(line)
    array = create_stations(
        group,
        StationObserver(stations, job.seed, channels, grid, terrain, found.network),
        len(work.time),
        {
            "counts": dict(found.counts),
            "repairs": dict(found.repairs),
            "left_out": [asdict(one) for one in found.left_out],
            "conventions": dict(found.conventions),
            "elevation_correction": "none: the store has no terrain"
            if terrain is None
            else f"{stations.lapse_rate:g} K m-1",
        },
    )
    _write_days(array, found.values, found.first)
    if found.errors is not None:
        _write_days(create_beside(group, ERRORS), found.errors, found.first)
    if found.hours is not None:
        _write_days(create_beside(group, HOURS), found.hours, found.first)


def _write_days(array: zarr.Array, values: np.ndarray, first: int) -> None:
    """Write the values of some days; outside of them they are missing."""
    # Whole files, each written once.
    steps, days = array.shards[0], array.shape[0]
    for start in range(0, days, steps):
        rows = np.arange(start, min(start + steps, days)) - first
        inside = (rows >= 0) & (rows < len(values))
        block = np.full((len(rows), *array.shape[1:]), np.nan, dtype=np.float32)
        block[inside] = values[rows[inside]]
        array[start : start + len(rows)] = block


def _create_satellite(group: zarr.Group, observer: SatelliteObserver, steps: int) -> zarr.Array:
    ((name, operator),) = observer.operators.items()
    return create_steps(
        group,
        "satellite",
        (steps, 1, *operator.image_shape),
        ("time", "satellite_channel", "y", "x"),
        {"channels": [name.partition("/")[2]], "units": [operator.units]},
    )


def _terrain(group: zarr.Group) -> torch.Tensor | None:
    if "surface_elevation" not in group:
        return None
    return torch.from_numpy(np.asarray(group["surface_elevation"][...], dtype=np.float64))
