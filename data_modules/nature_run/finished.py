"""Attributes of a finished nature run: its identity, and its digests by year."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import zarr

from data_modules.nature_run.layout import VARIABLES
from data_modules.nature_run.unfinished import Identity

__all__ = ["is_nature_run", "read_identity", "write_attributes", "year_digests"]

_IDENTITY = "simulation"


def year_digests(path: Path, times: np.ndarray) -> dict[str, str]:
    """Return the digest of each calendar year, reading one year of one variable at a time.

    A digest does not depend on chunks and compression: it is the SHA-256 of the packed numbers,
    variable by variable.

    Args:
        path: The store.
        times: `(n,)` datetime64 of its steps.

    Returns:
        Digest by year.
    """
    group = zarr.open_group(str(path), mode="r", zarr_format=3, use_consolidated=False)
    years = times.astype("datetime64[Y]")
    digests = {}
    for year in np.unique(years):
        steps = np.flatnonzero(years == year)
        total = hashlib.sha256()
        for name in VARIABLES:
            if name in group:
                total.update(f"{name}\n".encode())
                total.update(group[name][steps[0] : steps[-1] + 1].tobytes())
        digests[str(year)] = total.hexdigest()
    return digests


def write_attributes(path: Path, identity: Identity, attributes: Mapping[str, object]) -> None:
    """Write a store's attributes, with the settings and versions that it was simulated with.

    Args:
        path: The store.
        identity: Settings, versions and boundary conditions of its simulation.
        attributes: Further attributes.
    """
    group = zarr.open_group(str(path), mode="r+", zarr_format=3, use_consolidated=False)
    identity_text = json.dumps(asdict(identity), sort_keys=True)
    group.attrs.put({**attributes, _IDENTITY: identity_text})


def read_identity(path: Path) -> Identity | None:
    """Return the settings and versions of a nature run; `None` where they are not recorded."""
    try:
        return Identity(**json.loads(str(_attributes(path)[_IDENTITY])))
    except (KeyError, TypeError, ValueError):
        return None


def is_nature_run(path: Path) -> bool:
    """Return whether a directory is a nature run, of this version or an earlier one."""
    return read_identity(path) is not None or str(_attributes(path).get("source", "")).startswith(
        "jcm "
    )


def _attributes(path: Path) -> Mapping[str, object]:
    """Return the attributes of a Zarr group without opening it; empty if there is none."""
    try:
        found = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
