"""A small model for the tests of what users give: channels, grid, statistics, and a day."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from data_modules.given.observations import Given, observe
from data_modules.preparation.target_grid import regular_grid
from slams.config.schema import (
    SatelliteConfig,
    StationQualityConfig,
    StationsConfig,
    StationSourceConfig,
)
from slams.fields import FieldSpec
from slams.normalisation import Normaliser

__all__ = ["CHANNELS", "DATE", "DAY", "GRID", "NORMALISER", "table", "used"]

NAMES = (
    "temperature@850",
    "temperature@500",
    "specific_humidity@850",
    "2m_temperature",
    "total_precipitation_24hr",
    "outgoing_longwave_radiation",
)
CHANNELS = tuple(FieldSpec.parse(name) for name in NAMES)
GRID = regular_grid(12, 24)
DATE = "2001-03-28"
DAY = 11409.0
_NORMAL = torch.tensor([275.0, 255.0, 0.07, 285.0, 1.0, 240.0])[:, None, None].expand(-1, 12, 24)
NORMALISER = Normaliser(CHANNELS, _NORMAL[None].clone(), torch.full((6, 12, 24), 10.0))


def table(**columns: object) -> pd.DataFrame:
    """Return a table of reports of 2 m temperature; columns replace the default ones."""
    default = {"time": DATE, "latitude": 10.0, "longitude": 20.0, "variable": "t2m", "value": 285}
    length = max([len(v) for v in columns.values() if isinstance(v, list)], default=1)
    return pd.DataFrame(default | columns, index=np.arange(length))


def used(
    *inputs: object,
    stations: StationsConfig | None = None,
    satellite: SatelliteConfig | None = None,
    terrain: np.ndarray | None = None,
    channels: tuple[FieldSpec, ...] = CHANNELS,
    normaliser: Normaliser = NORMALISER,
    **source: object,
) -> Given:
    """Return the observations of `DATE`; by default without a buddy check."""
    quality = StationQualityConfig(buddy_km=0.0)
    archive = StationSourceConfig(**({"qc": quality} | source))
    return observe(
        inputs,
        DAY + 0.5,
        stations or StationsConfig(source=archive),
        satellite or SatelliteConfig(footprint=2, error=4.0),
        channels,
        GRID,
        normaliser,
        terrain,
    )
