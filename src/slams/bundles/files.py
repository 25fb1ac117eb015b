"""The files of a bundle: what they are called, and whether they are what was written.

Layout::

    README.md             model card: data, scores, limits, use
    bundle.json           version, lineage, and the sha256 of every other file
    config.yaml           the recipe, as data: no plug-in that it names is imported
    vae.safetensors       weights of the autoencoder
    score.safetensors     weights of the score model
    store.zarr/           packed training store: statistics, terrain, archive days
    background.zarr/      background states of the archive days, where they are read from a file
    denoising_errors/     denoising errors of the archive days, in half precision
    filter.safetensors    weights of the learned filter whose forecasts are the backgrounds, if any
    filter.zarr/          statistics of the filter's channels, a training store without days
    filter.yaml           how the filter's observations are read, checked and averaged
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slams.errors import UserError
from slams.runtime import atomic
from slams.runtime.files import parse_record, read_json

__all__ = ["RECORD", "VERSION", "Bundle", "is_bundle"]

VERSION = 1
RECORD = "bundle.json"
# Bytes that are hashed at a time.
_CHUNK = 2**20


@dataclass(frozen=True)
class Bundle:
    """Content of `bundle.json`.

    Attributes:
        slams: Version of the package that wrote it.
        created: When (ISO, UTC).
        experiment: Name of the experiment.
        vae: Run id of the autoencoder.
        score: Run id of the score model.
        methods: Methods that it serves.
        archive_days: Days of the archive; 0 without one.
        filter: Run id of the learned filter whose forecasts are the backgrounds; empty without it.
        error_bytes: Size of the denoising errors; 0 without them.
        notes: What is left out, one sentence each.
        files: sha256 of every other file, by its path in the bundle.
    """

    slams: str
    created: str
    experiment: str
    vae: str
    score: str
    methods: list[str]
    archive_days: int = 0
    filter: str = ""
    error_bytes: int = 0
    notes: list[str] = field(default_factory=list)
    files: dict[str, Any] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Write the record, with the checksums of all files that are there."""
        files = {name: _sha256(directory / name) for name in _files(directory)}
        content = {"bundle": VERSION, **asdict(self), "files": files}
        atomic.write_text(directory / RECORD, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, directory: str | Path) -> Bundle:
        """Read the record, and compare every file with its checksum.

        Raises:
            UserError: As `read_record`, or a file is missing or has changed.
        """
        directory = Path(directory)
        bundle = cls.read_record(directory)
        for name, expected in bundle.files.items():
            _check_file(directory, str(name), expected)
        return bundle

    @classmethod
    def read_record(cls, directory: Path) -> Bundle:
        """Read the record alone.

        Raises:
            UserError: It is not a bundle, or is of another version.
        """
        path, then = directory / RECORD, "export it again with `slams export`"
        try:
            values = read_json(path, then)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{directory} is not a bundle: it has no {RECORD}") from None
        if (version := values.pop("bundle", None)) != VERSION:
            raise UserError(
                f"{path}: found version {version} of bundles, expected {VERSION}; use the version "
                f"of slams that wrote it ({values.get('slams', 'unknown')}), or {then}"
            )
        return parse_record(cls, path, values, then)


def is_bundle(directory: Path) -> bool:
    """Return whether a directory holds a bundle, complete or damaged."""
    return (directory / RECORD).exists()


def _check_file(directory: Path, name: str, expected: Any) -> None:
    file = directory / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"bundle {directory}: {RECORD} names {name!r}, a file outside of it")
    try:
        found = _sha256(file)
    except OSError as error:
        raise UserError(
            f"bundle {directory}: {name} cannot be read ({error.strerror}); copy the whole "
            f"directory again"
        ) from None
    if found != expected:
        raise UserError(
            f"bundle {directory}: {name} has changed since it was exported, its checksum does not "
            f"match; copy it again, or export the run again"
        )


def _files(directory: Path) -> Sequence[str]:
    """Return the paths of all files but the record, in order."""
    inside = (p for p in directory.rglob("*") if p.is_file() and p != directory / RECORD)
    return sorted(p.relative_to(directory).as_posix() for p in inside)


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(_CHUNK):
            total.update(part)
    return total.hexdigest()
