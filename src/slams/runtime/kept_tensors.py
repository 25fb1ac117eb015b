"""Tensors that take long to compute and are kept for a later use, by what they depend on.

A key is a path of three parts, `kind/fingerprint/name`; the fingerprint stands for everything that
the tensors depend on. Code that computes tensors uses `KeptTensors` alone; where they are kept is
the choice of whoever calls it: in memory, or in files that processes share.

A file is written once and memory-mapped on reading. It is damaged if its checksum does not match;
it is then removed, and what it held is computed again. Files may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slams.runtime.directories import exclusive, lock_file
from slams.runtime.ranks import say

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KeptTensors", "MemoryTensors", "TensorFiles"]

_SUFFIX = ".safetensors"


class KeptTensors(Protocol):
    """Access to tensors that are computed once."""

    def get(self, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the tensors of a key; compute and keep them if they are not there.

        Args:
            key: `kind/fingerprint/name`.
            make: Function that computes the tensors.

        Returns:
            Tensors on the CPU that must not be modified, perhaps memory-mapped.
        """
        ...


class MemoryTensors:
    """Tensors kept in memory, those of the last fingerprint of each kind.

    Args:
        most: Largest size (bytes) of the tensors of one key that are kept.
    """

    def __init__(self, most: int = 2**30) -> None:
        self._most = most
        self._kept: dict[str, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """See `KeptTensors.get`."""
        if key in self._kept:
            return self._kept[key]
        tensors = make()
        kind, fingerprint, _ = key.split("/")
        for other in [k for k in self._kept if k.startswith(f"{kind}/")]:
            if not other.startswith(f"{kind}/{fingerprint}/"):
                del self._kept[other]
        if sum(t.numel() * t.element_size() for t in tensors.values()) <= self._most:
            self._kept[key] = tensors
        return tensors


class TensorFiles:
    """A directory of tensors by key, a path `kind/fingerprint/name`.

    Of two processes that need the same tensors, on whatever machine, the first computes them while
    the other waits. Where the directory cannot be written, they are kept for this process alone.

    Args:
        directory: The directory; it need not exist.
        others: Directories that are searched too, and never written.
        writes: Whether to write; otherwise what is computed is kept for this process alone.
        most: Largest number of fingerprints of each kind; the ones that were used least recently
            are removed.
    """

    def __init__(
        self,
        directory: Path,
        others: Sequence[Path] = (),
        writes: bool = True,
        most: int = 4,
    ) -> None:
        self.directory = directory
        self._others = tuple(others)
        self._writes = writes
        self._most = most
        self._memory = MemoryTensors()

    def get(self, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the tensors of a key; compute and keep them if they are not there.

        Args:
            key: `kind/fingerprint/name`.
            make: Function that computes the tensors.

        Returns:
            Tensors that must not be modified.
        """
        path = self._path(self.directory, key)
        found = _read(path, _silent if self._writes else _report)
        if found is not None:
            return found
        for other in self._others:
            if (there := _read(self._path(other, key), _report)) is not None:
                if not self._writes:
                    return there
                make = _constant(there)
                break
        if not self._writes:
            return self._memory.get(key, make)
        with contextlib.ExitStack() as held:
            try:
                self._make_room(path.parent)
                held.enter_context(exclusive(lock_file(path)))
            except OSError as error:
                self._refused(error)
                return self._memory.get(key, make)
            # Another process may have written it meanwhile. While the lock is held, none does.
            found = _read(path, _remove)
            if found is not None:
                return found
            tensors = make()
            try:
                _write(path, tensors)
            except OSError as error:
                self._refused(error)
                return self._memory.get(key, _constant(tensors))
        return _read(path, _report) or self._memory.get(key, _constant(tensors))

    @staticmethod
    def _path(directory: Path, key: str) -> Path:
        return directory / f"{key}{_SUFFIX}"

    def _refused(self, error: OSError) -> None:
        """Say why nothing is kept, and try no more."""
        why = error.strerror or str(error)
        say(f"{self.directory} cannot be written ({why}): denoising errors are not kept there")
        self._writes = False

    def _make_room(self, group: Path) -> None:
        """Make the directory of a fingerprint, and remove those that were not used for longest."""
        if group.is_dir():
            return
        group.mkdir(parents=True, exist_ok=True)
        others = [p for p in group.parent.iterdir() if p.is_dir() and p != group]
        for old in sorted(others, key=_used)[: max(len(others) - self._most + 1, 0)]:
            shutil.rmtree(old, ignore_errors=True)


def _used(group: Path) -> float:
    try:
        return group.stat().st_mtime
    except OSError:  # removed by another process
        return 0.0


def _constant(tensors: dict[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    return lambda: tensors


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a file completely or not at all; one that is there stays, as others may read it."""
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{_SUFFIX}")
    try:
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, metadata={"crc32": _checksum(whole)})
        with temporary.open("rb") as file:  # on disk before the name points to it
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:  # a file system that shows the files of other machines late
            pass
        except OSError:  # a file system without hard links
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, damaged: Callable[[Path, str], None]) -> dict[str, Tensor] | None:
    """Map a file; return `None` if it is not there or damaged.

    Args:
        path: The file.
        damaged: Called with a damaged file and what was found.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get("crc32")
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError) as error:
        damaged(path, str(error).splitlines()[0])
        return None
    if _checksum(tensors) != expected:
        damaged(path, "its checksum does not match")
        return None
    with contextlib.suppress(OSError):
        os.utime(path.parent)  # the most recently used
    return tensors


def _silent(path: Path, found: str) -> None:
    pass


def _report(path: Path, found: str) -> None:
    say(f"{path} is damaged ({found}): what it held is measured again")


def _remove(path: Path, found: str) -> None:
    _report(path, found)
    with contextlib.suppress(OSError):
        path.unlink()


def _checksum(tensors: dict[str, Tensor]) -> str:
    """Return the CRC-32 of names, shapes, types and values."""
    import torch

    total = 0
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name}/{tuple(tensor.shape)}/{tensor.dtype}".encode(), total)
        total = zlib.crc32(tensor.detach().reshape(-1).view(torch.uint8).numpy(), total)
    return f"{total:08x}"
