"""The synthetic source of the benchmark of preparation."""

from __future__ import annotations

import numpy as np
import xarray as xr

from slams.benchmarks.wave_source import write_waves


def test_waves_are_a_plausible_source_that_can_be_made_again(tmp_path):
    sizes = [write_waves(tmp_path / n, 40, (13, 24), [850, 500]) for n in ("a.zarr", "b.zarr")]
    assert sizes == [40 * 2 * 13 * 24 * 4] * 2
    one, other = (
        xr.open_zarr(tmp_path / n, consolidated=False).load() for n in ("a.zarr", "b.zarr")
    )
    xr.testing.assert_identical(one, other)
    values = one["temperature"].values
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert 150 < values.min() < values.max() < 350
    # It moves from day to day, on every level.
    assert (np.abs(np.diff(values, axis=0)).mean(axis=(2, 3)) > 0.1).all()
