"""The general circulation model itself, where jcm is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import xarray as xr

from data_modules.nature_run import simulate as simulation
from data_modules.nature_run.period import Period
from data_modules.nature_run.speedy import SpeedyModel
from slams.config.schema import SimulateConfig
from tests.data_modules.nature_run.stand_in import files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("jcm") is None, reason="jcm is not installed, run pip install -e '.[simulate]'"
    ),
]


class KilledError(BaseException):
    """Stand-in for a signal that no handler catches."""


def test_bytes_do_not_depend_on_the_processors_at_hand(tmp_path):
    """XLA chooses how it sums by the number of processors that a process may use."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        pytest.skip("one processor alone: nothing to compare")
    code = (
        "import os, sys; os.sched_setaffinity(0, set(map(int, sys.argv[2:])));"
        "from data_modules.nature_run.simulate import simulate;"
        "from slams.config.schema import SimulateConfig;"
        "simulate(SimulateConfig(output=sys.argv[1], start='1990-01-01', months=1, spinup_days=0))"
    )
    outputs = []
    for allowed in (processors[:1], processors):
        outputs.append(tmp_path / f"{len(allowed)}.zarr")
        command = [sys.executable, "-c", code, str(outputs[-1]), *map(str, allowed)]
        subprocess.run(command, check=True)
    assert files(outputs[0]) == files(outputs[1])


def test_resumed_model_gives_the_same_bytes_and_plausible_weather(tmp_path, monkeypatch):
    settings = SimulateConfig(
        output=str(tmp_path / "whole.zarr"),
        start="1990-01-01",
        months=2,
        spinup_days=2,
        truncation=21,
    )
    path = simulation.simulate(settings)
    killed = replace(settings, output=str(tmp_path / "killed.zarr"))
    original, pieces = SpeedyModel.piece, []

    def piece(self: SpeedyModel) -> xr.Dataset:
        pieces.append(self)
        if len(pieces) == 2:
            raise KilledError
        return original(self)

    monkeypatch.setattr(SpeedyModel, "piece", piece)
    with pytest.raises(KilledError):
        simulation.simulate(killed)
    simulation.simulate(killed)
    assert len(pieces) == 3  # one piece before the kill, one after it
    assert files(tmp_path / "killed.zarr") == files(path)

    last = xr.open_zarr(path, consolidated=False).isel(time=slice(-10, None)).load()
    wind = last["u_component_of_wind"].mean(("time", "longitude"))
    # Westerlies in the mid-latitudes of both hemispheres, strongest below the tropopause.
    for low, high in ((30, 60), (-60, -30)):
        belt = wind.where((wind["latitude"] > low) & (wind["latitude"] < high)).max("latitude")
        assert 10 < float(belt.sel(level=200)) < 80
    assert float(np.abs(last["v_component_of_wind"]).max()) < 90
    moist = last["specific_humidity"].mean(("time", "longitude"))
    assert 0.005 < float(moist.sel(level=925).max()) < 0.025
    assert (moist.sel(level=925).mean("latitude") > moist.sel(level=500).mean("latitude")).all()


@pytest.fixture(scope="module")
def member() -> SpeedyModel:
    """Return a model after some days of weather."""
    model = SpeedyModel(Period(np.datetime64("1990-01-01"), 4), 21, 10)
    for _ in range(model.spinup_days):  # compiled once, with the days of the tests
        model.day()
    return model


def test_a_member_is_restarted_to_the_bit_and_its_mean_is_that_of_the_nature_run(
    member, tmp_path
) -> None:
    member.save(tmp_path / "start.msgpack")
    first = member.day()
    ends = member.fields
    member.load(tmp_path / "start.msgpack")
    again = member.day()
    assert first.identical(again)
    np.testing.assert_array_equal(member.fields, ends)
    second = member.day()
    # Two days from a restart are those of the piece that a nature run is made of.
    member.load(tmp_path / "start.msgpack")
    piece = member.piece().isel(time=slice(0, 2))
    member.load(tmp_path / "start.msgpack")  # for the other tests
    for name, means in xr.concat([first, second], "time").items():
        known = means.values[np.isfinite(means.values)]
        of_run = piece[name].values[np.isfinite(means.values)]
        assert np.abs(known - of_run).max() <= 1e-4 * np.abs(known).max(), name
    assert first.sizes["time"] == 1
    assert first["time"].values[0] == np.datetime64("1990-01-01")
    # The axes of the state's fields are those of the means: level by level, north to south.
    assert ends.shape == (len(member.pressure), *first["2m_temperature"].shape[1:])
    lowest = 16 + int(np.abs(member.pressure[:8] - 925).argmin())
    mean = first["temperature"].sel(level=925).values[0]
    assert np.corrcoef(ends[lowest].ravel(), mean.ravel())[0, 1] > 0.97
    pressure = 1e5 * np.exp(ends[-1])
    assert np.corrcoef(pressure.ravel(), first["surface_pressure"].values.ravel())[0, 1] > 0.97


def test_a_state_moves_to_given_fields_and_nothing_else_changes(member, tmp_path) -> None:
    member.save(tmp_path / "start.msgpack")
    before = member.fields
    after = member.day()
    member.load(tmp_path / "start.msgpack")
    member.move_to(before)  # no difference: no change
    assert member.day().identical(after)

    # The difference to other weather is resolved by the model.
    other = member.fields
    member.load(tmp_path / "start.msgpack")
    wanted = before + 0.3 * (other - before)
    member.move_to(wanted)
    levels = len(member.pressure) // 4
    # Temperature and pressure are scalars that the harmonics hold; of the winds the vorticity and
    # divergence of the highest wave number are lost, which matters beside the poles.
    for name, part, loss in (
        ("wind", slice(0, 2 * levels), 0.1),
        ("temperature", slice(2 * levels, 3 * levels), 1e-3),
        ("pressure", slice(4 * levels, None), 1e-3),
    ):
        off = np.square(member.fields[part] - wanted[part]).mean() ** 0.5
        moved = np.square(wanted[part] - before[part]).mean() ** 0.5
        assert off < loss * moved, name
    assert not member.day().identical(after)  # same day, other weather


def test_a_state_moves_to_a_day_on_pressure_levels(member, tmp_path) -> None:
    member.save(tmp_path / "start.msgpack")
    start = member.fields
    member.day()
    other = member.day().isel(time=0)
    member.load(tmp_path / "start.msgpack")
    levels = {"specific_humidity": [925, 850, 700, 500]}
    names = ("u_component_of_wind", "v_component_of_wind", "temperature", "specific_humidity")
    known = {name: other[name].sel(level=levels.get(name, other["level"])) for name in names}
    member.move_to_day({**known, "surface_pressure": other["surface_pressure"]})
    moved = member.fields
    sigma = member.pressure[:8] / 1000.0
    surface = other["surface_pressure"].values / 100
    np.testing.assert_allclose(1000 * np.exp(moved[-1]), surface, atol=0.02 * np.ptp(surface))
    dry = np.flatnonzero(sigma < 0.4)
    for number, name in enumerate(names):
        column = known[name].sortby("level")
        height = np.log(column["level"].values)
        for level in range(8):
            if name == "specific_humidity" and level in dry:
                continue
            wanted = np.array(
                [
                    np.interp(np.log(sigma[level] * p), height, values)
                    for p, values in zip(
                        surface.flat, column.values.reshape(len(height), -1).T, strict=True
                    )
                ]
            ).reshape(surface.shape)
            off, before = (np.abs(f[8 * number + level] - wanted).mean() for f in (moved, start))
            # What is finer than the harmonics is left out.
            assert off < 0.2 * before, (name, level)
    np.testing.assert_allclose(moved[24 + dry], start[24 + dry], atol=1e-7)
    following = member.day()
    assert np.isfinite(following["temperature"].values).all()
    drift = following["temperature"].isel(time=0) - other["temperature"]
    assert float(np.abs(drift).mean()) < 3.0
