"""Observations of one day from what a user gives: tables of reports and images, in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import xarray as xr

from data_modules.given.found import Given
from data_modules.given.imagery import observe_image
from data_modules.given.names import input_name
from data_modules.given.stations import observe_reports
from data_modules.store.steps import DAYS, Steps
from slams.calendar.days import iso_date
from slams.calendar.steps import beginning_of_step
from slams.config.schema import SatelliteConfig, StationsConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser

__all__ = ["Given", "observe"]


def observe(
    inputs: Sequence[pd.DataFrame | xr.DataArray | xr.Dataset],
    day: float,
    stations: StationsConfig,
    satellite: SatelliteConfig,
    channels: Sequence[FieldSpec],
    grid: LatLonGrid,
    normaliser: Normaliser,
    terrain: np.ndarray | None,
    names: Sequence[str] = (),
    steps: Steps = DAYS,
) -> Given:
    """Convert tables of reports and images to the observations of one case of one day.

    Reports pass the quality control, the daily values, the checks of position, height and
    neighbours, and the thinning of `slams prepare`, with the settings of the recipe's archive or
    their defaults. In contrast to an archive, one report of a station and day is enough for a
    daily value; how many values have fewer than the archive must have is noted. The check against
    the background is not made here.

    Args:
        inputs: Tables of reports (`given.reports`) and images (`given.imagery`).
        day: Day of the analysis, days since 1970-01-01; the time within a step does not matter.
        stations: The recipe's section `observations.stations`.
        satellite: The recipe's section `observations.satellite`.
        channels: The `C` channels of the model.
        grid: The grid of the model.
        normaliser: Climatology and standard deviations.
        terrain: `(H, W)` m, the model's terrain, or `None`.
        names: Name of each input, for messages; by default `observations` or `observations[N]`,
            with the file.
        steps: The steps of the model.

    Raises:
        UserError: An input is invalid, all of it is of other days or is not in the model, or
            nothing is left after the checks.
    """
    day = float(beginning_of_step(day, steps.length))
    tables: list[tuple[pd.DataFrame, str]] = []
    images: list[tuple[xr.DataArray | xr.Dataset, str]] = []
    for number, one in enumerate(inputs):
        where = names[number] if names else input_name(one, number, len(inputs))
        if isinstance(one, pd.DataFrame):
            tables.append((one, where))
        elif isinstance(one, xr.DataArray | xr.Dataset):
            images.append((one, where))
        else:
            raise UserError(
                f"{where}: found {type(one).__name__}, expected a pandas DataFrame of reports, or "
                f"an xarray DataArray or Dataset of imagery"
            )
    if len(images) > 1:
        raise UserError(
            f"{images[1][1]}: found a second image, expected one per day; combine them, for "
            f"example into their mean, or concatenate them along time"
        )
    found = Given()
    if tables:
        height = None if terrain is None else torch.from_numpy(np.asarray(terrain, np.float64))
        model = (tuple(channels), grid, normaliser, height)
        found += observe_reports(tables, day, stations, *model, steps)
    for image, where in images:
        found += observe_image(image, where, day, satellite, tuple(channels), grid, steps)
    if inputs and not found.observations:
        reasons = "; ".join(
            f"{name}: {', '.join(f'{reason} {number}' for reason, number in counts.items())}"
            for name, counts in found.counts.items()
        )
        raise UserError(
            f"observations of {iso_date(day)}: nothing is left to assimilate ({reasons}); the "
            f"model has {', '.join(c.name for c in channels)}"
        )
    return found
