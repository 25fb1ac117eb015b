"""An unfinished nature run: its finished pieces, and the state from which the next one starts.

It is kept in `<output>.partial`: the store, the model's latest state, and a record of what is
finished, written last. Whenever the process is killed, the record names a state and pieces that
are complete; later steps are simulated again, with identical bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data_modules.nature_run.layout import PIECE_STEPS
from slams.errors import UserError
from slams.runtime.atomic import write_text
from slams.runtime.files import read_json

__all__ = ["Identity", "Unfinished", "partial_path"]

_RECORD = "simulation.json"
_STORE = "store"
_VERSION = 1


@dataclass(frozen=True)
class Identity:
    """Properties that two simulations must share for one to resume the other.

    Attributes:
        settings: Keys of the section `simulate` that determine the numbers.
        versions: Versions of the packages of the model.
        forcing: Digest of the boundary conditions.
        layout: Digest of the levels and the packing.
    """

    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    forcing: str
    layout: str

    def difference(self, other: Identity) -> str:
        """Describe how another simulation first differs from this one; "" if it does not."""
        for key, value in self.settings.items():
            if other.settings.get(key) != value:
                return f"simulate.{key} {other.settings.get(key)} and not {value}"
        for name, value in self.versions.items():
            if other.versions.get(name) != value:
                return f"{name} {other.versions.get(name)} and not {value}"
        if other.forcing != self.forcing:
            return f"boundary conditions {other.forcing[:12]} and not {self.forcing[:12]}"
        return "" if other.layout == self.layout else "another layout of its files"


@dataclass(frozen=True)
class Unfinished:
    """An unfinished nature run; immutable, each new state is a new object.

    Attributes:
        directory: `<output>.partial`.
        identity: What is simulated.
        replaces: Whether it was begun to replace an existing output.
        pieces: SHA-256 of the files of each finished piece.
        state: Name of the file with the model's state after the last piece; "" until the spin-up
            is finished.
    """

    directory: Path
    identity: Identity
    replaces: bool = False
    pieces: tuple[str, ...] = field(default=())
    state: str = ""

    @property
    def store(self) -> Path:
        """The store that contains the pieces."""
        return self.directory / _STORE

    @property
    def steps(self) -> int:
        """Number of finished steps, counting every piece at full length."""
        return len(self.pieces) * PIECE_STEPS

    @classmethod
    def read(cls, directory: Path) -> Unfinished | None:
        """Return the unfinished run in a directory; `None` if there is none yet.

        Raises:
            UserError: The directory does not belong to a simulation.
        """
        record = directory / _RECORD
        try:
            found = read_json(record, "")
            if found["version"] != _VERSION:
                raise ValueError(f"version {found['version']}")
            identity = Identity(**found["identity"])
            pieces = tuple(found["pieces"])
            return cls(directory, identity, found["replaces"], pieces, found["state"])
        except (FileNotFoundError, NotADirectoryError):
            if not directory.exists() or _is_fresh(directory):
                return None
        except (ValueError, KeyError, TypeError):
            pass
        raise UserError(
            f"simulate.output: {directory} is not an unfinished nature run and is left unchanged; "
            f"move it away or choose another output"
        )

    @classmethod
    def begin(cls, directory: Path, identity: Identity, replaces: bool) -> Unfinished:
        """Create the directory of a new simulation; an existing one is removed first.

        Raises:
            UserError: The directory exists and does not belong to a simulation.
        """
        if cls.read(directory) is not None:
            _clear(directory)
        directory.mkdir(parents=True, exist_ok=True)
        new = cls(directory, identity, replaces)
        new._write_record()
        return new

    def check(self) -> None:
        """Compare the finished pieces and the state with the record, and remove later files.

        Raises:
            UserError: A finished file is missing or has changed.
        """
        for number, digest in enumerate(self.pieces):
            if self._digest(number) != digest:
                raise UserError(
                    f"simulate.output: {self.store} is not as it was written (piece {number}, "
                    f"steps {number * PIECE_STEPS} to {(number + 1) * PIECE_STEPS - 1}); "
                    f"set resume=overwrite to start over"
                )
        if self.state and not self.state_path.is_file():
            raise UserError(
                f"simulate.output: {self.state_path}, the model's state, is missing; "
                f"set resume=overwrite to start over"
            )
        self._tidy()

    @property
    def state_path(self) -> Path:
        """The file of the model's state."""
        return self.directory / self.state

    def spun_up(self, save: Callable[[Path], None]) -> Unfinished:
        """Save the state at the end of the spin-up.

        Args:
            save: Writes the model's state to a path atomically.
        """
        return self._with_state(save, ())

    def finished_piece(self, save: Callable[[Path], None]) -> Unfinished:
        """Record the piece that was just written, and save the state after it.

        Args:
            save: Writes the model's state to a path atomically.
        """
        digest = self._digest(len(self.pieces), on_disk=True)
        return self._with_state(save, (*self.pieces, digest))

    def remove(self) -> None:
        """Remove the directory and its contents."""
        _clear(self.directory)

    def _with_state(self, save: Callable[[Path], None], pieces: tuple[str, ...]) -> Unfinished:
        new = replace(self, pieces=pieces, state=f"state_{len(pieces):04d}.msgpack")
        save(new.state_path)
        new._write_record()
        if self.state and self.state != new.state:
            self.state_path.unlink(missing_ok=True)
        return new

    def _write_record(self) -> None:
        record = {"version": _VERSION, **asdict(self)}
        del record["directory"]
        write_text(self.directory / _RECORD, json.dumps(record, indent=1))

    def _digest(self, number: int, on_disk: bool = False) -> str:
        """Return the SHA-256 of the files of a piece; `on_disk` flushes them to disk first."""
        total = hashlib.sha256()
        for file in sorted(self.store.glob(f"*/c/{number}/**/*")):
            if file.is_file():
                total.update(f"{file.relative_to(self.store)} {file.stat().st_size}\n".encode())
                with file.open("rb") as opened:
                    if on_disk:
                        os.fsync(opened.fileno())
                    total.update(opened.read())
        return total.hexdigest()

    def _tidy(self) -> None:
        """Remove files left by a killed process: later pieces, other states, temporary files."""
        for entry in self.directory.iterdir():
            if entry.is_file() and entry.name not in (_RECORD, self.state):
                entry.unlink()
        if not self.pieces:  # the store is created with the first piece
            shutil.rmtree(self.store, ignore_errors=True)
            return
        # Coordinates are in chunk 0.
        for chunk in self.store.glob("*/c/*"):
            if chunk.is_dir() and chunk.name.isdigit() and int(chunk.name) >= len(self.pieces):
                shutil.rmtree(chunk)
        for entry in self.store.rglob("*.partial"):  # what Zarr was writing
            entry.unlink()


def partial_path(output: Path) -> Path:
    """Return the directory in which an output is made."""
    return output.with_name(output.name + ".partial")


def _clear(directory: Path) -> None:
    """Remove a simulation's directory; the record, which identifies it, is removed last."""
    for entry in directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != _RECORD:
            entry.unlink()
    (directory / _RECORD).unlink()
    directory.rmdir()


def _is_fresh(directory: Path) -> bool:
    """Return whether a directory is empty, except for a record that was being written."""
    return directory.is_dir() and all(
        entry.name.startswith(".simulation.tmp") for entry in directory.iterdir()
    )
