"""Boundary conditions of a nature run."""

from __future__ import annotations

import numpy as np
import xarray as xr

from data_modules.nature_run.speedy import boundary_conditions, digest


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
    found = boundary_conditions(
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


def test_digest_depends_on_every_byte_and_on_which_file_has_it(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"sea")
    second.write_bytes(b"ice")
    found = digest([first, second])
    assert found == digest([first, second]) != digest([second, first])
    first.write_bytes(b"seai")
    second.write_bytes(b"ce")
    assert digest([first, second]) != found
