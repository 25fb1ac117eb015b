"""The embedded sample: three years of a nature run (see README.md in this folder)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["sample_path"]


def sample_path() -> Path:
    """Return the path of the embedded nature run (Zarr v3, CF-packed)."""
    return Path(str(resources.files(__name__) / "nature_run_1981_1984.zarr"))
