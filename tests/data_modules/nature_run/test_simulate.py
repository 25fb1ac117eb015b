"""Nature runs: levels, boundary conditions, layout; the model itself is replaced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from data_modules.nature_run import simulate as simulation
from data_modules.nature_run.layout import LEVELS, to_pressure_levels, write_nature_run
from data_modules.sources import open_source
from slams.config.schema import SimulateConfig, SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec

SIGMA = np.array([0.95, 0.835, 0.685, 0.51, 0.34, 0.2, 0.095, 0.025])


def model_output(days: int = 40, start: str = "1990-01-31") -> xr.Dataset:
    """Makes what the model gives: (time, level, lon, lat), south to north, dated at noon."""
    rng = np.random.default_rng(0)
    time = np.datetime64(start, "ms") + np.arange(days) * np.timedelta64(1, "D")
    lat, lon = np.linspace(-85, 85, 6), np.arange(8) * 45.0
    dims = ("time", "lon", "lat")
    pressure = 1 + 0.02 * rng.standard_normal((days, 8, 6))
    # Temperature linear in the logarithm of pressure, 280 K at 1000 hPa.
    log = np.log(SIGMA)[:, None, None] + np.log(pressure)[:, None]
    warm = np.linspace(-10, 10, 6)
    return xr.Dataset(
        {
            "temperature": (("time", "level", "lon", "lat"), 280 + 20 * log + warm),
            "normalized_surface_pressure": (dims, pressure),
            "surface_exchange.precipitation": (dims, rng.normal(2e-5, 2e-5, (days, 8, 6))),
            "surface_flux.t0": (dims, 280 + rng.standard_normal((days, 8, 6))),
            "longwave_rad.ftop": (dims, 230 + 20 * rng.standard_normal((days, 8, 6))),
        },
        coords={"time": time + np.timedelta64(12, "h"), "level": SIGMA, "lat": lat, "lon": lon},
    )


def test_interpolation_is_linear_in_log_pressure_and_constant_beyond():
    rng = np.random.default_rng(1)
    surface = rng.uniform(600, 1050, (3, 4, 5))
    pressure = SIGMA[None, :, None, None] * surface[:, None]
    values = 250 + 7 * np.log(pressure)
    found = to_pressure_levels(values, SIGMA, surface, LEVELS)
    for number, level in enumerate(LEVELS):
        inside = np.clip(level, pressure.min(axis=1), pressure.max(axis=1))
        np.testing.assert_allclose(found[:, number], 250 + 7 * np.log(inside), rtol=1e-12)
    upside_down = to_pressure_levels(values[:, ::-1], SIGMA[::-1], surface, LEVELS)
    np.testing.assert_array_equal(upside_down, found)


def test_daily_fields():
    output = model_output()
    found = simulation.daily_fields(output)
    assert found["temperature"].dims == ("time", "level", "latitude", "longitude")
    assert found["latitude"].values[0] == 85
    assert str(found["time"].values[0]).startswith("1990-01-31T00:00")
    # 500 hPa lies between the model's levels everywhere.
    expected = 280 + 20 * np.log(0.5) + np.linspace(10, -10, 6)
    np.testing.assert_allclose(found["temperature"].sel(level=500)[3, :, 2], expected)
    rain = output["surface_exchange.precipitation"].values[5, 2, 0]
    found_rain = found["total_precipitation_24hr"].values[5, -1, 2]
    assert found_rain == pytest.approx(max(rain, 0) * 86400)
    assert float(found["total_precipitation_24hr"].min()) >= 0
    pressure = output["normalized_surface_pressure"].values[5, 2, 0]
    assert found["surface_pressure"].values[5, -1, 2] == pytest.approx(1e5 * pressure)


def test_boundary_conditions_follow_calendar_and_anomaly():
    lat, lon = np.array([-45.0, 45.0]), np.array([0.0, 120, 240])
    month = np.arange(12.0)
    climatology = xr.Dataset(
        {
            "sst": (("lon", "lat", "time"), 280 + np.tile(month, (3, 2, 1))),
            "alb": (("lon", "lat"), np.full((3, 2), 0.1)),
        },
        coords={"lon": lon, "lat": lat, "time": np.arange(12), "lev": 0.0},
    )
    times = np.arange("1990-01", "1991-01", dtype="datetime64[M]").astype("datetime64[ns]")
    values = np.zeros((12, 2, 3))
    values[2, 0, 1] = 3.0  # March 1990, 45 N (rows run southwards here), 120 E
    anomaly = xr.DataArray(
        values, dims=("time", "lat", "lon"), coords={"time": times, "lat": -lat, "lon": lon}
    )
    found = simulation.boundary_conditions(
        climatology,
        anomaly.sortby("lat", ascending=False),
        np.datetime64("1990-02-10"),
        np.datetime64("1991-01-20"),
    )
    assert found.sizes["time"] == 14
    assert str(found["time"].values[0])[:10] == "1990-01-15"
    assert str(found["time"].values[-1])[:10] == "1991-02-15"
    sst = found["sst"].transpose("time", "lat", "lon").values
    expected = np.broadcast_to(
        (280 + np.r_[0:12, 0, 1].astype(float))[:, None, None], sst.shape
    ).copy()
    expected[2, 1, 1] += 3.0
    np.testing.assert_allclose(sst, expected)
    assert found["alb"].dims == ("lon", "lat")
    assert set(found.coords) == {"lon", "lat", "time"}


def test_written_run_is_a_source(tmp_path):
    fields = simulation.daily_fields(model_output())
    fields["surface_elevation"] = (("latitude", "longitude"), np.arange(48.0).reshape(6, 8))
    write_nature_run(fields, tmp_path / "run.zarr")
    names = [f"temperature@{level}" for level in LEVELS]
    names += ["2m_temperature", "total_precipitation_24hr", "outgoing_longwave_radiation"]
    names += ["surface_pressure"]
    channels = tuple(FieldSpec.parse(name) for name in names)
    found = open_source(SourceConfig(path=str(tmp_path / "run.zarr")), channels)
    steps = {"temperature": 0.1, "outgoing_longwave_radiation": 1.0, "surface_pressure": 10.0}
    for name, step in steps.items():
        difference = np.abs(found[name].values - fields[name].values)
        assert difference.max() <= 0.5001 * step
    np.testing.assert_array_equal(found["surface_elevation"], fields["surface_elevation"])
    assert found["time"].values[0] == 7335.0  # 1990-01-31
    assert found.attrs["repairs"] == []


def section(tmp_path, **changes) -> SimulateConfig:
    settings = SimulateConfig(output=str(tmp_path / "run.zarr"), start="1990-01-31", months=1)
    return replace(settings, **changes)


def test_simulated_run_is_cut_to_its_months(tmp_path, monkeypatch):
    asked = {}

    def run(settings, first, days):
        asked.update(first=str(first), days=days)
        fields = simulation.daily_fields(model_output(60))
        terrain = (("latitude", "longitude"), np.zeros((6, 8)))
        for start in (0, 30):
            yield fields.isel(time=slice(start, start + 30)).assign(surface_elevation=terrain)

    monkeypatch.setattr(simulation, "_run", run)
    monkeypatch.setattr(simulation, "version", lambda _: "3.0.0")
    path = simulation.simulate(section(tmp_path, months=2))
    assert asked == {"first": "1990-01-31", "days": 59}
    found = xr.open_zarr(path, consolidated=False)
    assert found.sizes["time"] == 59
    assert found["surface_elevation"].dims == ("latitude", "longitude")
    assert "jcm 3.0.0" in found.attrs["source"]
    with pytest.raises(UserError, match=r"simulate\.output.*exists"):
        simulation.simulate(section(tmp_path))
    simulation.simulate(section(tmp_path), overwrite=True)


def test_dry_run_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulation, "version", lambda _: "3.0.0")
    simulation.simulate(section(tmp_path, months=12), dry_run=True)
    assert "365 days from 1990-01-31 at T31" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_missing_model_is_said(tmp_path, monkeypatch):
    def missing(name):
        raise simulation.PackageNotFoundError(name)

    monkeypatch.setattr(simulation, "version", missing)
    with pytest.raises(UserError, match=r"pip install slams\[simulate\]"):
        simulation.simulate(section(tmp_path))
