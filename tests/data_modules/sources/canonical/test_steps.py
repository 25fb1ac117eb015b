"""Steps of less than a day: by hand, and on WeatherBench2's 6-hourly layout.

The layout is that of `tests.data_modules.public_layouts`, which names its public page.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.sources import open_source
from data_modules.sources.canonical.daily import Days, find_days_of
from data_modules.sources.canonical.layouts import VariableLayout
from data_modules.sources.canonical.reading import Reading
from slams.calendar.days import days_since_epoch
from slams.cf.days import day_methods
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import weatherbench2

FIRST = 11323.0  # 2001-01-01


def steps(hours, layout: VariableLayout, amount=False, daily="instant", step=0.25) -> Days:
    time = FIRST + np.asarray(hours, dtype=np.float64) / 24
    reading = Reading(SourceConfig(path="made-up", daily=daily), (), "data.source", step=step)
    return find_days_of(time, layout, amount, "a variable", reading)


def layout(hours: float | None = 0.0, stamp: str = "start", fixed: bool = True) -> VariableLayout:
    return VariableLayout("x", hours=hours, stamp=stamp, fixed=fixed)


@pytest.mark.parametrize(
    ("every", "covers", "stamp", "first", "index"),
    [
        # Values over six hours: those that end at a step belong to the step that begins before.
        (6, 6, "start", 0, [[0], [1], [2], [3], [4]]),
        (6, 6, "end", -6, [[0], [1], [2], [3], [4]]),
        # Three-hourly: two to a step, from its beginning on; the ends are incomplete.
        (3, 3, "end", 0, [[1, 2], [3, 4], [5, 6], [7, 8]]),
        (3, 3, "middle", 0, [[1, 2], [3, 4]]),
    ],
)
def test_totals_of_the_step_that_begins(every, covers, stamp, first, index):
    hours = np.arange(0, 27, every)
    if stamp == "middle":
        hours = np.arange(-1.5, 14, 3)
    found = steps(hours, layout(covers, stamp), amount=True)
    assert found.index.tolist() == index
    expected = [FIRST + (first + 6 * n) / 24 for n in range(len(index))]
    assert found.day.tolist() == expected
    assert found.note.startswith("total of the 6 h from 00, 06, 12, 18 UTC on")


def test_instants_and_means_of_instants():
    hourly = np.arange(-2, 26)
    found = steps(hourly, layout())
    assert found.index.ravel().tolist() == [2, 8, 14, 20, 26]
    assert found.note == "instant at 00, 06, 12, 18 UTC"
    means = steps(hourly, layout(), daily="mean")
    assert means.index.tolist() == [list(range(s, s + 6)) for s in (2, 8, 14, 20)]
    assert means.left_out == "2 incomplete steps at the ends"
    assert steps(hourly, layout(), step=0.5).index.ravel().tolist() == [2, 14, 26]


@pytest.mark.parametrize(
    ("hours", "what", "message"),
    [
        (np.arange(0, 72, 24), layout(), "has a step every 24 h, longer than data.step, 6h"),
        (np.arange(0, 48, 12), layout(), "has a step every 12 h, longer than data.step, 6h"),
        (np.arange(0, 48, 6), layout(24, "end"), "covers 24 h, which do not divide a step"),
        (np.arange(0, 48, 4), layout(4), "covers 4 h, which do not divide a step"),
        (np.arange(1, 48, 6), layout(), "has no step at 00, 06, 12, 18 UTC, but at 1, 7, 13, 19"),
        (np.delete(np.arange(0, 48, 3), 5), layout(3), "2001-01-01T12:00:00 has 1 of its 2 steps"),
        (np.arange(0, 48, 6), layout(None, fixed=False), "does not state whether"),
    ],
)
def test_axes_that_cannot_be_steps_are_refused(hours, what, message):
    with pytest.raises(UserError, match=message):
        steps(hours, what)


CHANNELS = [
    FieldSpec.parse(name)
    for name in ("temperature@850", "2m_temperature", "total_precipitation_24hr")
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.Dataset]:
    path = tmp_path_factory.mktemp("wb2") / "era5.zarr"
    return path, weatherbench2(path, days=4)


def test_weatherbench2_at_its_own_steps(store: tuple[Path, xr.Dataset]) -> None:
    path, written = store
    found = open_source(SourceConfig(kind="weatherbench2", path=str(path)), CHANNELS, step=0.25)
    # The rain of a step ends at the next: the first value is that of the step before the store,
    # and the last step has none.
    time = days_since_epoch(written["time"].values)
    np.testing.assert_array_equal(found["time"], time[:-1])
    np.testing.assert_array_equal(
        found["temperature"].values[:, 0], written["temperature"].sel(level=850).values[:-1]
    )
    # 6-hourly totals in m as a mean rate in mm day-1.
    rain = written["total_precipitation_6hr"].values[1:] * 4000.0
    np.testing.assert_allclose(found["total_precipitation_24hr"], rain, rtol=1e-6)
    methods = day_methods({"sources": [{"time": found.attrs["time"]}]})
    assert methods == {
        "temperature": "point",
        "2m_temperature": "point",
        "total_precipitation_24hr": "mean",
    }


def test_the_mean_of_steps_is_the_day(store: tuple[Path, xr.Dataset]) -> None:
    """The day's rain is the mean rate of its four steps, and of its two half days."""
    path, _ = store
    config = SourceConfig(kind="weatherbench2", path=str(path))
    day, half, six = (open_source(config, CHANNELS, step=s) for s in (1.0, 0.5, 0.25))
    name = "total_precipitation_24hr"
    quarters = six[name].values[: 4 * 3].reshape(3, 4, *six[name].shape[1:]).mean(axis=1)
    np.testing.assert_allclose(quarters, day[name].values[:3], atol=2e-4)
    halves = half[name].values[:6].reshape(3, 2, *half[name].shape[1:]).mean(axis=1)
    np.testing.assert_allclose(halves, day[name].values[:3], atol=2e-4)
    np.testing.assert_array_equal(
        six["temperature"].values[::4][:3], day["temperature"].values[:3]
    )


def test_the_last_day_of_a_period_has_all_its_steps(store: tuple[Path, xr.Dataset]) -> None:
    config = SourceConfig(kind="weatherbench2", path=str(store[0]))
    first = float(np.floor(days_since_epoch(store[1]["time"].values[0])))
    found = open_source(config, CHANNELS, (first + 1, first + 2), step=0.25)
    np.testing.assert_array_equal(found["time"], first + 1 + np.arange(8) / 4)


def test_sources_of_days_are_refused_by_name() -> None:
    config = SourceConfig(kind="cpc_gauge", path="precip.nc")
    with pytest.raises(
        UserError, match=r"cpc_gauge has one value per day, expected data\.step to"
    ):
        open_source(config, CHANNELS[2:], step=0.25)
