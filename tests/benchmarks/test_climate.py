"""The climates of nature runs: trend, spread, agreement of segments, observed climatologies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from slams.benchmarks.climate import (
    annual_means,
    bench_climate,
    compare_segments,
    find_drift,
    monthly_climate,
)
from slams.benchmarks.recipes import ClimateConfig, check_climate
from slams.errors import UserError
from slams.plugins.keys import check_keys

LATITUDE, LONGITUDE = np.array([67.5, 22.5, -22.5, -67.5]), np.arange(0.0, 360.0, 45.0)


def write_run(path: Path, start: str, years: int, *, trend: float = 0.0, sd: float = 1.0) -> Path:
    """Write independent days about an annual cycle that depends on latitude."""
    time = pd.date_range(start, periods=int(np.ceil(years * 365.25)), freq="D")
    random = np.random.default_rng(int(start[:4]))
    shape = (len(time), 2, len(LATITUDE), len(LONGITUDE))
    season = np.cos(2 * np.pi * time.day_of_year.to_numpy() / 365.25)[:, None, None, None]
    decades = ((time - pd.Timestamp("1980-01-01")).days.to_numpy() / 3652.5)[:, None, None, None]
    values = 250 + 10 * season * np.sign(LATITUDE)[:, None] + trend * decades
    values = values + sd * random.standard_normal(shape)
    coords = {"time": time, "level": [850, 30], "latitude": LATITUDE, "longitude": LONGITUDE}
    dims = ("time", "level", "latitude", "longitude")
    humidity = np.where(np.array([True, False])[:, None, None], 0.004 + 0 * values, np.nan)
    run = xr.Dataset(
        {"temperature": (dims, values), "specific_humidity": (dims, humidity)}, coords
    )
    run.attrs["source"] = "jcm 3.0.0"
    run.to_zarr(path, consolidated=False)
    return path


def test_a_trend_is_found_and_its_absence_too(tmp_path: Path) -> None:
    warming = monthly_climate(write_run(tmp_path / "a.zarr", "1980-01-01", 12, trend=2.0))
    steady = monthly_climate(write_run(tmp_path / "b.zarr", "1980-01-01", 12))
    for months, trend in ((warming, 2.0), (steady, 0.0)):
        drift = find_drift(annual_means([months])).set_index("channel").loc["temperature@850"]
        assert abs(drift["trend"] - trend) < 4 * drift["error"]
        # A year averages 365 days of 32 points, weighted by area.
        assert drift["spread"] < 0.05


def test_global_means_are_weighted_by_area_and_by_days(tmp_path: Path) -> None:
    months = monthly_climate(write_run(tmp_path / "a.zarr", "1980-01-01", 2, sd=0.0))
    months = months.assign(mean=months["mean"] * 0 + np.abs(months["latitude"]))
    annual = annual_means([months])
    edge = np.sin(np.radians(45.0))
    assert annual["mean"].to_numpy() == pytest.approx(22.5 * edge + 67.5 * (1 - edge))
    assert set(annual["year"]) == {1980, 1981}


def test_humidity_without_values_aloft_is_left_out(tmp_path: Path) -> None:
    months = monthly_climate(write_run(tmp_path / "a.zarr", "1980-01-01", 1))
    assert "specific_humidity@850" in months["channel"]
    assert "specific_humidity@30" not in months["channel"]


def test_segments_of_one_climate_differ_as_two_samples_do(tmp_path: Path) -> None:
    one = monthly_climate(write_run(tmp_path / "a.zarr", "1980-01-01", 8))
    other = monthly_climate(write_run(tmp_path / "b.zarr", "1995-01-01", 8))
    table = compare_segments([one, other]).set_index("channel").loc["temperature@850"]
    assert table["rms"] == pytest.approx(table["expected"], rel=0.15)
    assert table["variance_ratio"] == pytest.approx(1.0, abs=0.05)
    wide = monthly_climate(write_run(tmp_path / "c.zarr", "1996-01-01", 8, sd=2.0))
    table = compare_segments([one, wide]).set_index("channel").loc["temperature@850"]
    assert table["variance_ratio"] == pytest.approx(4.0, rel=0.05)
    assert compare_segments([one]).empty


def test_the_tables_are_written_and_observed_climates_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a.zarr", "1980-01-01", 3, sd=0.0)
    dims = ("time", "lev", "lat", "lon")
    june = np.full((1, 1, 4, 8), 251.0)
    observed = xr.Dataset(
        dict.fromkeys(("T", "U", "V"), (dims, june)),
        {"lev": [850.0], "lat": LATITUDE[::-1], "lon": LONGITUDE},
    )
    observed["SHUM"] = observed["T"].rename(lev="lev2") * 0 + 3.0
    for name in ("TREFHT", "FLUT", "PS"):
        observed[name] = observed["T"].isel(lev=0, drop=True)
    observed.to_netcdf(tmp_path / "june.nc")
    time = pd.date_range("1979-01-01", "1985-12-01", freq="MS")
    warming = 0.1 * (time.year.to_numpy() - 1980)[:, None, None] + np.zeros((1, 4, 8))
    ssta = xr.Dataset(
        {"ssta": (("time", "lat", "lon"), warming)},
        {"time": time, "lat": LATITUDE, "lon": LONGITUDE},
    )
    ssta.to_netcdf(tmp_path / "ssta.nc")
    config = ClimateConfig(
        segments=[str(run)], june=str(tmp_path / "june.nc"), forcing=str(tmp_path / "ssta.nc")
    )
    bench_climate(config, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "realism.csv").set_index("channel")
    assert list(table.index) == ["temperature@850", "specific_humidity@850"]
    assert table.loc["temperature@850", "difference"] == pytest.approx(-1.0, abs=1e-3)
    assert table.loc["temperature@850", "rms"] == pytest.approx(np.sqrt(1 + 9.7**2), abs=0.2)
    assert table.loc["specific_humidity@850", "difference"] == pytest.approx(0.001)
    drift = pd.read_csv(tmp_path / "out" / "drift.csv").set_index("channel")
    assert drift.loc["sea_surface_temperature_anomaly", "trend"] == pytest.approx(1.0)


def test_wrong_inputs_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a nature run"):
        monthly_climate(tmp_path)
    with pytest.raises(UserError, match="key 'segments': found none"):
        check_keys(ClimateConfig())
    with pytest.raises(UserError, match=r"key 'days': found 2 days.*2 segments"):
        check_climate(ClimateConfig(segments=["a", "b"], days=["1980-01-01", "1981-01-01"]))
    run = write_run(tmp_path / "a.zarr", "1980-01-01", 1)
    (tmp_path / "june.nc").write_text("no")
    with pytest.raises(UserError, match="key 'june'"):
        bench_climate(ClimateConfig([str(run)], june=str(tmp_path / "june.nc")), tmp_path / "out")
