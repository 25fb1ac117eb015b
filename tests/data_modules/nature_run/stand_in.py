"""A stand-in for the general circulation model: small, fast, and with a state.

Run as a script it simulates with the stand-in, and kills itself: `python stand_in.py OUTPUT
LINES`, where LINES is the number of lines of `data_modules.nature_run` that are executed before
SIGKILL; 0 for no kill.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import xarray as xr

from data_modules.nature_run import simulate as simulation
from data_modules.nature_run import speedy
from data_modules.nature_run.fields import run_fields
from data_modules.nature_run.layout import PIECE_STEPS
from data_modules.nature_run.period import Period
from slams.config.schema import SimulateConfig

SIGMA = np.array([0.95, 0.835, 0.685, 0.51, 0.34, 0.2, 0.095, 0.025])
VERSIONS = {"jcm": "3.0.0", "dinosaur": "1.5.1", "jax": "0.10.2", "jaxlib": "0.10.2"}


def model_output(
    days: int = 40,
    start: str = "1990-01-31",
    seed: int = 0,
    hours: int = 24,
    instants: bool = False,
) -> xr.Dataset:
    """Make model output: (time, level, lon, lat), south to north, means dated at noon."""
    rng = np.random.default_rng(seed)
    time = np.datetime64(start, "ms") + np.arange(days) * np.timedelta64(hours, "h")
    lat, lon = np.linspace(-85, 85, 6), np.arange(8) * 45.0
    dims = ("time", "lon", "lat")
    columns = ("time", "level", "lon", "lat")
    pressure = 1 + 0.02 * rng.standard_normal((days, 8, 6))
    # Temperature linear in the logarithm of pressure, 280 K at 1000 hPa; so are the winds, and
    # humidity decreases with pressure, to slightly below zero.
    log = np.log(SIGMA)[:, None, None] + np.log(pressure)[:, None]
    warm = np.linspace(-10, 10, 6)
    return xr.Dataset(
        {
            "temperature": (columns, 280 + 20 * log + warm),
            "normalized_surface_pressure": (dims, pressure),
            "surface_exchange.precipitation": (dims, rng.normal(2e-5, 2e-5, (days, 8, 6))),
            "surface_flux.t0": (dims, 280 + rng.standard_normal((days, 8, 6))),
            "longwave_rad.ftop": (dims, 230 + 20 * rng.standard_normal((days, 8, 6))),
            "u_wind": (columns, 5 - 12 * log + warm),
            "v_wind": (columns, 3 * log - warm),
            "specific_humidity": (columns, 0.012 + 0.008 * log),
        },
        coords={
            "time": time + np.timedelta64(0 if instants else 12, "h"),
            "level": SIGMA,
            "lat": lat,
            "lon": lon,
        },
    )


class StandIn:
    """Replacement of `SpeedyModel`, in which each piece depends on all earlier ones.

    Attributes:
        state: Step that comes next, and a number that every run step changes.
    """

    def __init__(self, period: Period, truncation: int, spinup_days: int) -> None:
        self.period, self.spinup_days = period, spinup_days
        self.state = np.array([0, truncation])

    def spin_up(self) -> None:
        self.state[1] += self.spinup_days

    def piece(self) -> xr.Dataset:
        period, (done, seed) = self.period, (int(v) for v in self.state)
        hours = np.timedelta64(done * period.hours, "h")
        start = str(period.first.astype("datetime64[h]") + hours)
        output = model_output(PIECE_STEPS, start, seed, period.hours, period.instants)
        self.state = np.array([done + PIECE_STEPS, (seed * 7 + 3) % 1009])
        terrain = (("latitude", "longitude"), np.arange(48.0).reshape(6, 8))
        fields = run_fields(output, instants=period.instants)
        return fields.assign(surface_elevation=terrain)

    def save(self, path: Path) -> None:
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(f"{self.state[0]} {self.state[1]}")
        temporary.replace(path)

    def load(self, path: Path) -> None:
        self.state = np.array([int(v) for v in path.read_text().split()])


def files(path: Path) -> dict[str, bytes]:
    """Read every file below a directory."""
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def _kill_after(lines: int) -> None:
    """Send SIGKILL to this process after some lines of the package were executed."""
    left = lines

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if "nature_run" not in frame.f_code.co_filename:
            return None
        if event == "line" and "stand_in" not in frame.f_code.co_filename:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def _main(output: str, lines: int) -> None:
    speedy.SpeedyModel = StandIn
    speedy.model_versions = lambda: VERSIONS
    speedy.forcing_digest = lambda: "f" * 64
    settings = SimulateConfig(output=output, start="1990-01-31", months=12, spinup_days=5)
    if lines:
        _kill_after(lines)
    simulation.simulate(settings)
    print("lines are over", flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
