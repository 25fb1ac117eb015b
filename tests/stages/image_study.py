"""A nature run observed by files: images in layouts of archives, and a table of reports.

The files are made from the fields of the embedded sample with errors of their own, so that scores
can be held against those of observations that are drawn.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from data_modules.store.training_store import TrainingStore
from slams.config.schema import (
    AssimilationConfig,
    BackgroundConfig,
    Config,
    DataConfig,
    ObservationsConfig,
    SatelliteConfig,
    SatelliteSourceConfig,
    SourceConfig,
    SplitsConfig,
    StationQualityConfig,
    StationsConfig,
    StationSourceConfig,
    StationVariableConfig,
    SuperobConfig,
    TrackingConfig,
)
from slams.observations.image_cells import ImageCellOperator, ImageGrid
from slams.observations.networks import airport_network
from slams.observations.satellite import swath_mask
from slams.observations.stations import StationOperator

__all__ = ["ERROR", "OLR", "WARM", "from_files", "images_of", "study", "table_of"]

OLR, WARM = "outgoing_longwave_radiation", "2m_temperature"
CHANNELS = ["temperature@850", WARM, OLR]
# Standard deviations of the errors of an image cell of the model's size (W m-2), and of a station.
# That of one of CERES's cells is 7.5 times as large, and must not lead out of range.
ERROR, WARM_ERROR = 2.5, 1.0
COVERAGE, STATIONS = 0.5, 120
# Days at the end of the store that files are written for, the test days among them.
_DAYS = 30
METHODS = ["background", "optimal_interpolation"]


def study(directory: Path, seed: int = 0) -> Config:
    """Return a recipe whose observations are drawn, on cells of 7.5 degrees.

    Rows lie on the poles: each cell is three by three cells of NOAA's 2.5 degrees, none of which
    lies across a border, so that what is left between scores is the draw of the errors.
    """
    grid = directory / "grid.nc"
    axes = {"latitude": np.linspace(90, -90, 25), "longitude": 7.5 * np.arange(48)}
    xr.Dataset(coords=axes).to_netcdf(grid)
    return Config(
        experiment=f"images_{seed}",
        seed=seed,
        runs=str(directory / "runs"),
        data=DataConfig(
            store=str(directory / "store.zarr"),
            source=SourceConfig(kind="nature_run", path="sample", grid=str(grid)),
            channels=list(CHANNELS),
            period=["1982-03-01", "1983-03-31"],
            splits=SplitsConfig(
                train=["1982-03-01", "1983-02-28"], test=["1983-03-10", "1983-03-29"]
            ),
            test_cases=0,
            lags=[1, 2],
        ),
        observations=ObservationsConfig(
            stations=StationsConfig(
                count=STATIONS, variables=[StationVariableConfig(WARM, WARM_ERROR)]
            ),
            satellite=SatelliteConfig(footprint=1, coverage=COVERAGE, error=ERROR),
            superob=SuperobConfig(correlation=0.0),
        ),
        background=BackgroundConfig(lag=2),
        assimilation=AssimilationConfig(methods=METHODS, members=8),
        tracking=TrackingConfig(enabled=False),
    )


def images_of(
    store: TrainingStore, latitude: np.ndarray, longitude: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Observe the store's OLR by the cells of an image, with errors and gaps.

    What is seen are the cells of the image inside those of the model that drawn imagery sees on
    the day. A cell of the model and the cells of the image that it holds know as much together:
    the error of one of them is larger by the root of their number.
    """
    rows = np.argsort(-latitude)
    spacing = 360 / len(longitude)
    grid = ImageGrid.of_rows(
        torch.from_numpy(latitude[rows]), torch.from_numpy(longitude), spacing
    )
    operator = ImageCellOperator(store.grid, store.channels, OLR, grid)
    truth, time = _last_days(store)
    error = ERROR * store.grid.spacing / spacing
    noise = np.random.default_rng(seed).standard_normal((len(truth), len(operator)))
    values = operator(truth).numpy() + error * noise
    inside = store.grid.cell(operator.latitude, operator.longitude)
    seen = swath_mask(*store.grid.points, torch.from_numpy(time), COVERAGE)[:, inside]
    values = np.where(seen.numpy(), values, np.nan).reshape(len(truth), *grid.shape)
    back = np.argsort(rows)
    return time.astype("datetime64[D]").astype("datetime64[ns]"), values[:, back], error


def table_of(store: TrainingStore, seed: int) -> pd.DataFrame:
    """Return reports of 2 m temperature at the stations of the recipe, with errors."""
    network = airport_network(STATIONS, 0)
    operator = StationOperator(
        store.grid, store.channels, WARM, network.latitude, network.longitude
    )
    truth, time = _last_days(store)
    noise = np.random.default_rng(seed).standard_normal((len(truth), len(network.id)))
    values = operator(truth).numpy() + WARM_ERROR * noise
    days = time.astype("datetime64[D]").astype("datetime64[ns]")
    shape = values.shape
    return pd.DataFrame(
        {
            "time": np.repeat(days + np.timedelta64(12, "h"), shape[1]),
            "latitude": np.tile(network.latitude.numpy(), shape[0]),
            "longitude": np.tile(network.longitude.numpy(), shape[0]),
            "station_id": np.tile(network.id, shape[0]),
            "variable": WARM,
            "value": values.reshape(-1),
        }
    )


def from_files(config: Config, directory: Path, image: Path, error: float, table: Path) -> Config:
    """Return the recipe with files of images and reports in place of drawn observations."""
    directory.mkdir()
    observations = replace(
        config.observations,
        source="store",
        stations=StationsConfig(
            source=StationSourceConfig(
                kind="reports",
                path=str(table),
                quarters=1,
                qc=StationQualityConfig(step=0.0, buddy_km=0.0),
            ),
            variables=config.observations.stations.variables,
        ),
        satellite=SatelliteConfig(
            error=error, source=SatelliteSourceConfig(kind="gridded_olr", path=str(image))
        ),
    )
    data = replace(config.data, store=str(directory / "store.zarr"))
    return replace(config, runs=str(directory / "runs"), data=data, observations=observations)


def _last_days(store: TrainingStore) -> tuple[torch.Tensor, np.ndarray]:
    """Return the fields and the time of the days that files are written for."""
    last = slice(len(store.time) - _DAYS, None)
    return torch.from_numpy(store.read(last)).double(), store.time[last]
