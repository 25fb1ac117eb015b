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

import xarray as xr

from data_modules.sources.files.containers import delete_on_failure, delete_with, unpacked
from data_modules.sources.files.remote_file import open_remote_file
from slams.config.schema import SourceConfig
from slams.errors import UserError, install_extra

__all__ = [
    "concatenate",
    "find_files",
    "is_address",
    "is_zarr",
    "open_netcdf",
    "open_zarr",
    "refused",
]

_SCHEMES = ("gs://", "s3://", "https://", "http://")
# Steps per dask chunk of files joined along time.
_STEPS = 16
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
    open_store = partial(xr.open_dataset, store, engine="zarr", cache=False, mask_and_scale=masked)
    # A web server cannot list its files: only consolidated metadata list the arrays.
    web = path.startswith(("http://", "https://"))
    if not web:
        with suppress(Exception):  # stores of format 3 may lack them
            return open_store(consolidated=True)
    hint = ", it is missing or has no consolidated metadata" if web else ""
    with refused(f"{key}.path: {path} cannot be opened as Zarr{hint}"):
        return open_store(consolidated=web)


def open_netcdf(files: Sequence[str], key: str, time: str = "time") -> xr.Dataset:
    """Open NetCDF files and join them along time, lazily.

    Args:
        files: Paths or addresses.
        key: Dotted key of the source in the recipe, for messages.
        time: Name of the dimension along which they are joined.

    Raises:
        UserError: A file cannot be read, or differs from the first in grid, levels or units.
    """
    parts = [_open_one(file, key) for file in files]
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for file, part in zip(files, parts, strict=True):
        for name in first.coords:
            if name == time or time in first[name].dims:
                continue
            if name not in part.coords or not first[name].equals(part[name]):
                raise UserError(
                    f"{key}.path: {file} has another {name} than {files[0]}; files to be joined "
                    f"must have the same grid and levels"
                )
        for name in first.data_vars:
            if name not in part:
                raise UserError(f"{key}.path: {file} has no {name}, unlike {files[0]}")
            found, before = (d[name].attrs.get("units") for d in (part, first))
            if found != before:
                raise UserError(
                    f"{key}.path: {file} has {name} in {found!r}, {files[0]} in {before!r}; "
                    f"files to be joined must have the same units"
                )
    return concatenate([part.chunk({time: _STEPS}) for part in parts], time)


def concatenate(parts: Sequence[xr.Dataset], time: str = "time") -> xr.Dataset:
    """Join datasets along time; what does not depend on time is that of the first one.

    Args:
        parts: Datasets of the same grid, levels and variables.
        time: Name of the dimension along which they are joined.
    """
    return xr.concat(
        parts,
        dim=time,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )


def _open_one(file: str, key: str) -> xr.Dataset:
    if is_address(file):
        return _open_remote(file, key)
    if Path(file).is_dir():
        raise UserError(f"{key}.path: {file} is a directory, expected a NetCDF file")
    wrong = f"{key}.path: {file} cannot be read as NetCDF, it is truncated or has another format"
    plain, directory = unpacked(file, f"{key}.path")
    with refused(wrong):
        if directory is None:
            return _decoded(plain, "netcdf4")
        with delete_on_failure(directory):
            store = _Unpacked.open(plain)
        delete_with(store, directory)
        return _decoded(store, None)


class _Unpacked(xr.backends.NetCDF4DataStore):
    """The store of an unpacked file: each variable keeps it, unlike the dataset that is opened."""

    __slots__ = ("__weakref__",)


def _decoded(file: Any, engine: str | None) -> xr.Dataset:
    """Open a file; a time axis that cannot be decoded is left as it is and refused later."""
    with warnings.catch_warnings():
        # Warnings about two fill values and reference dates in year 1 are harmless.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        try:
            return xr.open_dataset(file, engine=engine, cache=False)
        except ValueError:
            return xr.open_dataset(file, engine=engine, cache=False, decode_times=False)


def _open_remote(address: str, key: str) -> xr.Dataset:
    try:
        import h5netcdf  # noqa: F401
        import obstore  # noqa: F401
    except ImportError:
        raise _without_extra(address, key) from None
    parent, _, name = address.rpartition("/")
    with refused(f"{key}.path: {address} cannot be read as NetCDF 4"):
        return _decoded(open_remote_file(_bucket(parent), name), "h5netcdf")


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
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{sentence} ({reason})") from error
