"""NOAA PSL: packed and plain files, two passes per day, the gap of 1978, files joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import noaa_olr, noaa_reanalysis

OLR = (FieldSpec.parse("outgoing_longwave_radiation"),)
NAME = OLR[0].variable


def opened(path: Path, **keys: object) -> xr.Dataset:
    return open_source(SourceConfig(kind="noaa_psl", path=str(path), **keys), OLR)


def test_both_eras_hold_the_same_radiation(tmp_path):
    truth = noaa_olr(tmp_path / "plain.nc")["olr"].values
    noaa_olr(tmp_path / "packed.nc", era="int16")
    plain, packed = (opened(tmp_path / f"{name}.nc") for name in ("plain", "packed"))
    np.testing.assert_array_equal(plain[NAME].values, truth)
    np.testing.assert_allclose(packed[NAME].values, truth, atol=0.0051)
    assert plain.attrs["time"] == f"{NAME}: mean of the UTC day"
    assert plain.attrs["title"] == "Daily Interpolated OLR"


def test_missing_code_of_the_packed_era_is_missing(tmp_path):
    noaa_olr(tmp_path / "packed.nc", era="int16")
    with xr.open_dataset(tmp_path / "packed.nc", mask_and_scale=False) as raw:
        raw = raw.load()
    raw["olr"][3, 2, 5] = 32766
    raw.to_netcdf(tmp_path / "holes.nc")
    values = opened(tmp_path / "holes.nc")[NAME].values
    assert np.argwhere(np.isnan(values)).tolist() == [[3, 2, 5]]


def test_epoch_of_year_one_is_understood(tmp_path):
    """Old files count hours since 1-1-1, which are different days in two calendars."""
    noaa_olr(tmp_path / "old.nc", epoch="1-1-1 00:00:0.0")
    assert opened(tmp_path / "old.nc")["time"].values[0] == 11323.0  # 2001-01-01


def test_two_passes_a_day_are_averaged(tmp_path):
    truth = noaa_olr(tmp_path / "olr.2xdaily.nc", step=12)["olr"].values
    found = opened(tmp_path / "olr.2xdaily.nc")
    expected = truth.reshape(12, 2, 7, 12).mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(found[NAME].values, expected, rtol=1e-7)
    assert "mean of 2 values over 12 h" in found.attrs["time"]
    noaa_olr(tmp_path / "lost.nc", step=12, keep=np.r_[0:7, 8:24])
    with pytest.raises(UserError, match=r"2001-01-04 has 1 of its 2 steps"):
        opened(tmp_path / "lost.nc")


@pytest.mark.parametrize("filled", [False, True])
def test_gap_of_1978_is_left_out(tmp_path, filled):
    """The file may skip the gap or fill it with missing values."""
    path = tmp_path / "olr.day.mean.nc"
    days = np.datetime64("1978-03-10") + np.arange(305)
    gap = (days >= np.datetime64("1978-03-16")) & (days <= np.datetime64("1978-12-31"))
    keep = np.arange(305) if filled else np.flatnonzero(~gap)
    truth = noaa_olr(path, days=305, start="1978-03-10", keep=keep)
    if filled:
        values = truth["olr"].where(xr.DataArray(~gap, dims="time"))
        truth.assign(olr=values.assign_attrs(truth["olr"].attrs)).to_netcdf(tmp_path / "full.nc")
        path = tmp_path / "full.nc"
    found = opened(path)
    expected = (days[~gap] - np.datetime64("1970-01-01")).astype(float)
    np.testing.assert_array_equal(found["time"].values, expected)
    assert np.isfinite(found[NAME].values).all()
    left = [r for r in found.attrs["repairs"] if "1978-03-16 to 1978-12-31" in r]
    assert len(left) == int(filled)
    if filled:
        assert "291 steps" in left[0]


def test_climate_data_record_on_one_degree(tmp_path):
    """Longitude at cell centres, latitude with poles, as the record has them."""
    truth = noaa_olr(tmp_path / "cdr.nc", rows=19, columns=36)
    shifted = truth.assign_coords(lon=truth["lon"] + 5).isel(lat=slice(None, None, -1))
    shifted.to_netcdf(tmp_path / "shifted.nc")
    found = opened(tmp_path / "shifted.nc")
    assert found["longitude"].values[[0, -1]].tolist() == [5.0, 355.0]
    np.testing.assert_array_equal(found[NAME].values, truth["olr"].values)


def test_files_of_several_years_are_joined(tmp_path):
    for year in (2001, 2002):
        noaa_olr(tmp_path / f"olr.{year}.nc", start=f"{year}-01-01")
    pattern = opened(tmp_path / "olr.*.nc")
    listed = opened(
        tmp_path / "x", files=[str(tmp_path / f"olr.{year}.nc") for year in (2002, 2001)]
    )
    assert pattern.sizes["time"] == 24
    np.testing.assert_array_equal(listed[NAME].values, pattern[NAME].values)
    assert "time: unordered dates sorted" in listed.attrs["repairs"]
    noaa_olr(tmp_path / "olr.2003.nc", start="2002-01-12")
    with pytest.raises(UserError, match=r"2003\.nc both have 2002-01-12T00:00:00, with diff"):
        opened(tmp_path / "olr.*.nc")


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    noaa_olr(tmp_path / "olr.2001.nc")
    noaa_olr(tmp_path / "olr.2002.nc", start="2002-01-01", rows=13)
    with pytest.raises(UserError, match=r"olr\.2002\.nc has another lat than"):
        opened(tmp_path / "olr.*.nc")
    other = noaa_olr(tmp_path / "olr.2002.nc", start="2002-01-01")
    other["olr"].attrs["units"] = "K"
    other.to_netcdf(tmp_path / "olr.2002.nc")
    with pytest.raises(UserError, match=r"has olr in 'K', .* in 'W/m\^2'"):
        opened(tmp_path / "olr.*.nc")


def air(path: Path, statistic: str | None, step: int = 6) -> Path:
    dataset = noaa_olr(path.with_suffix(".tmp.nc"), days=3, step=step).rename(olr="air")
    levels = dataset.expand_dims(level=np.array([1000.0, 850.0], dtype="f4"), axis=1) + 50
    levels["level"].attrs["units"] = "millibar"
    levels["air"].attrs = {"units": "degK"} | ({"statistic": statistic} if statistic else {})
    levels.to_netcdf(path)
    return path


def test_four_instants_a_day_are_told_from_means(tmp_path):
    channels = (FieldSpec.parse("temperature@850"),)

    def times(path: Path, daily: str = "instant") -> str:
        config = SourceConfig(kind="noaa_psl", path=str(path), daily=daily)
        return open_source(config, channels).attrs["time"]

    instants = air(tmp_path / "a.nc", "Individual Obs")
    assert times(instants) == "temperature: instant at 00 UTC"
    assert times(instants, "mean") == "temperature: mean of 4 instants per day"
    assert times(air(tmp_path / "b.nc", "Mean", 24)) == "temperature: mean of the UTC day"
    with pytest.raises(UserError, match=r"step every 6 h, but does not state whether"):
        times(air(tmp_path / "c.nc", None))


def test_real_daily_means_are_known_as_such(shared_data):
    path = shared_data / "real" / "ncep_r1_air_daily_20220101-05_17lev.nc"
    config = SourceConfig(kind="noaa_psl", path=str(path))
    found = open_source(config, (FieldSpec.parse("temperature@10"),))
    assert found.attrs["time"] == "temperature: mean of the UTC day"
    # The polar night: the stratosphere is colder in the north in January.
    values = found["temperature"].values[:, 0]
    assert values[:, :10].mean() < values[:, -10:].mean() - 10


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("uwnd", "u_component_of_wind@250"),
        ("vwnd", "v_component_of_wind@850"),
        ("shum", "specific_humidity@700"),
    ],
)
def test_winds_and_humidity_of_the_reanalysis(tmp_path, name, channel):
    truth = noaa_reanalysis(tmp_path / f"{name}.2022.nc", name)
    spec = FieldSpec.parse(channel)
    config = SourceConfig(kind="noaa_psl", path=str(tmp_path / f"{name}.2022.nc"))
    found = open_source(config, (spec,))
    np.testing.assert_array_equal(
        found[spec.variable].values, truth[name].sel(level=[spec.level]).values
    )
    assert found.attrs["time"] == f"{spec.variable}: mean of the UTC day"
    instants = noaa_reanalysis(tmp_path / "four.nc", name, step=6, statistic="Individual Obs")
    four = open_source(SourceConfig(kind="noaa_psl", path=str(tmp_path / "four.nc")), (spec,))
    expected = instants[name].sel(level=[spec.level]).isel(time=slice(None, None, 4))
    np.testing.assert_array_equal(four[spec.variable].values, expected.values)


def test_humidity_above_300_hpa_is_refused(tmp_path):
    noaa_reanalysis(tmp_path / "shum.nc", "shum")
    config = SourceConfig(kind="noaa_psl", path=str(tmp_path / "shum.nc"))
    words = r"level 200 hPa of specific_humidity is missing; found 1000, .*, 300 hPa"
    with pytest.raises(UserError, match=words):
        open_source(config, (FieldSpec.parse("specific_humidity@200"),))
