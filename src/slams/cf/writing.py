"""Writing of CF datasets as NetCDF-4 or Zarr, completely or not at all."""

from __future__ import annotations

import math
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from slams.cf.coordinates import MEMBER_COUNT, TIME_ENCODING
from slams.cf.packing import pack
from slams.errors import UserError
from slams.runtime.atomic import replacing, replacing_store
from slams.runtime.failures import FULL, refused_write

__all__ = ["check_output", "write_dataset", "write_zarr"]

# A chunk is one time, with all members and levels where that is not too large to read for a map.
_CHUNK_BYTES = 4 * 2**20
# Every reader of NetCDF-4 has zlib; the checksum detects a flipped bit.
_NETCDF = {"zlib": True, "complevel": 4, "shuffle": True, "fletcher32": True}
# What packing has chosen, and what an earlier file would otherwise leave behind.
_PACKING = ("dtype", "scale_factor", "add_offset", "_FillValue")
# A disk with less free space than this (bytes) is full: HDF5 does not say why a write failed.
_NOTHING = 16 * 2**20


def write_dataset(
    dataset: xr.Dataset, path: Path, packed: bool = False, split_members: bool = False
) -> list[Path]:
    """Write a dataset of `slams.cf`; an existing file is replaced when the new one is complete.

    Args:
        dataset: The dataset.
        path: `NAME.nc` for NetCDF-4, `NAME.zarr` for Zarr version 3.
        packed: Whether to store fields as 16-bit integers (`slams.cf.packing`).
        split_members: Whether to write mean, spread and counts to `path`, and each member to a
            file beside it, `NAME_member_01.nc`. No variable has more than four dimensions then,
            which is what CDO can read. Files of members that are left from a larger ensemble are
            removed.

    Returns:
        The files, `path` first.

    Raises:
        UserError: The name has another suffix, its folder does not exist, something else is in
            its place, the dataset has no members to split, or the disk refuses the file.
    """
    path = Path(path)
    check_output(path)
    form = _FORMATS[path.suffix]
    # Packed first, so that members have one scale.
    whole = pack(dataset) if packed else dataset
    files = dict(_parts(whole, path)) if split_members else {path: whole}
    for place in files:
        _check_place(place)
    try:
        # Contexts end in reverse order: `path` is replaced after its members.
        with ExitStack() as stack:
            for place, part in files.items():
                temporary = stack.enter_context(form.replacing(place))
                try:
                    form.write(part, temporary, packed)
                except (OSError, RuntimeError) as error:  # HDF5 raises the latter
                    raise _refused(place, error) from error
    except OSError as error:
        raise _refused(path, error) from error
    if split_members:
        for place in set(_member_files(path)) - set(files):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    return list(files)


def check_output(path: Path) -> None:
    """Refuse a path to which no dataset can be written, before it is computed.

    Raises:
        UserError: The name has another suffix, its folder does not exist, or something else is in
            its place.
    """
    if path.suffix not in _FORMATS:
        raise UserError(f"output {path}: found the suffix {path.suffix!r}, expected .nc or .zarr")
    _check_place(path)


def write_zarr(
    dataset: xr.Dataset,
    store: Path,
    packed: bool = False,
    group: str | None = None,
    append: bool = False,
) -> None:
    """Write a dataset into a Zarr store (format 3), with a checksum of each chunk.

    Args:
        dataset: The dataset.
        store: The store, which need not exist; other groups are kept.
        packed: Whether the dataset is that of `slams.cf.packing`.
        group: The group to write; `None` for the root.
        append: Whether to append to the times of the group, which has the same variables.
    """
    from zarr.codecs import ZstdCodec
    from zarr.errors import ZarrUserWarning

    compressed = {"compressors": (ZstdCodec(level=0, checksum=True),)}
    part = _encoded(dataset, compressed, "chunks", packed)
    how = {"append_dim": "time"} if append else {"mode": "a"}
    with warnings.catch_warnings():
        # Without consolidated metadata, `xr.open_zarr` warns whoever reads the store.
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        part.to_zarr(store, group=group, zarr_format=3, consolidated=True, **how)


def _write_netcdf(dataset: xr.Dataset, path: Path, packed: bool) -> None:
    part = _encoded(dataset, _NETCDF, "chunksizes", packed)
    # Times can be appended, by `ncrcat` too.
    unlimited = ["time"] if "time" in part.dims else []
    part.to_netcdf(path, engine="netcdf4", format="NETCDF4", unlimited_dims=unlimited)


def _encoded(
    dataset: xr.Dataset, compressed: dict[str, Any], chunks: str, packed: bool
) -> xr.Dataset:
    """Return a dataset with the encoding of a format, and nothing of an earlier file's."""
    part = dataset.copy()
    for variable in part.variables.values():
        before = variable.encoding
        encoding = {"bounds": before["bounds"]} if "bounds" in before else {}
        encoding |= compressed if variable.ndim else {}
        encoding["coordinates"] = None
        if variable.dtype.kind == "M":
            encoding |= TIME_ENCODING
        elif "longitude" in variable.dims and "latitude" in variable.dims:
            encoding[chunks] = _chunk(variable)
            if variable.chunks is not None:  # of dask: two must not write one chunk
                variable.data = variable.data.rechunk(encoding[chunks])
            encoding["coordinates"] = " ".join(_auxiliary(part, variable)) or None
            encoding |= {key: before[key] for key in _PACKING if packed and key in before}
        elif variable.dtype.kind == "f":
            encoding["_FillValue"] = None  # coordinates are never missing
        variable.encoding = encoding
    return part


def _auxiliary(dataset: xr.Dataset, variable: xr.Variable) -> Iterator[str]:
    """Iterate over the coordinates of a variable that are not axes."""
    derived = "realization: " in variable.attrs.get("cell_methods", "")
    for name, coordinate in dataset.coords.items():
        fits = name not in dataset.dims and set(coordinate.dims) <= set(variable.dims)
        if fits and (derived or name != MEMBER_COUNT):
            yield str(name)


def _chunk(variable: xr.Variable) -> tuple[int, ...]:
    sizes = {dim: 1 if dim == "time" else size for dim, size in variable.sizes.items()}
    for dim in ("realization", "level"):
        if dim in sizes and math.prod(sizes.values()) * variable.dtype.itemsize > _CHUNK_BYTES:
            sizes[dim] = 1
    return tuple(sizes.values())


def _parts(dataset: xr.Dataset, path: Path) -> Iterator[tuple[Path, xr.Dataset]]:
    """Iterate over the files of a dataset that is split: what has no members, then the members."""
    fields = {n for n, v in dataset.data_vars.items() if {"latitude", "longitude"} <= {*v.dims}}
    members = {name for name in fields if "realization" in dataset[name].dims}
    if not members:
        raise UserError(f"output {path}: the dataset has no members to split, expected some")
    yield path, dataset.drop_vars([*members, "realization"])
    alone = dataset.drop_vars([*(fields - members), MEMBER_COUNT], errors="ignore")
    numbers = dataset["realization"].values.tolist()
    width = max(2, len(str(max(numbers))))
    for position, number in enumerate(numbers):
        one = alone.isel(realization=position)
        for name in members:  # what they name is in the other file
            one[name].attrs.pop("ancillary_variables", None)
        yield path.with_name(f"{path.stem}_member_{number:0{width}d}{path.suffix}"), one


def _member_files(path: Path) -> list[Path]:
    name = re.compile(rf"{re.escape(path.stem)}_member_\d+{re.escape(path.suffix)}")
    return [other for other in path.parent.iterdir() if name.fullmatch(other.name)]


def _check_place(path: Path) -> None:
    """Refuse a place whose folder is missing, or where something else would be removed."""
    if not path.parent.is_dir():
        raise UserError(f"output {path}: the folder {path.parent} does not exist; make it first")
    if path.suffix == ".nc" and path.is_dir():
        raise UserError(f"output {path}: a directory is in its place; choose another name")
    store = path.is_dir() and ((path / "zarr.json").exists() or not any(path.iterdir()))
    if path.suffix == ".zarr" and path.exists() and not store:
        raise UserError(
            f"output {path}: what is in its place is not a Zarr store of format 3; choose another "
            f"name, or move it away"
        )


def _refused(path: Path, error: BaseException) -> UserError:
    reason = refused_write(error)
    if reason is None and shutil.disk_usage(path.parent).free < _NOTHING:
        reason = FULL
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"output {path} cannot be written: {reason or words}; make room, check permissions and "
        f"limits on the size of files, or choose another folder"
    )


@dataclass(frozen=True)
class _Format:
    """How files of a format are written.

    Attributes:
        replacing: Gives a temporary path that becomes the file when the block ends normally.
        write: Writes a dataset to a path, which is packed or not.
    """

    replacing: Callable[[Path], AbstractContextManager[Path]]
    write: Callable[[xr.Dataset, Path, bool], None]


_FORMATS = {
    ".nc": _Format(replacing, _write_netcdf),
    ".zarr": _Format(replacing_store, write_zarr),
}
