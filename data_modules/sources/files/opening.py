"""Opening files and stores lazily: local paths, patterns, and public addresses, anonymously.

A Zarr store may be at an address `gs://`, `s3://`, `https://` or `http://` (obstore, the extra
`cloud`), and so may NetCDF files (h5netcdf on top of obstore), which are read in ranges. No file
is downloaded as a whole, and no credentials are used. A local file that is compressed, or alone
in an archive, is unpacked into a temporary directory for as long as it is in use.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_modules.containers.unpacking import (
    check_plain,
    delete_on_failure,
    delete_with,
    unpacked,
)
from data_modules.sources.files.grib import is_grib, open_grib
from data_modules.sources.files.joining import join_files, time_dimension
from data_modules.sources.files.remote_file import open_remote_file
from data_modules.sources.files.time_axis import open_with_dates
from slams.config.schema import SourceConfig
from slams.errors import UserError, first_line, install_extra

__all__ = [
    "find_files",
    "is_address",
    "is_zarr",
    "open_decoded",
    "open_netcdf",
    "open_parts",
    "open_zarr",
    "refused",
]

# Attributes that are text, whatever type a file gives them.
_TEXT = (
    *("units", "standard_name", "long_name", "axis", "positive"),
    *("cell_methods", "bounds", "statistic"),
)
_SCHEMES = ("gs://", "s3://", "https://", "http://")
# Timeout and number of retries before an address counts as unreachable.
_TIMEOUT, _RETRIES = "60s", 5


def is_address(path: str) -> bool:
    """Return whether a path is a network address."""
    return path.startswith(_SCHEMES)


def is_zarr(path: str) -> bool:
    """Return whether a path is a Zarr store rather than a file."""
    name = path.rstrip("/")
    return Path(path).is_dir() or (is_address(path) and ".zarr" in name.rpartition("/")[2])


def find_files(config: SourceConfig, expected: str, key: str) -> list[str]:
    """Return the files of a source: `files`, or `path`, which may be a pattern with `*`.

    Args:
        config: The source's section of the recipe.
        expected: Description of the expected file, for the message.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: A file is missing.
    """
    named = list(config.files) or [config.path]
    found: list[str] = []
    for one in named:
        if is_address(one) and "*" in one:
            raise UserError(
                f"{key}.path: {one}: an address cannot contain *; list the files in {key}.files"
            )
        pattern = not is_address(one) and ("*" in one or "?" in one)
        found += sorted(glob(one)) if pattern else [one]
    missing = [one for one in found if not is_address(one) and not Path(one).exists()]
    if not found or missing:
        name = "files" if config.files else "path"
        raise UserError(
            f"{key}.{name}: {(missing or named)[0]} does not exist; expected {expected}"
        )
    return list(dict.fromkeys(found))


def open_zarr(path: str, expected: str, key: str, masked: bool = True) -> xr.Dataset:
    """Open a Zarr store (format 2 or 3) lazily, without dask.

    Args:
        path: Directory or address.
        expected: Description of the expected store, for the message.
        key: Dotted key of the source in the recipe, for messages.
        masked: Whether the fill value of an array, 0 where its writer chose none in Zarr 2, is
            missing; and whether values are scaled.

    Raises:
        UserError: The store is missing, or is not a Zarr store.
    """
    if not is_address(path) and not Path(path).exists():
        raise UserError(f"{key}.path: {path} does not exist; expected {expected}")
    store = _object_store(path, key) if is_address(path) else path
    open_store = partial(open_decoded, store, "zarr", mask_and_scale=masked)
    # A web server cannot list its files: only consolidated metadata list the arrays.
    web = path.startswith(("http://", "https://"))
    if not web:
        with suppress(Exception):  # stores of format 3 may lack them
            return open_store(consolidated=True)
    hint = ", it is missing or has no consolidated metadata" if web else ""
    with refused(f"{key}.path: {path} cannot be opened as Zarr{hint}"):
        return open_store(consolidated=web)


def open_netcdf(
    files: Sequence[str], key: str, repairs: list[str], time: str | None = None
) -> xr.Dataset:
    """Open NetCDF or GRIB files and join them along time, lazily.

    Args:
        files: Paths or addresses.
        key: Dotted key of the source in the recipe, for messages.
        repairs: Differences between the files that were removed are appended to it.
        time: Name of the dimension along which they are joined; the usual one by default.

    Raises:
        UserError: A file cannot be read, or does not fit to the others (`files.joining`).
    """
    parts = [_open_one(file, key) for file in files]
    return join_files(parts, files, key, time or time_dimension(parts[0]), repairs)


def open_parts(file: str, key: str) -> list[xr.Dataset]:
    """Open one NetCDF or GRIB file lazily; a GRIB file may have several sets of times and levels.

    Args:
        file: Path or address.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The file cannot be read.
    """
    return open_grib(file, key) if is_grib(file) else [_open_one(file, key)]


def _open_one(file: str, key: str) -> xr.Dataset:
    if is_address(file):
        return _open_remote(file, key)
    if Path(file).is_dir():
        raise UserError(f"{key}.path: {file} is a directory, expected a NetCDF file")
    if is_grib(file):
        return _open_grib_as_one(file, key)
    wrong = f"{key}.path: {file} cannot be read as NetCDF, it is truncated or has another format"
    plain, directory = unpacked(file, f"{key}.path")
    if directory is not None and is_grib(plain):
        with delete_on_failure(directory):
            raise UserError(
                f"{key}.path: {file} is an archive with GRIB in it, expected GRIB itself; "
                f"extract it"
            )
    with refused(wrong):
        if directory is None:
            return open_decoded(plain, "netcdf4")
        with delete_on_failure(directory):
            store = _Unpacked.open(plain)
        delete_with(store, directory)
        return open_decoded(store, None)


class _Unpacked(xr.backends.NetCDF4DataStore):
    """The store of an unpacked file: each variable keeps it, unlike the dataset that is opened."""

    __slots__ = ("__weakref__",)


def open_decoded(file: Any, engine: str | None, **options: Any) -> xr.Dataset:
    """Open a file or store with dates; a time axis without a meaning is refused later.

    Args:
        file: Path, file or store.
        engine: Engine of xarray; `None` for a store that is open.
        **options: Further arguments of `xarray.open_dataset`.
    """
    with warnings.catch_warnings():
        # Warnings about two fill values and reference dates in year 1 are harmless.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        opened = partial(xr.open_dataset, file, engine=engine, cache=False, **options)
        return _with_text(open_with_dates(opened))


def _with_text(dataset: xr.Dataset) -> xr.Dataset:
    """Make text of the attributes that readers compare; lists of several are none."""
    for variable in dataset.variables.values():
        for name, value in list(variable.attrs.items()):
            if isinstance(value, str) or not (name in _TEXT or name.startswith("GRIB_")):
                continue
            if np.size(value) == 1:
                one = np.asarray(value).item()
                text = one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)
                variable.attrs[name] = text
            else:
                del variable.attrs[name]
    return dataset


def _open_grib_as_one(file: str, key: str) -> xr.Dataset:
    parts = open_grib(file, key)
    if len(parts) == 1:
        return parts[0]
    try:
        return xr.merge(parts, join="exact", compat="no_conflicts", combine_attrs="override")
    except (ValueError, xr.MergeError):
        raise UserError(
            f"{key}.path: {file} has GRIB fields of different levels or times, which do not fit "
            f"into one dataset; use kind era5_cds if it is ERA5, otherwise split it, such as by "
            f"grib_copy {file} '[shortName]_[typeOfLevel].grib'"
        ) from None


def _open_remote(address: str, key: str) -> xr.Dataset:
    try:
        import h5netcdf  # noqa: F401
        import obstore  # noqa: F401
    except ImportError:
        raise _without_extra(address, key) from None
    parent, _, name = address.rpartition("/")
    with refused(f"{key}.path: {address} cannot be read as NetCDF 4"):
        remote = open_remote_file(_bucket(parent), name)
        check_plain(remote, address, f"{key}.path")
        return open_decoded(remote, "h5netcdf")


def _object_store(address: str, key: str) -> Any:
    try:
        from zarr.storage import ObjectStore

        return ObjectStore(_bucket(address), read_only=True)
    except ImportError:
        raise _without_extra(address, key) from None


def _bucket(address: str) -> Any:
    """Open an object store anonymously."""
    from obstore.store import from_url

    options: dict[str, Any] = {"client_options": {"timeout": _TIMEOUT}}
    if address.startswith("http://"):
        options["client_options"]["allow_http"] = True
    if not address.startswith("http"):
        options["skip_signature"] = True
    return from_url(address, retry_config={"max_retries": _RETRIES}, **options)


def _without_extra(address: str, key: str) -> UserError:
    return UserError(
        f"{key}.path: {address} needs the extra `cloud`, which is not installed; "
        f"{install_extra('cloud')}"
    )


@contextmanager
def refused(sentence: str) -> Iterator[None]:
    """Raise an error of a library as a `UserError`: a sentence, and the library's first line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{sentence} ({first_line(error)})") from error
