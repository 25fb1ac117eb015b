"""Writing the arrays of a training store (see `stores` for the layout)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from data_modules.statistics import StatisticsArrays
from data_modules.stores import SHARD_STEPS
from slams.grid import LatLonGrid

__all__ = ["canonical_json", "content_digest", "create_steps", "digest", "fingerprint"]
__all__ += ["write_coordinates", "write_elevation", "write_statistics"]


def create_steps(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dims: tuple[str, ...],
    attributes: dict[str, Any] | None = None,
) -> zarr.Array:
    """Creates a float32 array over time: one step a chunk, `SHARD_STEPS` steps a file.

    One step a chunk, because windows are short and drawn at random; a file for many of them,
    because file systems suffer from millions of small files. Every chunk carries a checksum.
    """
    return group.create_array(
        name,
        shape=shape,
        dtype="float32",
        chunks=(1, *shape[1:]),
        shards=(SHARD_STEPS, *shape[1:]),
        compressors=[
            BloscCodec(typesize=4, cname="lz4", clevel=5, shuffle="shuffle"),
            Crc32cCodec(),
        ],
        fill_value=float("nan"),
        dimension_names=dims,
        attributes=attributes or {},
        # A chunk that is missing throughout is written too: a lost file is told from it.
        config={"write_empty_chunks": True},
    )


def write_coordinates(group: zarr.Group, time: np.ndarray, grid: LatLonGrid) -> None:
    """Writes time (days since 1970-01-01), latitude and longitude (degrees)."""
    values = {
        "time": (time, {"units": "days since 1970-01-01 00:00:00", "calendar": "standard"}),
        "latitude": (grid.latitude.numpy(), {"units": "degrees_north"}),
        "longitude": (grid.longitude.numpy(), {"units": "degrees_east"}),
    }
    for name, (array, attributes) in values.items():
        _small(group, name, array, (name,), attributes)


def write_elevation(group: zarr.Group, elevation: np.ndarray) -> None:
    """Writes the model's terrain, `(H, W)` m above sea level."""
    values = np.asarray(elevation, dtype=np.float64)
    _small(group, "surface_elevation", values, ("latitude", "longitude"), {"units": "m"})


def write_statistics(group: zarr.Group, statistics: StatisticsArrays, grid: LatLonGrid) -> None:
    """Writes the group `statistics`; a flattened grid is given its shape again."""
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
        array = np.asarray(getattr(statistics, name))
        if name != "lags":
            array = array.reshape(*array.shape[: len(dims) - 2], *grid.shape)
        _small(target, name, array, dims)


def digest(values: np.ndarray) -> str:
    """Gives the sha256 of fields."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()


def content_digest(group: zarr.Group) -> str:
    """Gives the sha256 of what is in a store beside its fields."""
    total = hashlib.sha256()
    beside = ("time", "latitude", "longitude", "surface_elevation", "stations", "satellite")
    for name in beside:
        if name in group:
            total.update(np.ascontiguousarray(group[name][...]).tobytes())
    for name in sorted(group["statistics"].array_keys()):
        total.update(np.ascontiguousarray(group["statistics"][name][...]).tobytes())
    return total.hexdigest()


def fingerprint(digests: list[str], content: str, recipe: str, channels: list[str]) -> str:
    """Combines content and recipe into the store's fingerprint.

    Args:
        digests: Of the fields, one for `SHARD_STEPS` steps.
        content: `content_digest` of the rest.
        recipe: `recipe.store_recipe` as JSON.
        channels: Names of the channels.
    """
    keys = json.loads(recipe)
    # Paths are left out: a copy in another place is the same data.
    sources = keys.get("sources") or [keys["source"]]
    for source in sources:
        source.pop("path")
        source.pop("grid")
    keys.pop("statistics_from")
    parts = [*digests, content, canonical_json(keys), canonical_json(channels)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Writes plain containers as JSON that is the same for equal values."""
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
