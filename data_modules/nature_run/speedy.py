"""The general circulation model jcm with SPEEDY physics, run piece by piece.

Eight levels, time step 30 minutes, climatological boundary conditions with the observed monthly
sea surface temperature anomalies that come with jcm. jcm and JAX are imported only here, and only
when a model is made: the import takes seconds, and needs the extra `simulate`.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_modules.nature_run.fields import run_fields
from data_modules.nature_run.layout import PIECE_STEPS, to_pressure_levels
from data_modules.nature_run.period import Period
from slams.errors import UserError, install_extra

__all__ = [
    "LAYERS",
    "STEP_MINUTES",
    "SpeedyModel",
    "boundary_conditions",
    "digest",
    "forcing_digest",
    "forcing_files",
    "model_versions",
]

LAYERS = 8
STEP_MINUTES = 30.0
# Fields of the model's state on its levels: their names in jcm and in a nature run.
_PROGNOSTIC = {
    "u_wind": "u_component_of_wind",
    "v_wind": "v_component_of_wind",
    "temperature": "temperature",
    "specific_humidity": "specific_humidity",
}
# A level of the model above the uppermost pressure level is extrapolated if it is within this
# factor of its pressure: sigma .025 from 30 hPa, but not the dry levels from humidity at 500 hPa.
_REACH = 0.8
# Packages that determine the numbers: physics, dynamics, and the compiler.
_PACKAGES = ("jcm", "dinosaur", "jax", "jaxlib")
# In the directory of jcm's boundary conditions.
_CLIMATOLOGY = "clim/forcing.nc"
_ANOMALY = "anom/sea_surface_temperature_anomaly.nc"
_TERRAIN = "clim/terrain.nc"


def model_versions() -> dict[str, str]:
    """Return the versions of the packages that determine the model's numbers.

    Raises:
        UserError: jcm is not installed.
    """
    try:
        return {name: version(name) for name in _PACKAGES}
    except PackageNotFoundError:
        raise UserError(
            "`slams simulate` and `slams limit` need the general circulation model jcm, which is "
            "not installed; " + install_extra("simulate")
        ) from None


def forcing_digest() -> str:
    """Return the digest of the model's boundary conditions and terrain."""
    return digest(list(forcing_files().values()))


class SpeedyModel:
    """The model at the beginning of its spin-up, or in a restored state.

    Args:
        period: The run's time axis.
        truncation: Largest total wave number (31: 48 x 96 points).
        spinup_days: Days to run before the first day that is kept.
    """

    def __init__(self, period: Period, truncation: int, spinup_days: int) -> None:
        # XLA splits sums among the processors it detects, so rounding depends on their number.
        # With a single one, the bytes do not depend on the machine's or the job's processors.
        os.environ["NPROC"] = "1"
        from jcm.forcing import ForcingData
        from jcm.model import Model
        from jcm.physics.speedy.speedy_coords import get_speedy_coords
        from jcm.terrain import TerrainData

        self.spinup_days = spinup_days
        self.instants = period.instants
        coords = get_speedy_coords(layers=LAYERS, spectral_truncation=truncation)
        start = period.first - spinup_days - period.lead_in
        pieces = -(-period.steps // PIECE_STEPS)
        # The last piece is simulated in full: another length would require recompilation.
        days = -(-pieces * PIECE_STEPS * period.hours // 24)
        files = forcing_files()
        with warnings.catch_warnings():
            # jcm relies on a default of xarray that will change.
            warnings.simplefilter("ignore", FutureWarning)
            with (
                xr.open_dataset(files[_CLIMATOLOGY]) as climatology,
                xr.open_dataset(files[_ANOMALY]) as anomaly,
            ):
                boundary = boundary_conditions(
                    climatology.load(),
                    anomaly["ssta"].load(),
                    start.astype("datetime64[D]"),
                    period.first + days,
                )
            self._forcing = ForcingData.from_dataset(
                boundary, coords=coords, align_mode="by_date_interp"
            )
            terrain = TerrainData.from_file(str(files[_TERRAIN]), coords)
        self._model = Model(
            coords=coords,
            terrain=terrain,
            time_step=STEP_MINUTES,
            start_time=str(start.astype("datetime64[s]")),
        )
        # The model's own axes: longitude first, latitude from south to north.
        self._elevation = np.asarray(terrain.orog).T[::-1]
        interval = period.hours / 24
        self._piece: dict[str, Any] = {
            "forcing": self._forcing,
            "save_interval": interval,
            "total_time": PIECE_STEPS * interval,
            "output_averages": not period.instants,
        }
        self._model.bootstrap_state()

    def spin_up(self) -> None:
        """Run the days before the first day that is kept."""
        self.run_days(self.spinup_days)

    def run_days(self, days: int) -> None:
        """Run some days without output; each number of days is compiled by itself."""
        if days:
            self._model.resume(
                forcing=self._forcing, save_interval=float(days), total_time=float(days)
            )

    def day(self) -> xr.Dataset:
        """Run the next day and return its mean fields, one step."""
        output = self._model.resume(
            forcing=self._forcing, save_interval=1.0, total_time=1.0, output_averages=True
        )
        return run_fields(output.to_xarray())

    @property
    def pressure(self) -> np.ndarray:
        """Return the pressure (hPa, at a surface pressure of 1000) of each of `fields`."""
        sigma = 1000.0 * np.asarray(self._model.coords.vertical.centers)
        return np.concatenate([*[sigma] * 4, [1000.0]])

    @property
    def temperature(self) -> slice:
        """Return which of `fields` are temperature."""
        first = LAYERS * list(_PROGNOSTIC).index("temperature")
        return slice(first, first + LAYERS)

    @property
    def fields(self) -> np.ndarray:
        """Return the prognostic fields of the present state on the grid.

        Returns:
            `(4 L + 1, H, W)` float32, latitude from north to south: eastward and northward wind
            (m s-1), temperature (K) and specific humidity (kg kg-1) at the `L` levels of the
            model, and the logarithm of the surface pressure over 1000 hPa.
        """
        state = self._model.dycore.to_physics_state(self._model.dycore_state)
        levels = [np.asarray(getattr(state, name)) for name in _PROGNOSTIC]
        pressure = np.log(np.asarray(state.normalized_surface_pressure))
        stacked = np.concatenate([*levels, pressure[None]]).astype(np.float32)
        return stacked.swapaxes(1, 2)[:, ::-1]  # jcm: longitude first, south to north

    def move_to(self, fields: np.ndarray) -> None:
        """Change the present state so that its prognostic fields become the given ones.

        Only the difference from the present fields is transformed to spherical harmonics: what
        it does not change keeps its bits, and what is finer than the harmonics is left out.

        Args:
            fields: As `fields`; humidity below zero counts as zero.
        """
        model = self._model
        # Both go the same way, so that equal fields have equal harmonics, to the bit.
        before, after = (
            model.dycore.initial_state(self._on_grid(one), sim_time=0.0)
            for one in (self.fields, fields)
        )
        clock = model.run_state
        model.restore_state(
            model.dycore_state + (after - before),
            model.physics_carry,
            time=clock.time,
            step=clock.step,
        )

    def move_to_day(self, day: Mapping[str, xr.DataArray]) -> None:
        """Change the present state to the weather of a day that is known on pressure levels.

        The fields are interpolated to the model's levels, linearly in log-pressure, and the value
        of the outermost pressure level is used beyond it. What the day does not have stays as it
        is: variables, and levels of the model far above its uppermost level.

        Args:
            day: Fields by their names in a nature run, those on at least two levels with dims
                (level, latitude, longitude), latitude from north to south; others are ignored,
                except for `surface_pressure` (Pa).
        """
        fields = self.fields.copy()
        if "surface_pressure" in day:
            fields[-1] = np.log(day["surface_pressure"].values / 1e5)
        sigma = np.asarray(self._model.coords.vertical.centers)
        for number, name in enumerate(_PROGNOSTIC.values()):
            if name not in day or day[name].sizes["level"] < 2:
                continue
            levels = day[name]["level"].values / 1000.0
            reached = np.flatnonzero(sigma > _REACH * levels.min())
            # The levels change places: log(sigma ps) is looked up among logarithms of pressure.
            found = to_pressure_levels(
                day[name].values[None], levels, np.exp(-fields[-1:]), sigma[reached]
            )
            fields[LAYERS * number + reached] = found[0]
        self.move_to(fields)

    def _on_grid(self, fields: np.ndarray) -> Any:
        """Return `fields` as jcm holds a state on its grid."""
        turned = np.ascontiguousarray(fields[:, ::-1].swapaxes(1, 2))
        *levels, pressure = np.split(turned, [LAYERS * (i + 1) for i in range(len(_PROGNOSTIC))])
        named = dict(zip(_PROGNOSTIC, levels, strict=True))
        named["specific_humidity"] = np.maximum(named["specific_humidity"], 0.0)
        now = self._model.dycore.to_physics_state(self._model.dycore_state)
        return now.replace(**named, normalized_surface_pressure=np.exp(pressure[0]))

    def piece(self) -> xr.Dataset:
        """Run the next `PIECE_STEPS` steps and return their fields, terrain included."""
        output = self._model.resume(**self._piece).to_xarray()
        fields = run_fields(output, instants=self.instants)
        fields["surface_elevation"] = (("latitude", "longitude"), self._elevation)
        return fields

    def save(self, path: Path) -> None:
        """Write the state exactly and atomically."""
        from jcm.checkpoint import save_checkpoint

        save_checkpoint(self._model, path)

    def load(self, path: Path) -> None:
        """Restore a state that was saved by a model with the same settings."""
        from jcm.checkpoint import load_checkpoint

        load_checkpoint(self._model, path)


def forcing_files() -> dict[str, Path]:
    """Return the paths of the boundary conditions that come with jcm, by the names above."""
    spec = find_spec("jcm")  # imports nothing
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jcm")
    folder = Path(spec.origin).parent / "data" / "bc" / "t30"
    return {name: folder / name for name in (_CLIMATOLOGY, _ANOMALY, _TERRAIN)}


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
