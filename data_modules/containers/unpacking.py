"""Files inside of an archive or a compressed file, by their first bytes and not by their name.

A ZIP, a tar (compressed or not) and a file compressed with gzip, bzip2 or xz are read when they
hold one file. Several files, a damaged archive and an error page (`error_pages`) are refused in
one sentence. Unpacking copies a few MB at a time into the directory of temporary files (`TMPDIR`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from data_modules.containers.error_pages import describe_error_page
from slams.errors import UserError, first_line

__all__ = ["check_plain", "delete_on_failure", "delete_with", "open_bytes", "unpacked"]

# Compressed files hold one file each.
_COMPRESSED: dict[bytes, Callable[[Any], IO[bytes]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")  # with files, empty, split
_TAR = (b"ustar", 257)
_HEAD = 4096  # bytes that are looked at
_PIECE = 1 << 22  # bytes copied at a time
_NAMED = 5  # files of an archive that a message names
# Files that systems and servers add to archives.
_EXTRA = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|thumbs\.db$)", re.I)
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)


@contextmanager
def open_bytes(path: str | Path, where: str) -> Iterator[IO[bytes]]:
    """Open a file to read, or the only file of an archive.

    Args:
        path: The file.
        where: Key that names it, for messages.

    Raises:
        UserError: The file is missing, damaged, an error page, or an archive of several files;
            also where it is read in the block.
    """
    try:
        with Path(path).open("rb") as file, _plain(file, path, where) as plain:
            yield plain
    except UserError:
        raise
    except _DAMAGED as error:
        raise UserError(
            f"{where}: {path} cannot be read, missing or truncated ({first_line(error)})"
        ) from None


def unpacked(path: str | Path, where: str) -> tuple[str, Path | None]:
    """Return the path of the file that a file holds: itself, or a temporary copy of its content.

    Args:
        path: The file.
        where: Key that names it, for messages.

    Returns:
        The path, and the directory that has to be deleted after use (`delete_with`), if any.

    Raises:
        UserError: As `open_bytes`, or the disk of temporary files is full.
    """
    with Path(path).open("rb") as file:
        start = file.read(_HEAD)
    if not _is_wrapped(start):
        return str(path), None
    directory = Path(tempfile.mkdtemp(prefix="slams-unpacked-"))
    copy = directory / "content"
    with delete_on_failure(directory), open_bytes(path, where) as plain:
        _copy(plain, copy, path, where)
    return str(copy), directory


def check_plain(file: IO[bytes], path: str, where: str) -> None:
    """Check that a file at an address, which is read in ranges, is neither packed nor a page.

    Args:
        file: The file, at its beginning, to which it is set back.
        path: Its address, for messages.
        where: Key that names it, for messages.

    Raises:
        UserError: It is an archive, compressed, or an error page.
    """
    start = file.read(_HEAD)
    file.seek(0)
    _refuse_page(start, path, where)
    if _is_wrapped(start):
        raise UserError(
            f"{where}: {path} is compressed or an archive, which cannot be read in ranges over "
            f"the network; download it, and name the file"
        )


@contextmanager
def delete_on_failure(directory: Path) -> Iterator[None]:
    """Delete a directory if the block fails."""
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def delete_with(owner: object, directory: Path) -> None:
    """Delete a directory once an object is no longer in use, at the latest with the process."""
    weakref.finalize(owner, shutil.rmtree, directory, ignore_errors=True)


def _is_wrapped(start: bytes) -> bool:
    known = (*_COMPRESSED, *_ZIP)
    return start.startswith(known) or _is_tar(start) or describe_error_page(start) is not None


def _is_tar(start: bytes) -> bool:
    magic, place = _TAR
    return start[place : place + len(magic)] == magic


@contextmanager
def _plain(file: IO[bytes], path: str | Path, where: str) -> Iterator[IO[bytes]]:
    """Open what a file holds, also an archive inside of a compressed file."""
    start = file.read(_HEAD)
    file.seek(0)
    opener = next((one for magic, one in _COMPRESSED.items() if start.startswith(magic)), None)
    if opener is not None:
        with opener(file) as inner, _plain(inner, path, where) as plain:
            yield plain
    elif start.startswith(_ZIP):
        with zipfile.ZipFile(file) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
            name = _only(names, path, where)
            try:
                inner = archive.open(name)
            except RuntimeError as error:  # a password, or a method of compression
                raise zipfile.BadZipFile(str(error)) from None
            with inner, _plain(inner, path, where) as plain:
                yield plain
    elif _is_tar(start):
        with tarfile.open(fileobj=file) as archive:
            names = [one.name for one in archive if one.isfile()]
            inner = archive.extractfile(_only(names, path, where))
            assert inner is not None  # a regular file
            with _plain(inner, path, where) as plain:
                yield plain
    else:
        _refuse_page(start, path, where)
        yield file


def _refuse_page(start: bytes, path: str | Path, where: str) -> None:
    if page := describe_error_page(start):
        raise UserError(
            f"{where}: {path} is {page}, such as a server sends instead of a file that it does "
            f"not have or may not give; download the file again"
        )


def _only(names: Sequence[str], path: str | Path, where: str) -> str:
    """Return the name of the only file of an archive."""
    names = [name for name in names if not _EXTRA.search(name)]
    if len(names) != 1:
        left = len(names) - _NAMED
        more = f" and {left} more" if left > 0 else ""
        shown = f" ({', '.join(names[:_NAMED])}{more})" if names else ""
        raise UserError(
            f"{where}: {path} is an archive of {len(names)} files{shown}, expected one; extract "
            f"it, and name its files or the directory"
        )
    return names[0]


def _copy(plain: IO[bytes], to: Path, path: str | Path, where: str) -> None:
    """Copy in pieces; a full disk is told apart from a damaged archive."""
    try:
        target = io.FileIO(to, "w")
    except OSError as error:
        raise _no_room(path, where, error) from None
    with target:
        while piece := plain.read(_PIECE):
            try:
                target.write(piece)
            except OSError as error:
                raise _no_room(path, where, error) from None


def _no_room(path: str | Path, where: str, error: OSError) -> UserError:
    return UserError(
        f"{where}: {path} cannot be unpacked into {tempfile.gettempdir()} ({error}); unpack it, "
        f"or set TMPDIR to a directory with more room"
    )
