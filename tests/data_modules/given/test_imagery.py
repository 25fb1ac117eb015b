"""Images in memory: means over footprints, gaps, times, errors, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from data_modules.given.found import Given
from data_modules.observing.observers import SatelliteObserver
from slams.config.schema import SatelliteConfig
from slams.errors import UserError
from slams.fields import Observations
from tests.data_modules.given.models import CHANNELS, DATE, GRID, table, used

OLR = "outgoing_longwave_radiation"
NAME = f"satellite/{OLR}"
SECTION = SatelliteConfig(footprint=2, error=4.0)


def image(factor: int = 1, time: str | None = DATE) -> xr.DataArray:
    """Return an image on the model's grid, or on one `factor` times finer."""
    rows, columns = 12 * factor, 24 * factor
    latitude = 90 - 180 / rows * (np.arange(rows) + 0.5)
    # The cells of a finer grid fill those of the model's grid, whose first one is centred on 0.
    longitude = 360 / columns * (np.arange(columns) + 0.5) - 7.5
    values = 220 + 40 * np.random.default_rng(0).random((rows, columns))
    array = xr.DataArray(
        values,
        {"lat": latitude, "lon": longitude},
        ("lat", "lon"),
        "olr",
        {"units": "W m-2"},
    )
    return array if time is None else array.assign_coords(time=np.datetime64(time, "ns"))


def one(found: Given) -> Observations:
    (observations,) = found.observations
    assert observations.name == NAME
    return observations


def observed(array: np.ndarray, section: SatelliteConfig = SECTION) -> torch.Tensor:
    """Observe a field of the model by the recipe's operator."""
    operator = SatelliteObserver(section, 0, CHANNELS, GRID).operators[NAME]
    state = torch.zeros(len(CHANNELS), *GRID.shape, dtype=torch.float64)
    state[-1] = torch.from_numpy(array)
    return operator(state)


def test_an_image_on_the_grid_is_observed_as_a_state_is() -> None:
    for section in (SECTION, replace(SECTION, footprint_km=2500.0)):
        found = used(image(), satellite=section)
        expected = observed(image().values, section)
        torch.testing.assert_close(one(found).values[0, 0].double(), expected, rtol=1e-6, atol=0)
        assert one(found).values.shape == (1, 1, 72)
        assert bool((one(found).error_variance == 16.0).all())
        assert found.counts == {NAME: {"given": 288, "used": 72}}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.isel(lat=slice(None, None, -1)),
        lambda a: a.assign_coords(lon=a["lon"] % 360).sortby("lon"),
        lambda a: a.transpose("lon", "lat"),
        lambda a: a.expand_dims("time"),
        lambda a: a.rename(None),
        lambda a: a.rename("rlut"),
        lambda a: a.to_dataset(),
        lambda a: a.rename("x").assign_attrs(standard_name="toa_outgoing_longwave_flux"),
        lambda a: xr.concat([a, a.isel(lon=[0]).assign_coords(lon=[a["lon"][0] + 360])], "lon"),
        lambda a: a.chunk({"lat": 3}),
    ],
)
def test_the_form_does_not_matter(change) -> None:
    expected = one(used(image(2))).values
    found = one(used(change(image(2)))).values
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_a_finer_image_is_averaged_by_area() -> None:
    """Three by three pixels per cell, weighted by the sine of latitude, then the footprints."""
    fine = image(3)
    bounds = np.sin(np.deg2rad(90 - 5 * np.arange(37.0)))
    area = (bounds[:-1] - bounds[1:]).reshape(12, 3)
    share = area / area.sum(axis=1, keepdims=True)
    cells = fine.values.reshape(12, 3, 24, 3).mean(axis=3)
    coarse = np.einsum("ir,irj->ij", share, cells)
    found = one(used(fine)).values[0, 0].double()
    torch.testing.assert_close(found, observed(coarse), rtol=1e-6, atol=0)


def test_footprints_of_which_less_than_half_is_known_are_missing() -> None:
    whole = image(2)
    gappy = whole.copy()
    # A footprint has 4 x 4 pixels: one loses 9, more than half; another one 7.
    gappy[4:7, 4:7] = np.nan
    gappy[12:14, 12:15] = np.nan
    gappy[14, 12] = np.nan
    found = used(gappy)
    missing = (~one(found).mask[0, 0]).nonzero().flatten().tolist()
    assert missing == [1 * 12 + 1]
    counts = found.counts[NAME]
    assert counts == {"given": 1152 - 16, "footprints less than half covered": 1, "used": 71}
    same = one(used(whole)).values[0, 0]
    different = (one(found).values[0, 0] != same).nonzero().flatten().tolist()
    assert different == [13, 3 * 12 + 3]


def test_a_regional_image_observes_its_region() -> None:
    region = image(2).sel(lat=slice(61, -1)).isel(lon=slice(8, 24))
    found = used(region)
    mask = one(found).mask[0, 0].reshape(6, 12)
    assert mask.nonzero().tolist() == [[y, x] for y in (1, 2) for x in (2, 3, 4, 5)]
    whole = one(used(image(2))).values[0, 0].reshape(6, 12)
    torch.testing.assert_close(one(found).values[0, 0].reshape(6, 12)[mask], whole[mask])
    # Across the meridian of 0 and across the date line.
    for shift in (-100.0, 100.0, 260.0):
        moved = region.assign_coords(lon=region["lon"] + shift)
        assert int(one(used(moved)).mask.sum()) >= 6


def test_times_of_the_day_are_averaged_and_others_are_counted() -> None:
    hours = np.array([f"{DATE}T06", f"{DATE}T18", "2001-03-29T06"], "datetime64[ns]")
    parts = [image(time=None) + k for k in (0.0, 2.0, 50.0)]
    steps = xr.concat(parts, xr.Variable("time", hours))
    steps.attrs["units"] = "W m-2"
    found = used(steps)
    expected = observed(image().values + 1.0)
    torch.testing.assert_close(one(found).values[0, 0].double(), expected, rtol=1e-6, atol=0)
    assert found.counts[NAME] == {"given": 864, "outside the day": 288, "used": 72}
    assert "imagery: mean of 2 times of the day" in found.notes
    without = used(image(time=None))
    assert f"imagery: no time stated, taken as {DATE}" in without.notes


def test_errors_of_the_image_replace_those_of_the_recipe() -> None:
    stated = image().assign_attrs(error=7.0)
    assert bool((one(used(stated)).error_variance == 49.0).all())
    single = image().to_dataset().assign(error=7.0)
    assert bool((one(used(single)).error_variance == 49.0).all())
    error = image() * 0 + 2.0
    error[:, 12:] = 6.0
    dataset = image().to_dataset().assign(error=error)
    variance = one(used(dataset)).error_variance.reshape(6, 12)
    assert variance[:, :6].unique().tolist() == pytest.approx([4.0])
    assert variance[:, 6:].unique().tolist() == pytest.approx([36.0])


def test_values_out_of_range_are_counted() -> None:
    wrong = image(2)
    wrong[8, 8] = 600.0
    found = used(wrong)
    assert found.counts[NAME] == {"given": 1152, "range": 1, "used": 72}
    gap = wrong.where(wrong < 600.0)
    torch.testing.assert_close(one(found).values, one(used(gap)).values)


def test_an_error_that_is_none_is_counted() -> None:
    error = image() * 0 + 2.0
    error[8, 8] = 0.0
    found = used(image().to_dataset().assign(error=error))
    assert found.counts[NAME] == {"given": 288, "error out of range": 1, "used": 72}


def test_an_image_and_a_table_are_taken_together() -> None:
    found = used(table(), image())
    assert [o.name for o in found.observations] == ["stations/2m_temperature", NAME]
    assert set(found.counts) == {"stations/2m_temperature", NAME}


def test_a_model_without_the_channel_says_so() -> None:
    channels = tuple(c for c in CHANNELS if c.variable != OLR)
    with pytest.raises(UserError, match=r"nothing is left.*not a channel of this model 288"):
        used(image(), channels=channels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda a: a.assign_coords(time=np.datetime64("2001-03-30", "ns")),
            "image is of 2001-03-30",
        ),
        (lambda a: a.rename("t2m"), "found imagery of t2m, expected outgoing_longwave_radiation"),
        (lambda a: a.assign_attrs(units="K"), "has units 'K', expected W m-2"),
        (lambda a: a.assign_attrs(units="J m-2"), "has units 'J m-2', expected a flux"),
        (
            lambda a: (a * -1).assign_attrs(units="W m-2"),
            "the median of outgoing.* its units",
        ),
        (lambda a: a * np.nan, "found no value on the day"),
        (lambda a: a.isel(lat=0), "a site belongs into a table of reports"),
        (lambda a: a.isel(lon=[0, 1, 3, 4, 7, 8]), "longitudes are not equally spaced"),
        (lambda a: a.isel(lat=[0]), "found 1 values of latitude, expected two or more"),
        (lambda a: a.drop_vars("lat"), "coordinate 'latitude' has no values"),
        (lambda a: a.isel(lat=[0, 1, 1]), "expected distinct latitudes"),
        (lambda a: a.assign_attrs(error=-1.0), "an error that is not a positive"),
        (lambda a: a.assign_attrs(error="large"), "an error that is not a positive"),
        (lambda a: a.expand_dims(band=[1, 2]), "has the dimension band"),
    ],
)
def test_images_that_cannot_be(change, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        used(change(image()))
    assert str(refusal.value).startswith("observations: ")
    assert "\n" not in str(refusal.value)


def test_a_second_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"observations\[1\]: found a second image"):
        used(image(), image())
