"""Datasets of anemoi-datasets: cells to a grid, steps to days, ECMWF's units, refusals.

The layout is that of `create/__init__.py` and `create/zarr.py` of ecmwf/anemoi-datasets (arrays
`data`, `dates`, `latitudes`, `longitudes` with `_ARRAY_DIMENSIONS`, attributes `variables`,
`field_shape`, `missing_dates`, `frequency`, `ensemble_dimension`). The key `period` of
`variables_metadata`, and units there, are written from memory and could not be confirmed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from data_modules.sources import open_source
from data_modules.store.training_store import TrainingStore
from slams.config.schema import SourceConfig, SplitsConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.stages.sources import prepare
from tests.synthetic import tiny_recipe

VARIABLES = ["10u", "2t", "q_700", "sp", "t_500", "t_850", "tp", "ttr", "u_850", "z"]
ROWS, COLUMNS, STEPS = 7, 12, 24
LATITUDE, LONGITUDE = np.linspace(90, -90, ROWS), np.arange(COLUMNS) * 30.0
CHANNELS = ["temperature@850", "2m_temperature", "total_precipitation_24hr"]
CHANNELS += ["outgoing_longwave_radiation", "surface_pressure", "specific_humidity@700"]


def values(steps: int = STEPS) -> np.ndarray:
    """Return `(steps, variable, 1, cell)`: a value for each step, variable and cell."""
    rng = np.random.default_rng(3)
    mean = dict(zip(VARIABLES, (5, 280, 5e-3, 1e5, 250, 270, 7e-4, -5.2e6, 3, 2e3), strict=True))
    spread = dict(zip(VARIABLES, (1, 5, 1e-3, 1e3, 5, 5, 2e-4, 4e5, 2, 10), strict=True))
    data = np.empty((steps, len(VARIABLES), 1, ROWS * COLUMNS), np.float32)
    for index, name in enumerate(VARIABLES):
        noise = rng.standard_normal((1 if name == "z" else steps, 1, ROWS * COLUMNS)).clip(-2, 2)
        data[:, index] = mean[name] + spread[name] * noise
    return data


def write(
    path: Path,
    data: np.ndarray | None = None,
    latitude: np.ndarray | None = None,
    longitude: np.ndarray | None = None,
    **attributes: object,
) -> np.ndarray:
    """Write a dataset of 6-hourly dates from 2001-01-01 00 UTC; return its data."""
    data = values() if data is None else data
    y, x = (part.reshape(-1) for part in np.meshgrid(LATITUDE, LONGITUDE, indexing="ij"))
    dates = np.datetime64("2001-01-01", "s") + np.arange(len(data)) * np.timedelta64(6, "h")
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    arrays = {
        "data": (data, ("time", "variable", "ensemble", "cell"), (1, *data.shape[1:])),
        "dates": (dates.astype("datetime64[s]"), ("time",), dates.shape),
        "latitudes": (y if latitude is None else latitude, ("cell",), None),
        "longitudes": (x if longitude is None else longitude, ("cell",), None),
    }
    for name, (array, dimensions, chunks) in arrays.items():
        made = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks or array.shape,
            attributes={"_ARRAY_DIMENSIONS": list(dimensions)},
        )
        made[...] = array
    group.attrs.update(
        {
            "variables": VARIABLES,
            "field_shape": [ROWS, COLUMNS],
            "ensemble_dimension": data.shape[2],
            "frequency": "6h",
            "missing_dates": [],
            "resolution": "30",
            "version": "0.20",
            **attributes,
        }
    )
    return data


def opened(path: Path, channels=CHANNELS, **source):
    config = SourceConfig(kind="anemoi", path=str(path), **source)
    return open_source(config, [FieldSpec.parse(name) for name in channels])


def field(data: np.ndarray, name: str) -> np.ndarray:
    return data[:, VARIABLES.index(name), 0].reshape(-1, ROWS, COLUMNS).astype(np.float64)


def test_cells_become_a_grid_and_steps_become_days_in_our_units(tmp_path) -> None:
    data = write(tmp_path / "era5.zarr")
    found = opened(tmp_path / "era5.zarr")
    np.testing.assert_array_equal(found["latitude"], LATITUDE)
    np.testing.assert_array_equal(found["longitude"], LONGITUDE)
    # Six days of four steps; the last precipitation is not whole: it ends at the next midnight.
    assert found["time"].values.tolist() == [11323 + day for day in range(5)]
    np.testing.assert_array_equal(
        found["temperature"].sel(level=850).values, field(data, "t_850")[0:20:4]
    )
    np.testing.assert_array_equal(found["2m_temperature"].values, field(data, "2t")[0:20:4])
    # m per 6 h that end at the date, of 06, 12, 18 and 24 UTC, to mm per day.
    rain = field(data, "tp")[1:21].reshape(5, 4, ROWS, COLUMNS).sum(axis=1) * 1000
    np.testing.assert_allclose(found["total_precipitation_24hr"].values, rain, rtol=1e-6)
    # J m-2 per 6 h, downwards, to W m-2 upwards.
    olr = -field(data, "ttr")[1:21].reshape(5, 4, ROWS, COLUMNS).sum(axis=1) / 86400
    np.testing.assert_allclose(found["outgoing_longwave_radiation"].values, olr, rtol=1e-6)
    assert 200 < float(found["outgoing_longwave_radiation"].mean()) < 280
    np.testing.assert_allclose(
        found["surface_elevation"].values, field(data, "z")[0] / 9.80665, rtol=1e-6
    )


def test_cells_in_another_order_give_the_same(tmp_path) -> None:
    data = write(tmp_path / "a.zarr")
    y, x = (part.reshape(-1) for part in np.meshgrid(LATITUDE, LONGITUDE, indexing="ij"))
    order = np.random.default_rng(0).permutation(ROWS * COLUMNS)
    write(tmp_path / "b.zarr", data[..., order], y[order], x[order].astype(np.float32))
    one, other = (opened(tmp_path / f"{name}.zarr") for name in "ab")
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values)


@pytest.mark.parametrize("kind", ["reduced", "healpix", "limited"])
def test_other_grids_are_refused(tmp_path, kind) -> None:
    rng = np.random.default_rng(0)
    cells = ROWS * COLUMNS
    if kind == "reduced":  # fewer points near the poles
        counts = [4, 12, 16, 20, 16, 12, 4]
        y = np.repeat(LATITUDE, counts)
        x = np.concatenate([np.arange(n) * 360 / n for n in counts])
    else:
        y, x = rng.uniform(-90, 90, cells), rng.uniform(0, 360, cells)
    if kind == "limited":
        y, x = (p.reshape(-1) for p in np.meshgrid(LATITUDE / 3, LONGITUDE, indexing="ij"))
    write(tmp_path / "o.zarr", latitude=y, longitude=x, field_shape=[cells])
    expected = "expected a global grid" if kind == "limited" else "not a full grid of latitudes"
    with pytest.raises(UserError, match=expected):
        opened(tmp_path / "o.zarr")


def test_missing_dates_are_gaps_and_never_values(tmp_path) -> None:
    data = values()
    data[[4, 9]] = np.nan  # 2001-01-02 00 UTC, 2001-01-03 06 UTC
    missing = ["2001-01-02T00:00:00", "2001-01-03T06:00:00"]
    write(tmp_path / "m.zarr", data, missing_dates=missing)
    path = tmp_path / "m.zarr"
    instants = opened(path, ["2m_temperature"])
    assert (instants["time"].values - 11323).tolist() == [0, 2, 3, 4, 5]
    means = opened(path, ["2m_temperature"], daily="mean")
    assert (means["time"].values - 11323).tolist() == [0, 3, 4, 5]
    # The total of the first day ends at the date that is missing.
    both = opened(path, ["2m_temperature", "total_precipitation_24hr"])
    assert (both["time"].values - 11323).tolist() == [3, 4]
    assert np.isfinite(both["total_precipitation_24hr"].values).all()
    assert any("missing dates left out, the first 2001-01-01" in r for r in both.attrs["repairs"])


def test_refusals_name_what_was_found(tmp_path) -> None:
    write(tmp_path / "e.zarr", np.repeat(values(), 2, axis=2))
    with pytest.raises(UserError, match="found 2 ensemble members, expected one"):
        opened(tmp_path / "e.zarr")
    write(tmp_path / "v.zarr")
    with pytest.raises(UserError, match=r"t_300 \(temperature\) is missing; found 10u, 2t"):
        opened(tmp_path / "v.zarr", ["temperature@850", "temperature@300"])
    write(tmp_path / "n.zarr", variables=VARIABLES[:-1])
    with pytest.raises(UserError, match="9 names for 10 variables"):
        opened(tmp_path / "n.zarr")
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w", zarr_format=2)
    with pytest.raises(UserError, match="found no data and dates"):
        opened(tmp_path / "empty.zarr")


def test_metadata_say_hours_and_units(tmp_path) -> None:
    """An accumulation of 12 h at 6-hourly dates: those at 12 and 24 UTC are the day."""
    about = {"tp": {"process": "accumulation", "period": ["0h", "12h"], "units": "mm"}}
    data = write(tmp_path / "p.zarr", variables_metadata=about)
    found = opened(tmp_path / "p.zarr", ["total_precipitation_24hr"])
    rain = field(data, "tp")
    np.testing.assert_allclose(
        found["total_precipitation_24hr"].values, rain[2:20:4] + rain[4:21:4], rtol=1e-6
    )


def test_a_store_is_prepared_from_it(tmp_path) -> None:
    data = write(tmp_path / "era5.zarr")
    splits = SplitsConfig(train=["2001-01-01", "2001-01-05"])
    recipe = tiny_recipe(tmp_path, "x", channels=CHANNELS, splits=splits, lags=[1])
    recipe.data.source = SourceConfig(kind="anemoi", path=str(tmp_path / "era5.zarr"))
    store = TrainingStore.open(prepare(recipe))
    np.testing.assert_array_equal(store.read([2])[0, 1], field(data, "2t")[8])
