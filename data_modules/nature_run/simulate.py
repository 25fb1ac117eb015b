"""Nature runs: daily means of the general circulation model jcm (extra `simulate`).

SPEEDY physics on 8 levels, time step 30 minutes, climatological boundary conditions with the
observed monthly sea surface temperature anomalies that come with jcm. The output has the layout
of the embedded sample, plus the model's terrain, so that stations correct for their elevation.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_modules.nature_run.layout import LEVELS, to_pressure_levels, write_nature_run
from slams.config.schema import SimulateConfig
from slams.errors import UserError
from slams.runtime.ranks import say

__all__ = ["boundary_conditions", "daily_fields", "simulate"]

_LAYERS = 8
_STEP_MINUTES = 30.0
# Another length would compile the model another time.
_BLOCK_DAYS = 30
_REFERENCE_PRESSURE = 1e5


def simulate(settings: SimulateConfig, *, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Make a nature run.

    Args:
        settings: The recipe's section `simulate`.
        overwrite: Replace an output that exists.
        dry_run: Only say what would be simulated.

    Returns:
        Path of the nature run, ready for `slams prepare` as a source of kind `nature_run`.

    Raises:
        UserError: jcm is not installed, or the output exists.
    """
    path = Path(settings.output)
    first = np.datetime64(settings.start, "D")
    month = first.astype("datetime64[M]")
    months = (month + settings.months).astype("datetime64[D]") - month.astype("datetime64[D]")
    days = int(months.astype(np.int64))
    if path.exists() and not overwrite:
        raise UserError(
            f"simulate.output: {path} exists; choose another, or resume=overwrite to replace it"
        )
    _require_jcm()
    say(
        f"nature run of {days} days from {first} at T{settings.truncation} after "
        f"{settings.spinup_days} days of spin-up, to {path}"
    )
    if dry_run:
        return path
    blocks = list(_run(settings, first, days))
    dataset = xr.concat(blocks, dim="time", data_vars="minimal").isel(time=slice(0, days))
    dataset.attrs = {
        "title": (
            f"Daily means of a SPEEDY-physics general circulation model (jcm {version('jcm')}, "
            f"T{settings.truncation}L{_LAYERS}) driven by observed monthly sea surface "
            "temperatures; temperature on pressure levels by log-p interpolation, constant below "
            "the lowest and above the highest model level"
        ),
        "source": (
            f"jcm {version('jcm')} (Apache-2.0), time step {_STEP_MINUTES:g} min, "
            f"{settings.spinup_days} days of spin-up"
        ),
        "license": "generated data, free to use",
    }
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    write_nature_run(dataset, partial)
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)
    return path


def boundary_conditions(
    climatology: xr.Dataset, anomaly: xr.DataArray, first: np.datetime64, last: np.datetime64
) -> xr.Dataset:
    """Lays the monthly climatology along the months of a run, with the anomalies of its years.

    Args:
        climatology: Twelve months; `sst` (K) and what else the model needs, dims (lon, lat,
            time).
        anomaly: Monthly anomalies of sea surface temperature (K), dims (time, lat, lon); months
            that it does not cover get none.
        first: First day of the run, spin-up included.
        last: Last day of the run.

    Returns:
        Dated at the middle of each month, from the month before the first day to the month
        after the last.
    """
    months = np.arange(first.astype("datetime64[M]") - 1, last.astype("datetime64[M]") + 2)
    middle = _middle(months)
    picked = climatology.isel(time=months.astype(np.int64) % 12).assign_coords(time=middle)
    own = anomaly.assign_coords(time=_middle(anomaly["time"].values.astype("datetime64[M]")))
    own = own.reindex(time=middle).fillna(0.0)
    # Latitude runs the other way in the file of anomalies.
    own = own.reindex(lat=climatology["lat"], lon=climatology["lon"], method="nearest")
    sst = picked["sst"] + own.transpose("lon", "lat", "time")
    out = picked.assign(sst=sst.transpose("lon", "lat", "time").astype(np.float32))
    return out.drop_vars([name for name in out.coords if name not in out.dims])


def daily_fields(output: xr.Dataset) -> xr.Dataset:
    """Turns the model's daily means into the fields of a nature run.

    Args:
        output: What jcm gives: dims (time, [level,] lon, lat), `level` the sigma of full levels.

    Returns:
        Temperature on pressure levels (K), 2 m temperature (K), precipitation (mm day-1), OLR
        (W m-2) and surface pressure (Pa), latitude from north to south, each day dated at its
        beginning.
    """
    output = output.transpose("time", "level", "lat", "lon", ...).sortby("lat", ascending=False)
    pressure = output["normalized_surface_pressure"].values * _REFERENCE_PRESSURE
    temperature = to_pressure_levels(
        output["temperature"].values, output["level"].values, pressure / 100.0, LEVELS
    )
    dims = ("time", "latitude", "longitude")
    # Averages are dated at noon.
    days = output["time"].values.astype("datetime64[D]").astype("datetime64[ns]")
    rain = np.maximum(output["surface_exchange.precipitation"].values, 0.0) * 86400.0
    return xr.Dataset(
        {
            "temperature": (("time", "level", *dims[1:]), temperature),
            "2m_temperature": (dims, output["surface_flux.t0"].values),
            "total_precipitation_24hr": (dims, rain),
            "outgoing_longwave_radiation": (dims, output["longwave_rad.ftop"].values),
            "surface_pressure": (dims, pressure),
        },
        coords={
            "time": days,
            "level": list(LEVELS),
            "latitude": output["lat"].values,
            "longitude": output["lon"].values,
        },
    )


def _require_jcm() -> None:
    try:
        version("jcm")
    except PackageNotFoundError:
        raise UserError(
            "`slams simulate` needs the general circulation model jcm, which is not installed; "
            "run `pip install slams[simulate]`"
        ) from None


def _run(settings: SimulateConfig, first: np.datetime64, days: int) -> Iterator[xr.Dataset]:
    """Runs the model; yields the daily fields of one block after another."""
    # JAX takes seconds to import, and is not there without the extra.
    from jcm.forcing import ForcingData
    from jcm.model import Model
    from jcm.physics.speedy.speedy_coords import get_speedy_coords
    from jcm.terrain import TerrainData

    coords = get_speedy_coords(layers=_LAYERS, spectral_truncation=settings.truncation)
    start = first - settings.spinup_days
    blocks = -(-days // _BLOCK_DAYS)
    folder = Path(str(resources.files("jcm"))) / "data" / "bc" / "t30"
    with warnings.catch_warnings():
        # jcm relies on a default of xarray that is going to change.
        warnings.simplefilter("ignore", FutureWarning)
        with (
            xr.open_dataset(folder / "clim" / "forcing.nc") as climatology,
            xr.open_dataset(folder / "anom" / "sea_surface_temperature_anomaly.nc") as anomaly,
        ):
            boundary = boundary_conditions(
                climatology.load(), anomaly["ssta"].load(), start, first + blocks * _BLOCK_DAYS
            )
        forcing = ForcingData.from_dataset(boundary, coords=coords, align_mode="by_date_interp")
        terrain = TerrainData.from_file(str(folder / "clim" / "terrain.nc"), coords)
    model = Model(coords=coords, terrain=terrain, time_step=_STEP_MINUTES, start_time=str(start))
    daily: dict[str, Any] = {
        "forcing": forcing,
        "save_interval": 1.0,
        "total_time": float(_BLOCK_DAYS),
        "output_averages": True,
    }
    began = time.perf_counter()
    if settings.spinup_days > 0:
        spinup = float(settings.spinup_days)
        model.run(forcing=forcing, save_interval=spinup, total_time=spinup)
        say(f"spin-up of {settings.spinup_days} days: {time.perf_counter() - began:.0f} s")
    elevation = np.asarray(terrain.orog)
    for block in range(blocks):
        cold = block == 0 and settings.spinup_days == 0
        predictions = model.run(**daily) if cold else model.resume(**daily)
        fields = daily_fields(predictions.to_xarray())
        if not np.isfinite(fields["temperature"].values).all():
            raise UserError(
                f"simulate: the model became unstable before {fields['time'].values[-1]:.10}; "
                f"simulate.truncation {settings.truncation} needs another time step"
            )
        # The model's own axes: longitude first, latitude from south to north.
        fields["surface_elevation"] = (("latitude", "longitude"), elevation.T[::-1])
        done = min((block + 1) * _BLOCK_DAYS, days)
        say(f"{done} of {days} days, {time.perf_counter() - began:.0f} s")
        yield fields


def _middle(months: np.ndarray) -> np.ndarray:
    return (months.astype("datetime64[D]") + 14).astype("datetime64[ns]")
