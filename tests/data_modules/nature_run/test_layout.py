"""Levels, packing and the store of nature runs."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from data_modules.nature_run.fields import run_fields
from data_modules.nature_run.layout import (
    HUMIDITY_LEVELS,
    LEVELS,
    PIECE_STEPS,
    create_nature_run,
    round_mantissa,
    to_pressure_levels,
    write_piece,
)
from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.fields import FieldSpec
from tests.data_modules.nature_run.stand_in import SIGMA, model_output


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


def test_rounded_mantissa_keeps_small_numbers():
    rng = np.random.default_rng(2)
    values = (10 ** rng.uniform(-12, -1.5, 10000)).astype(np.float32)
    values[:2] = 0.0, np.nan
    found = round_mantissa(values, 10)
    assert found[0] == 0
    assert np.isnan(found[1])
    error = np.abs(found[2:].astype(float) - values[2:]) / values[2:]
    assert 2**-12 < error.max() <= 2**-11
    np.testing.assert_array_equal(round_mantissa(found, 10), found)
    assert not (found[2:].view(np.uint32) & 0x1FFF).any()  # 13 bits of 23 are gone
    # 1 + 2^-11 is half-way between two numbers of 10 bits, and is rounded to the even one.
    half = np.float32([1 + 2**-11, 1 + 3 * 2**-11])
    np.testing.assert_array_equal(round_mantissa(half, 10), np.float32([1, 1 + 2**-9]))


def test_written_run_is_a_source(tmp_path):
    fields = run_fields(model_output())
    fields["surface_elevation"] = (("latitude", "longitude"), np.arange(48.0).reshape(6, 8))
    path = tmp_path / "run.zarr"
    create_nature_run(path, fields, fields["time"].values, {"title": "test"})
    for start in range(0, 40, PIECE_STEPS):
        write_piece(path, fields.isel(time=slice(start, start + PIECE_STEPS)), start)
    names = [f"temperature@{level}" for level in LEVELS]
    names += ["2m_temperature", "total_precipitation_24hr", "outgoing_longwave_radiation"]
    names += ["surface_pressure"]
    channels = tuple(FieldSpec.parse(name) for name in names)
    found = open_source(SourceConfig(path=str(path)), channels)
    steps = {"temperature": 0.1, "outgoing_longwave_radiation": 1.0, "surface_pressure": 10.0}
    for name, step in steps.items():
        difference = np.abs(found[name].values - fields[name].values)
        assert difference.max() <= 0.5001 * step
    np.testing.assert_array_equal(found["surface_elevation"], fields["surface_elevation"])
    assert found["time"].values[0] == 7335.0  # 1990-01-31
    assert found.attrs["repairs"] == []


def test_winds_and_humidity_are_stored_within_their_precision(tmp_path):
    fields = run_fields(model_output(PIECE_STEPS))
    path = tmp_path / "run.zarr"
    create_nature_run(path, fields, fields["time"].values, {})
    before = (path / "u_component_of_wind" / "zarr.json").read_bytes()
    write_piece(path, fields, 0)
    assert (path / "u_component_of_wind" / "zarr.json").read_bytes() == before
    with xr.open_zarr(path, consolidated=False) as found:
        for name in ("u_component_of_wind", "v_component_of_wind"):
            assert found[name].attrs["units"] == "m s-1"
            assert found[name].encoding["dtype"] == np.int16
            assert float(np.abs(found[name] - fields[name]).max()) <= 0.0101
        moist = found["specific_humidity"].sel(level=list(HUMIDITY_LEVELS))
        assert moist.attrs["units"] == "kg kg-1"
        np.testing.assert_allclose(
            moist, fields["specific_humidity"].sel(level=moist["level"]), rtol=2**-11
        )
        assert not (moist.values.view(np.uint32) & 0x1FFF).any()  # which compresses well
        assert bool(found["specific_humidity"].sel(level=[300, 200, 100, 30]).isnull().all())


def test_a_piece_begins_a_chunk_and_fits_its_packing(tmp_path):
    fields = run_fields(model_output(PIECE_STEPS))
    create_nature_run(tmp_path / "run.zarr", fields, fields["time"].values, {})
    with pytest.raises(ValueError, match="first of a chunk"):
        write_piece(tmp_path / "run.zarr", fields, 7)
    fields["v_component_of_wind"][3, 2, 1, 0] = 700.0  # int16 would wrap to -610.72
    with pytest.raises(ValueError, match="v_component_of_wind"):
        write_piece(tmp_path / "run.zarr", fields, 0)
