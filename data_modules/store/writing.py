"""Writing the arrays of a training store (see `training_store` for the layout)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from data_modules.store.checks import STEP_ARRAYS
from data_modules.store.training_store import Statistics, shard_steps
from slams.calendar.days import TIME_UNITS
from slams.grid import LatLonGrid

__all__ = [
    "STEP_ARRAYS",
    "beside_fields",
    "canonical_json",
    "content_digest",
    "create_steps",
    "digest",
    "digest_days",
    "fingerprint",
    "write_coordinates",
    "write_elevation",
    "write_statistics",
]


def create_steps(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dims: tuple[str, ...],
    attributes: dict[str, Any] | None = None,
) -> zarr.Array:
    """Create a float32 array over time: one step per chunk, `shard_steps` steps per file.

    One step per chunk, because windows are short and drawn at random; many steps per file,
    because millions of small files are slow on file systems. Every chunk has a checksum.
    """
    return group.create_array(
        name,
        shape=shape,
        dtype="float32",
        chunks=(1, *shape[1:]),
        shards=(shard_steps(math.prod(shape[1:])), *shape[1:]),
        compressors=[
            BloscCodec(typesize=4, cname="lz4", clevel=5, shuffle="shuffle"),
            Crc32cCodec(),
        ],
        fill_value=float("nan"),
        dimension_names=dims,
        attributes=attributes or {},
        # Chunks of missing values are written too, so that a lost file can be detected.
        config={"write_empty_chunks": True},
    )


def write_coordinates(group: zarr.Group, time: np.ndarray, grid: LatLonGrid) -> None:
    """Write time (days since 1970-01-01), latitude and longitude (degrees)."""
    values = {
        "time": (time, {"units": TIME_UNITS, "calendar": "standard"}),
        "latitude": (grid.latitude.numpy(), {"units": "degrees_north"}),
        "longitude": (grid.longitude.numpy(), {"units": "degrees_east"}),
    }
    for name, (array, attributes) in values.items():
        _small(group, name, array, (name,), attributes)


def write_elevation(group: zarr.Group, elevation: np.ndarray) -> None:
    """Write the model's terrain, `(H, W)` m above sea level."""
    values = np.asarray(elevation, dtype=np.float64)
    _small(group, "surface_elevation", values, ("latitude", "longitude"), {"units": "m"})


def write_statistics(group: zarr.Group, statistics: Statistics) -> None:
    """Write the group `statistics`."""
    target = group.create_group("statistics")
    plane = ("channel", "latitude", "longitude")
    names = {
        "harmonics": ("coefficient", *plane),
        "sd": plane,
        "lags": ("lag",),
        "persistence": ("lag", *plane),
        "persistence_variance": ("lag", *plane),
    }
    for name, dims in names.items():
        _small(target, name, np.asarray(getattr(statistics, name)), dims)


def digest(values: np.ndarray) -> str:
    """Return the sha256 of fields."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").data).hexdigest()


def digest_days(time: np.ndarray) -> str:
    """Return the sha256 of a time axis (days since 1970-01-01)."""
    return hashlib.sha256(np.ascontiguousarray(time, dtype="<f8").data).hexdigest()


def beside_fields(group: zarr.Group) -> Iterator[tuple[str, zarr.Array]]:
    """Yield the arrays, other than the fields, that belong to a store's content, by name."""
    names = ["time", "latitude", "longitude", "surface_elevation", *STEP_ARRAYS]
    if "stations" in group and "counts" in group["stations"].attrs:
        # Drawn stations are determined by the recipe; real ones depend on their archive.
        names += ["station_id", "station_latitude", "station_longitude", "station_elevation"]
    # The grid of images from files.
    names += [f"satellite_{part}" for part in ("latitude", "longitude", "bounds", "spacing")]
    for name in names:
        if name in group:
            yield name, group[name]
    for name in sorted(group["statistics"].array_keys()):
        yield f"statistics/{name}", group["statistics"][name]


def content_digest(group: zarr.Group) -> str:
    """Return the sha256 of a store's content other than its fields."""
    total = hashlib.sha256()
    for _, array in beside_fields(group):
        # File by file: satellite images may not fit into memory.
        steps = array.shards[0] if array.shards else max(array.shape[0], 1)
        for start in range(0, array.shape[0], steps):
            total.update(np.ascontiguousarray(array[start : start + steps]).data)
    return total.hexdigest()


def fingerprint(digests: list[str], content: str, recipe: str, channels: list[str]) -> str:
    """Combine content and recipe into the store's fingerprint.

    Args:
        digests: Digests of the fields, one per file.
        content: `content_digest` of the other arrays.
        recipe: `identity.store_recipe` as JSON.
        channels: Names of the channels.
    """
    keys = json.loads(recipe)
    # Paths are left out: a copy at another path has the same data.
    sources = keys.get("sources") or [keys["source"]]
    for source in sources:
        for name in ("path", "files", "grid"):
            source.pop(name, None)
    keys.pop("statistics_from")
    for modality in ("stations", "satellite"):
        archive = ((keys["observations"] or {}).get(modality) or {}).get("source") or {}
        for name in ("path", "station_list"):
            archive.pop(name, None)
    parts = [*digests, content, canonical_json(keys), canonical_json(channels)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Return plain containers as JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True)


def _small(
    group: zarr.Group,
    name: str,
    values: np.ndarray,
    dims: tuple[str, ...],
    attributes: dict[str, Any] | None = None,
) -> None:
    group.create_array(
        name,
        data=np.ascontiguousarray(values),
        chunks=values.shape,
        compressors=BloscCodec(
            typesize=values.dtype.itemsize, cname="zstd", clevel=5, shuffle="shuffle"
        ),
        dimension_names=dims,
        attributes=attributes or {},
    )
