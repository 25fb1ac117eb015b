"""Conversion of model output to fields of a nature run."""

from __future__ import annotations

import numpy as np
import pytest

from data_modules.nature_run.fields import run_fields
from tests.data_modules.nature_run.stand_in import model_output


def test_daily_fields():
    output = model_output()
    found = run_fields(output)
    assert found["temperature"].dims == ("time", "level", "latitude", "longitude")
    assert found["latitude"].values[0] == 85
    assert str(found["time"].values[0]).startswith("1990-01-31T00:00")
    # 500 hPa is between the model's levels everywhere.
    expected = 280 + 20 * np.log(0.5) + np.linspace(10, -10, 6)
    np.testing.assert_allclose(found["temperature"].sel(level=500)[3, :, 2], expected)
    rain = output["surface_exchange.precipitation"].values[5, 2, 0]
    found_rain = found["total_precipitation_24hr"].values[5, -1, 2]
    assert found_rain == pytest.approx(max(rain, 0) * 86400)
    assert float(found["total_precipitation_24hr"].min()) >= 0
    pressure = output["normalized_surface_pressure"].values[5, 2, 0]
    assert found["surface_pressure"].values[5, -1, 2] == pytest.approx(1e5 * pressure)


def test_winds_and_humidity_are_on_levels():
    found = run_fields(model_output())
    warm = np.linspace(10, -10, 6)  # from north to south
    wind = {"u_component_of_wind": (5 - 12 * np.log(0.5) + warm)}
    wind["v_component_of_wind"] = 3 * np.log(0.5) - warm
    for name, expected in wind.items():
        assert found[name].dims == ("time", "level", "latitude", "longitude")
        np.testing.assert_allclose(found[name].sel(level=500)[3, :, 2], expected)
        assert not found[name].isnull().any()
    moist = found["specific_humidity"]
    np.testing.assert_allclose(moist.sel(level=700), 0.012 + 0.008 * np.log(0.7), rtol=1e-6)
    assert moist.isnull().all(("time", "latitude", "longitude")).values.tolist() == 4 * [
        False
    ] + 4 * [True]
    dry = model_output()
    dry["specific_humidity"] = dry["specific_humidity"] - 0.1
    assert float(run_fields(dry)["specific_humidity"].max()) == 0.0


def test_instants_keep_their_times_and_give_a_rate_of_precipitation():
    output = model_output(8, "1990-01-31", hours=6, instants=True)
    found = run_fields(output, instants=True)
    assert [str(t)[:13] for t in found["time"].values[[0, 1, 7]]] == [
        "1990-01-31T00",
        "1990-01-31T06",
        "1990-02-01T18",
    ]
    assert "total_precipitation_24hr" not in found
    rain = output["surface_exchange.precipitation"].values[5, 2, 0]
    assert found["precipitation_rate"].values[5, -1, 2] == pytest.approx(max(rain, 0) * 86400)
