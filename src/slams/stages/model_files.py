"""Files given to `slams analyse` and `slams cycle`, and what is printed of a day."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from data_modules.given.names import FILE
from data_modules.tables.opening import is_table, open_table
from slams.errors import UserError
from slams.stages.model_inputs import Reports

__all__ = ["open_given", "open_state", "open_truth", "report_lines"]

_COUNTED = ("given", "used", "superobservations")


def open_state(option: str, path: str | None) -> xr.Dataset | None:
    """Open a file of states; `None` where there is none.

    Args:
        option: Option that names it, for messages.
        path: NetCDF file or Zarr store.

    Raises:
        UserError: It cannot be opened.
    """
    if path is None:
        return None
    file = Path(path)
    if not file.exists():
        raise UserError(f"{option}: {path}: found no such file")
    try:
        # As it is on the disk: units of accumulations would become time differences.
        if file.is_dir():
            return xr.open_zarr(file, decode_timedelta=False)
        return xr.open_dataset(file, engine="netcdf4", decode_timedelta=False)
    except Exception as error:  # a different type for each kind of damage
        raise UserError(
            f"{option}: {path} cannot be opened as NetCDF or Zarr ({type(error).__name__}); it is "
            f"truncated or of another format"
        ) from error


def open_truth(path: str | None) -> xr.Dataset | pd.DataFrame | None:
    """Open what an analysis is verified with: a table of reports, or a state.

    Args:
        path: As for `open_state`, or a table.

    Raises:
        UserError: It cannot be opened.
    """
    if path is not None and is_table(path):
        return _open_table("--verify", path)
    return open_state("--verify", path)


def open_given(stations: Sequence[str], imagery: Sequence[str]) -> list[Reports]:
    """Open tables of reports and images.

    Raises:
        UserError: One of them cannot be opened.
    """
    found: list[Reports] = [_open_table("--stations", path) for path in stations]
    for path in imagery:
        image = open_state("--imagery", path)
        assert image is not None
        found.append(image)
    return found


def report_lines(dataset: xr.Dataset) -> Iterator[str]:
    """Yield the lines that describe an analysis: observations, departures, scores, notes."""
    stamp = dataset["time"].values[0].astype("datetime64[s]")
    day = str(stamp).removesuffix("T00:00:00")
    departures = json.loads(dataset.attrs["observations"])
    held_out = json.loads(dataset.attrs.get("held_out", "{}"))
    if not departures:
        yield f"{day}: no observations"
    departures |= {f"{name}, held out": found for name, found in held_out.items()}
    for name, found in departures.items():
        rejected = ", ".join(
            f"{reason} {number}"
            for reason, number in found.items()
            if isinstance(number, int) and reason not in _COUNTED
        )
        line = f"{day} {name}: {found.get('given', 0)} given, {found.get('used', 0)} used"
        if "superobservations" in found:
            line += f" in {found['superobservations']} superobservations"
        line += f" ({rejected})" if rejected else ""
        if "o_minus_b_rms" in found:
            line += (
                f"; O-B {found['o_minus_b_mean']:+.2f} (rms {found['o_minus_b_rms']:.2f}), "
                f"O-A {found['o_minus_a_mean']:+.2f} (rms {found['o_minus_a_rms']:.2f}) "
                f"{found['units']}"
            )
        yield line
    for name, scores in json.loads(dataset.attrs.get("scores", "{}")).items():
        yield f"{day} {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items())
    if notes := dataset.attrs.get("notes"):
        yield f"{day} note: {notes}"


def _open_table(option: str, path: str) -> pd.DataFrame:
    table = open_table(path, option)  # a time in the index of a Parquet file is found there
    table.attrs[FILE] = path
    return table
