"""Opening files and stores lazily: local paths, patterns, and public addresses, anonymously.

A Zarr store may lie behind `gs://`, `s3://`, `https://` or `http://` (obstore, the extra
`cloud`); NetCDF files too (h5netcdf on top of it), read in pieces. Nothing is downloaded as a
whole, no credentials are looked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

import xarray as xr

from data_modules.sources.files.remote_file import open_remote_file
from slams.config.schema import SourceConfig
from slams.errors import UserError

__all__ = ["find_files", "is_address", "is_zarr", "open_netcdf", "open_zarr"]

_SCHEMES = ("gs://", "s3://", "https://", "http://")
# Steps in a dask chunk of a file that follows others in time.
_STEPS = 16
# Seconds of waiting and attempts, before an address counts as out of reach.
_TIMEOUT, _RETRIES = "60s", 5


def is_address(path: str) -> bool:
    """Return an address of the network from a local path."""
    return path.startswith(_SCHEMES)


def is_zarr(path: str) -> bool:
    """Return a Zarr store from a file."""
    name = path.rstrip("/")
    return Path(path).is_dir() or (is_address(path) and ".zarr" in name.rpartition("/")[2])


def find_files(config: SourceConfig, expected: str, key: str) -> list[str]:
    """List the files of a source: `files`, or `path`, which may be a pattern with `*`.

    Args:
        config: The source.
        expected: What a file should be, for the message.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: A file is not there.
    """
    named = list(config.files) or [config.path]
    found: list[str] = []
    for one in named:
        if is_address(one):
            if "*" in one:
                raise UserError(
                    f"{key}.path: {one}: an address takes no *; list the files under {key}.files"
                )
            found.append(one)
        elif "*" in one or "?" in one:
            found += sorted(glob(one))
        else:
            found.append(one)
    missing = [one for one in found if not is_address(one) and not Path(one).exists()]
    if not found or missing:
        name = "files" if config.files else "path"
        raise UserError(f"{key}.{name}: {(missing or named)[0]} is not there; expected {expected}")
    return list(dict.fromkeys(found))


def open_zarr(path: str, expected: str, key: str) -> xr.Dataset:
    """Open a Zarr store (format 2 or 3) lazily, without dask.

    Args:
        path: Directory or address.
        expected: What should be there, for the message.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: It is not there, or is no Zarr store.
    """
    if not is_address(path):
        if not Path(path).exists():
            raise UserError(f"{key}.path: {path} is not there; expected {expected}")
        store: Any = path
    else:
        store = _object_store(path, key)
    try:
        # Behind an address, the consolidated metadata are the only list of what is there.
        return xr.open_dataset(store, engine="zarr", cache=False, consolidated=True)
    except Exception as error:
        # Files of format 3 have no need of them; a web server cannot list what it has.
        if path.startswith(("http://", "https://")):
            raise UserError(
                f"{key}.path: {path} cannot be opened as Zarr, it is not there or has no "
                f"consolidated metadata ({_first_line(error)})"
            ) from error
    try:
        return xr.open_dataset(store, engine="zarr", cache=False, consolidated=False)
    except Exception as error:
        raise UserError(
            f"{key}.path: {path} cannot be opened as Zarr ({_first_line(error)})"
        ) from error


def open_netcdf(files: Sequence[str], key: str, time: str = "time") -> xr.Dataset:
    """Open NetCDF files that follow one another in time, lazily.

    Args:
        files: Paths or addresses.
        key: Dotted key of the source in the recipe, for messages.
        time: Name of the dimension that they are joined along.

    Raises:
        UserError: A file cannot be read, or does not continue the others.
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
                    f"{key}.path: {file} has another {name} than {files[0]}; files that are "
                    f"joined have the same grid and levels"
                )
        for name in first.data_vars:
            if name not in part:
                raise UserError(f"{key}.path: {file} has no {name}, as {files[0]} has")
            found, before = (d[name].attrs.get("units") for d in (part, first))
            if found != before:
                raise UserError(
                    f"{key}.path: {file} has {name} in {found!r}, {files[0]} in {before!r}; "
                    f"files that are joined have the same units"
                )
    whole = [part.chunk({time: _STEPS}) for part in parts]
    return xr.concat(
        whole,
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
    try:
        return _decoded(file, "netcdf4")
    except Exception as error:
        raise UserError(
            f"{key}.path: {file} cannot be read as NetCDF, it is truncated or of another "
            f"format ({type(error).__name__})"
        ) from error


def _decoded(file: Any, engine: str) -> xr.Dataset:
    """Open a file; a time axis that makes no dates stays as it is and is refused later."""
    with warnings.catch_warnings():
        # Two missing codes are both missing, and year 1 is year 1.
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
    try:
        return _decoded(open_remote_file(_bucket(parent), name), "h5netcdf")
    except Exception as error:
        raise UserError(
            f"{key}.path: {address} cannot be read as NetCDF 4 ({_first_line(error)})"
        ) from error


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
        f"{key}.path: {address} is read with the extra `cloud`, which is not installed; "
        f"pip install 'slams[cloud]'"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
