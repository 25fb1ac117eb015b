"""Forcing of the model: monthly climatologies and observed sea surface temperature anomalies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

__all__ = ["ANOMALY", "CLIMATOLOGY", "TERRAIN", "boundary_conditions", "digest", "forcing_files"]

# In the directory of jcm's boundary conditions.
CLIMATOLOGY = "clim/forcing.nc"
ANOMALY = "anom/sea_surface_temperature_anomaly.nc"
TERRAIN = "clim/terrain.nc"


def forcing_files() -> dict[str, Path]:
    """Return the paths of the boundary conditions that come with jcm, by the names above."""
    spec = find_spec("jcm")  # imports nothing
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jcm")
    folder = Path(spec.origin).parent / "data" / "bc" / "t30"
    return {name: folder / name for name in (CLIMATOLOGY, ANOMALY, TERRAIN)}


def digest(files: Sequence[Path]) -> str:
    """Return the SHA-256 of the bytes of some files, in their order."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def boundary_conditions(
    climatology: xr.Dataset, anomaly: xr.DataArray, first: np.datetime64, last: np.datetime64
) -> xr.Dataset:
    """Repeat the monthly climatology over the months of a run and add the anomalies of its years.

    Args:
        climatology: Twelve months; `sst` (K) and the other fields that the model needs, dims
            (lon, lat, time).
        anomaly: Monthly anomalies of sea surface temperature (K), dims (time, lat, lon); months
            that it does not cover have no anomaly.
        first: First day of the run, spin-up included.
        last: Last day of the run.

    Returns:
        Monthly fields, dated at the middle of the month, from the month before the first day to
        the month after the last.
    """
    months = np.arange(first.astype("datetime64[M]") - 1, last.astype("datetime64[M]") + 2)
    middle = _middle(months)
    picked = climatology.isel(time=months.astype(np.int64) % 12).assign_coords(time=middle)
    own = anomaly.assign_coords(time=_middle(anomaly["time"].values.astype("datetime64[M]")))
    own = own.reindex(time=middle).fillna(0.0)
    # Latitude has the opposite order in the file of anomalies.
    own = own.reindex(lat=climatology["lat"], lon=climatology["lon"], method="nearest")
    sst = picked["sst"] + own.transpose("lon", "lat", "time")
    out = picked.assign(sst=sst.transpose("lon", "lat", "time").astype(np.float32))
    return out.drop_vars([name for name in out.coords if name not in out.dims])


def _middle(months: np.ndarray) -> np.ndarray:
    return (months.astype("datetime64[D]") + 14).astype("datetime64[ns]")
