"""Errors of a filter's forecasts by days of a cycle, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.store.training_store import TrainingStore
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.stages.filter_errors import filter_errors, open_compared, print_filter_errors

# Two cycles of 35 and 12 days, 10 days apart.
LONG, SHORT = slice(0, 35), slice(45, 57)


@dataclass(frozen=True)
class Moved(TrainingStore):
    """States that differ from those of a store by what is given for their days.

    Attributes:
        by: Differences on the days at positions `(n,)`, added to the channels that are read.
        reads: Number of days of each reading.
    """

    by: Callable[[np.ndarray], np.ndarray] = field(default=np.zeros_like)
    reads: list[int] = field(default_factory=list)

    def read(self, index: slice | np.ndarray) -> np.ndarray:
        """Return days of the fields with their differences."""
        self.reads.append(len(index))
        return super().read(index) + np.float32(self.by(np.asarray(index)))


@pytest.fixture(scope="module")
def store(tiny_prepared: Path) -> TrainingStore:
    """Return a store of temperature at 850 and 500 hPa, precipitation and OLR."""
    return TrainingStore.open(tiny_prepared)


def moved(store: TrainingStore, by: Callable[[np.ndarray], np.ndarray] | float) -> Moved:
    """Return the states of a store, moved by a constant, or by a function of the position."""
    function = by if callable(by) else lambda index: np.full((len(index), 1, 1, 1), by)
    names = ("path", "channels", "channel_index", "time", "grid", "attributes")
    return Moved(**{name: getattr(store, name) for name in names}, by=function)


def by_day(value: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda index: value(index)[:, None, None, None]


def cycles(store: TrainingStore) -> dict[str, list[np.ndarray]]:
    return {"train": [store.time[LONG], store.time[SHORT]]}


def test_a_constant_error_is_the_rmse_of_each_bin_that_has_days(store):
    table = filter_errors(store, moved(store, -1.5), cycles(store))
    assert table["split"].tolist() == ["train"] * 5
    assert table["days"].tolist() == ["1-5", "6-10", "11-20", "21-30", "31-80"]
    assert table["of"].tolist() == table["n"].tolist() == [10, 10, 12, 10, 5]
    np.testing.assert_allclose(table["rmse"], 1.5, rtol=1e-4)
    np.testing.assert_allclose(table["ratio"], 1.5 / table["climatology"], rtol=1e-4)
    assert "difference" not in table


def test_the_climatology_is_scored_on_the_same_days(store):
    """Forecasts that are the climatology have its rmse."""
    store = store.select(["temperature@850", "temperature@500"])
    normaliser = store.normaliser()

    def climatology(index: np.ndarray) -> np.ndarray:
        time = torch.from_numpy(store.time[index])[:, None]
        fields = normaliser.to_physical(normaliser.climatology(time))[:, 0].numpy()
        return fields - store.read(index)

    table = filter_errors(store, moved(store, climatology), cycles(store), most=3)
    np.testing.assert_allclose(table["ratio"], 1, rtol=1e-4)
    assert table["climatology"].between(0.5, 5).all()


def test_roots_are_taken_after_the_days_and_before_the_levels(store):
    levels = np.array([1.0, 3.0])[:, None, None]

    def error(index: np.ndarray) -> np.ndarray:
        return np.where(index % 2, 3.0, 4.0)[:, None, None, None] * levels

    table = filter_errors(store, moved(store, error), {"train": [store.time[:10]]})
    # Days 1, 3, 5 have an error of 4, days 2 and 4 one of 3; then the other way round.
    expected = [2 * np.sqrt((3 * 16 + 2 * 9) / 5), 2 * np.sqrt((2 * 16 + 3 * 9) / 5)]
    np.testing.assert_allclose(table["rmse"], expected, rtol=1e-4)


def test_cells_count_by_their_area(store):
    polar = np.zeros((1, 1, 12, 1))
    polar[:, :, 0] = 2.0
    forecasts = moved(store, lambda index: np.broadcast_to(polar, (len(index), 1, 12, 1)))
    table = filter_errors(store, forecasts, {"train": [store.time[:5]]})
    # The area of the cap north of 75 degrees.
    share = (1 - np.sin(np.deg2rad(75))) / 2
    np.testing.assert_allclose(table["rmse"], 2 * np.sqrt(share), rtol=1e-4)


def test_days_are_counted_from_the_start_of_their_own_cycle(store):
    """Errors that grow by 1 K per day, from 1 K on the first day of each cycle."""
    forecasts = moved(store, by_day(lambda index: np.where(index < 45, index + 1, index - 44)))
    table = filter_errors(store, forecasts, cycles(store))
    rms = [np.sqrt(np.mean(np.square(days))) for days in (np.arange(1, 6), np.arange(6, 11))]
    np.testing.assert_allclose(table["rmse"][:2], rms, rtol=1e-4)
    mixed = np.concatenate([np.arange(11, 21), [11, 12]])
    np.testing.assert_allclose(table["rmse"][2], np.sqrt(np.mean(mixed**2)), rtol=1e-4)


def test_splits_are_scored_apart_and_the_last_bin_is_open(store):
    days = {"train": [store.time[:95]], "validation": [store.time[95:99]]}
    table = filter_errors(store, moved(store, by_day(lambda i: 1.0 + (i >= 95))), days)
    assert table["days"].tolist()[-2:] == ["81 and later", "1-5"]
    assert table["of"].tolist() == [5, 5, 10, 10, 50, 15, 4]
    np.testing.assert_allclose(table["rmse"], [1] * 6 + [2], rtol=1e-4)


def test_of_many_days_some_are_read_evenly_spaced_and_few_at_a_time(store):
    forecasts = moved(store, by_day(lambda index: index + 1))
    table = filter_errors(store, forecasts, {"train": [store.time[:80]]}, most=3)
    assert table["n"].tolist() == [3] * 5
    assert table["of"].tolist() == [5, 5, 10, 10, 50]
    rms = np.sqrt(np.mean(np.square([31, 55, 80]))), np.sqrt(np.mean(np.square([31, 56, 80])))
    assert any(abs(table["rmse"].iloc[-1] - value) < 1e-3 for value in rms)
    forecasts.reads.clear()
    filter_errors(store, forecasts, {"train": [store.time[:80]]})
    assert sum(forecasts.reads) == 80
    assert max(forecasts.reads) <= 8


def test_two_forecasts_are_compared_by_their_difference(store):
    table = filter_errors(store, moved(store, 2.0), cycles(store), moved(store, -1.0))
    np.testing.assert_allclose(table["rmse"], 2, rtol=1e-4)
    np.testing.assert_allclose(table["other_rmse"], 1, rtol=1e-4)
    np.testing.assert_allclose(table["difference"], 3, rtol=1e-4)
    np.testing.assert_allclose(table["difference_ratio"], 3, rtol=1e-4)


def test_only_days_that_both_forecasts_have_are_compared(store):
    store = store.select(["temperature@850", "temperature@500"])
    # Its positions are those of the store 8 days before, and it is 1 K too warm.
    late = moved(store, lambda index: store.read(index + 8) - store.read(index) + 1)
    late = replace(late, time=store.time[8:])
    table = filter_errors(store, moved(store, 2.0), {"train": [store.time[:20]]}, late)
    assert table["days"].tolist() == ["6-10", "11-20"]
    assert table["of"].tolist() == [2, 10]
    np.testing.assert_allclose(table["rmse"], 2, rtol=1e-4)
    np.testing.assert_allclose(table["other_rmse"], 1, rtol=1e-4)
    np.testing.assert_allclose(table["difference"], 1, rtol=1e-4)


def test_what_is_unknown_has_no_weight_and_a_broken_forecast_an_infinite_error(store):
    # The truth of day 3 is missing, half of that of day 2, whose error there would be large.
    def missing(index: np.ndarray) -> np.ndarray:
        values = np.zeros((len(index), 1, 12, 1))
        values[index == 2] = np.nan
        values[index == 1, :, :6] = np.nan
        return values

    def error(index: np.ndarray) -> np.ndarray:
        values = np.ones((len(index), 1, 12, 1))
        values[index == 2] = 100
        values[index == 1, :, :6] = 100
        return values

    days = {"train": [store.time[:5]]}
    table = filter_errors(moved(store, missing), moved(store, error), days)
    np.testing.assert_allclose(table["rmse"], 1, rtol=1e-4)
    broken = moved(store, by_day(lambda index: np.where(index == 3, np.nan, 1.0)))
    assert filter_errors(store, broken, days)["rmse"].tolist() == [np.inf]


def test_another_variable_where_there_is_no_temperature_on_levels(store, capsys):
    rain = store.select(["total_precipitation_24hr"])
    table = filter_errors(rain, moved(rain, 0.5), cycles(store))
    np.testing.assert_allclose(table["rmse"], 0.5, rtol=1e-4)
    print_filter_errors(table, rain.channels, lag=0)
    printed = capsys.readouterr().out
    assert "lag 0: rmse of total precipitation 24hr (mm day-1)" in printed
    assert "levels" not in printed
    names = ["2m_temperature", "u_component_of_wind@850", "specific_humidity@850"]
    winds = replace(store, channels=tuple(map(FieldSpec.parse, [*names, "surface_pressure"])))
    table = filter_errors(winds, winds, cycles(winds), winds)
    assert table["rmse"].eq(0).all()
    assert table["difference_ratio"].isna().all()
    print_filter_errors(table, winds.channels, lag=0)
    assert "rmse of u component of wind (m s-1), 850 hPa" in capsys.readouterr().out


def test_temperature_comes_before_other_variables(store, capsys):
    names = ["u_component_of_wind@850", "temperature@500", "2m_temperature", "surface_pressure"]
    other = replace(store, channels=tuple(map(FieldSpec.parse, names)))
    print_filter_errors(filter_errors(other, other, cycles(other)), other.channels, lag=0)
    assert "rmse of temperature (K), 500 hPa" in capsys.readouterr().out


def test_printed_table(store, capsys):
    table = filter_errors(store, moved(store, 2.0), cycles(store), moved(store, -1.0))
    print_filter_errors(table, store.channels, lag=3)
    text = capsys.readouterr().out
    assert "lag 3: rmse of temperature (K), mean of 2 levels" in text
    line = next(line for line in text.splitlines() if "11-20" in line).replace("│", " ").split()
    assert line[:6] == ["train", "11-20", "12", "of", "12", "2.00"]
    assert line[-3:] == ["1.00", "3.00", "3.00"]


def opened(store: TrainingStore, path: Path | str, **changes: object) -> TrainingStore:
    days = changes.pop("days", store.time)
    identity = str(changes.pop("identity", "another"))
    return open_compared(str(path), Path("x.zarr"), identity, replace(store, **changes), days)


def test_what_cannot_be_compared_is_refused(store, tmp_path):
    key = "key 'filter.compared_with': "
    assert opened(store, store.path).time.tolist() == store.time.tolist()
    with pytest.raises(UserError, match=f"^{key}.*nothing: found no such directory"):
        opened(store, tmp_path / "nothing")
    with pytest.raises(UserError, match=f"^{key}.*holds the forecasts themselves"):
        opened(store, store.path, identity=store.fingerprint)
    with pytest.raises(UserError, match=f"^{key}.*holds the forecasts themselves"):
        open_compared(str(store.path), Path(store.path), "another", store, store.time)
    grid = LatLonGrid(store.grid.latitude, store.grid.longitude[::2])
    with pytest.raises(UserError, match=rf"^{key}.*a grid of \(12, 24\), .* one of \(12, 12\)"):
        opened(store, store.path, grid=grid)
    shifted = LatLonGrid(store.grid.latitude, store.grid.longitude + 1)
    with pytest.raises(UserError, match=f"^{key}.* another one of"):
        opened(store, store.path, grid=shifted)
    channels = (replace(store.channels[0], level=700), *store.channels[1:])
    with pytest.raises(UserError, match=f"^{key}.* lacks temperature@700, expected"):
        opened(store, store.path, channels=channels)
    with pytest.raises(UserError, match=f"^{key}.* has none of the 3 days"):
        opened(store, store.path, days=store.time[:3] + 5000)
