"""Simulations: resumed to the same bytes, refused where they differ; the model is replaced."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_modules.nature_run import simulate as simulation
from data_modules.nature_run import speedy
from data_modules.nature_run import unfinished as parts
from data_modules.nature_run.layout import write_piece
from slams.config.schema import SimulateConfig
from slams.errors import UserError
from slams.runtime import directories
from tests.data_modules.nature_run import stand_in
from tests.data_modules.nature_run.stand_in import VERSIONS, StandIn, files


class KilledError(BaseException):
    """Stand-in for a signal that no handler catches."""


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(speedy, "SpeedyModel", StandIn)
    monkeypatch.setattr(speedy, "model_versions", lambda: VERSIONS)
    monkeypatch.setattr(speedy, "forcing_digest", lambda: "f" * 64)


def section(tmp_path, **changes) -> SimulateConfig:
    settings = SimulateConfig(
        output=str(tmp_path / "run.zarr"), start="1990-01-31", months=4, spinup_days=5
    )
    return replace(settings, **changes)


@pytest.fixture
def whole(tmp_path_factory, model) -> dict[str, bytes]:
    """The files of an uninterrupted simulation."""
    path = tmp_path_factory.mktemp("whole")
    return files(simulation.simulate(section(path)))


def beside(tmp_path) -> list[str]:
    return sorted(p.name for p in tmp_path.iterdir())


def kill_at(monkeypatch, owner, name: str, call: int, when: str) -> None:
    """Kill a function at one of its calls, before or after its work."""
    original, calls = getattr(owner, name), iter(range(1, 1000))

    def killed(*arguments, **keywords):
        mine = next(calls) == call
        if mine and when == "before":
            raise KilledError
        result = original(*arguments, **keywords)
        if mine:
            raise KilledError
        return result

    monkeypatch.setattr(owner, name, killed)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (parts, "write_text", 1),
        (StandIn, "spin_up", 1),
        (StandIn, "save", 1),
        (parts, "write_text", 2),
        (simulation, "create_nature_run", 1),
        (simulation, "write_piece", 1),
        (StandIn, "save", 2),
        (StandIn, "piece", 3),
        (simulation, "write_piece", 3),
        (StandIn, "save", 4),
        (parts, "write_text", 5),
        (simulation, "write_attributes", 1),
        (directories, "backup", 1),
        (Path, "rename", 1),
        (parts, "_clear", 1),
    ],
)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    tmp_path, whole, monkeypatch, owner, name, call, when
):
    with monkeypatch.context() as patch:
        kill_at(patch, owner, name, call, when)
        with pytest.raises(KilledError):
            simulation.simulate(section(tmp_path))
    simulation.simulate(section(tmp_path))
    assert files(tmp_path / "run.zarr") == whole
    assert beside(tmp_path) == ["run.zarr"]


def test_half_a_piece_and_zarrs_temporary_files_are_dropped(tmp_path, whole, monkeypatch):
    def half(path, fields, start):
        if start < 60:
            write_piece(path, fields, start)
            return
        write_piece(path, fields[["temperature", "2m_temperature"]] * 0 + 300, start)
        (path / "surface_pressure/c/2/0").mkdir(parents=True)
        (path / "surface_pressure/c/2/0/0.abc.partial").write_bytes(b"half")
        (path / "time/c/0.abc.partial").write_bytes(b"half")
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(simulation, "write_piece", half)
        with pytest.raises(KilledError):
            simulation.simulate(section(tmp_path))
    asked = []
    monkeypatch.setattr(StandIn, "spin_up", lambda _: asked.append("spin-up"))
    simulation.simulate(section(tmp_path))
    assert asked == []  # resumed from the state
    assert files(tmp_path / "run.zarr") == whole


def test_the_model_is_compiled_for_one_processor(monkeypatch):
    """XLA chooses how it sums by the number of processors: set before jcm starts it."""
    monkeypatch.setenv("NPROC", "8")
    monkeypatch.setitem(sys.modules, "jcm", None)  # importing it ends here
    with pytest.raises(ImportError):
        speedy.SpeedyModel(None, 21, 0)
    assert os.environ["NPROC"] == "1"


@pytest.mark.slow
def test_sigkill_leaves_what_the_same_command_finishes(tmp_path):
    def run(output: str, lines: int = 0) -> int:
        command = [sys.executable, stand_in.__file__, str(tmp_path / output), str(lines)]
        root = Path(__file__).parents[3]
        environment = {"PYTHONPATH": f"{root / 'src'}:{root}", "PATH": ""}
        return subprocess.run(command, env=environment, check=False).returncode

    assert run("whole.zarr") == 0
    expected = files(tmp_path / "whole.zarr")
    for lines in (450, 1100, 1800):
        assert run("killed.zarr", lines) == -9
        assert not (tmp_path / "killed.zarr").exists()
    assert run("killed.zarr") == 0
    assert files(tmp_path / "killed.zarr") == expected
    assert not (tmp_path / "killed.zarr.partial").exists()


def test_simulated_run_is_cut_to_its_months(tmp_path, model, capsys):
    path = simulation.simulate(section(tmp_path, months=2))
    found = xr.open_zarr(path, consolidated=False)
    assert found.sizes["time"] == 59
    assert found["surface_elevation"].dims == ("latitude", "longitude")
    assert "jcm 3.0.0" in found.attrs["source"]
    # Every step is the model's, at the right position.
    reference = StandIn(simulation.Period.of(section(tmp_path)), 31, 5)
    reference.spin_up()
    fields = xr.concat([reference.piece() for _ in range(2)], "time", data_vars="minimal")
    fields = fields.isel(time=slice(0, 59))
    np.testing.assert_array_equal(found["time"], fields["time"])
    np.testing.assert_allclose(found["temperature"], fields["temperature"], atol=0.0501)
    lines = capsys.readouterr().out.splitlines()
    progress = [line for line in lines if line.endswith(" left")]
    assert progress[0].startswith("0.08 of 0.16 years, until 1990-03-01, about ")
    assert re.fullmatch(r"1990: sha256 [0-9a-f]{64}", lines[-1])
    # Finished, of these settings: kept. Of others: refused, and replaced only by request.
    before = files(path)
    simulation.simulate(section(tmp_path, months=2))
    with pytest.raises(UserError, match=r"simulate\.output.*exists.*simulate\.months 2 and not 4"):
        simulation.simulate(section(tmp_path))
    with pytest.raises(UserError, match=r"simulate\.output.*exists"):
        simulation.simulate(section(tmp_path, months=2), resume="never")
    assert files(path) == before
    simulation.simulate(section(tmp_path), resume="overwrite")
    assert xr.open_zarr(path, consolidated=False).sizes["time"] == 120
    assert beside(tmp_path) == ["run.zarr"]


def test_instants_of_whole_days(tmp_path, model):
    path = simulation.simulate(section(tmp_path, months=2, sampling="instants"))
    found = xr.open_zarr(path, consolidated=False)
    assert found.sizes["time"] == 59 * 4
    assert [str(t)[:13] for t in found["time"].values[[0, 1, -1]]] == [
        "1990-01-31T00",
        "1990-01-31T06",
        "1990-03-30T18",
    ]
    assert "total_precipitation_24hr" not in found
    assert found["precipitation_rate"].attrs["units"] == "mm day-1"


def interrupt(tmp_path, monkeypatch, **keywords) -> dict[str, bytes]:
    """Kill a simulation in its third piece; return the files that it leaves."""
    with monkeypatch.context() as patch:
        kill_at(patch, StandIn, "piece", 3, "before")
        with pytest.raises(KilledError):
            simulation.simulate(section(tmp_path), **keywords)
    return files(tmp_path / "run.zarr.partial")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"truncation": 21}, r"simulate\.truncation 31 and not 21"),
        ({"months": 5}, r"simulate\.months 4 and not 5"),
        ({"sampling": "instants"}, r"simulate\.sampling daily_means and not instants"),
    ],
)
def test_other_settings_are_refused(tmp_path, model, monkeypatch, changes, sentence):
    left = interrupt(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=rf"run\.zarr\.partial was begun with {sentence};"):
        simulation.simulate(section(tmp_path, **changes))
    with pytest.raises(UserError, match="resume=never"):
        simulation.simulate(section(tmp_path), resume="never")
    assert files(tmp_path / "run.zarr.partial") == left


@pytest.mark.parametrize("package", sorted(VERSIONS))
def test_another_version_of_the_model_is_refused(tmp_path, model, monkeypatch, package):
    left = interrupt(tmp_path, monkeypatch)
    monkeypatch.setattr(speedy, "model_versions", lambda: {**VERSIONS, package: "9.9"})
    sentence = rf"begun with {package} {re.escape(VERSIONS[package])} and not 9\.9"
    with pytest.raises(UserError, match=sentence):
        simulation.simulate(section(tmp_path))
    assert files(tmp_path / "run.zarr.partial") == left


def test_other_forcing_and_another_layout_are_refused(tmp_path, model, monkeypatch):
    left = interrupt(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(speedy, "forcing_digest", lambda: "0" * 64)
        with pytest.raises(UserError, match="boundary conditions ffffffffffff and not 0000"):
            simulation.simulate(section(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(simulation, "LEVELS", (850,))
        with pytest.raises(UserError, match="another layout"):
            simulation.simulate(section(tmp_path))
    assert files(tmp_path / "run.zarr.partial") == left


def test_a_changed_piece_and_a_lost_state_are_refused(tmp_path, model, monkeypatch):
    interrupt(tmp_path, monkeypatch)
    partial = tmp_path / "run.zarr.partial"
    chunk = partial / "store/temperature/c/1/0/0/0"
    chunk.write_bytes(whole_chunk := chunk.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"piece 1, steps 30 to 59\); set resume=overwrite"):
        simulation.simulate(section(tmp_path))
    assert chunk.read_bytes() == whole_chunk
    simulation.simulate(section(tmp_path), resume="overwrite")
    other = tmp_path / "other"
    other.mkdir()
    interrupt(other, monkeypatch)
    next((other / "run.zarr.partial").glob("state_*")).unlink()
    with pytest.raises(UserError, match=r"state_0002\.msgpack.*is missing; set resume"):
        simulation.simulate(section(other))


def test_a_killed_overwrite_goes_on_without_and_the_old_run_stays_till_then(
    tmp_path, whole, monkeypatch
):
    simulation.simulate(section(tmp_path, months=1))
    before = files(tmp_path / "run.zarr")
    interrupt(tmp_path, monkeypatch, resume="overwrite")
    assert files(tmp_path / "run.zarr") == before
    asked = []
    monkeypatch.setattr(StandIn, "spin_up", lambda _: asked.append("spin-up"))
    simulation.simulate(section(tmp_path))
    assert asked == []
    assert files(tmp_path / "run.zarr") == whole
    assert beside(tmp_path) == ["run.zarr"]


@pytest.mark.parametrize("name", ["run.zarr", "run.zarr.partial"])
@pytest.mark.parametrize("resume", ["auto", "overwrite"])
@pytest.mark.parametrize("entry", ["thesis.tex", "zarr.json", "simulation.json"])
def test_a_strangers_directory_is_left_alone(tmp_path, model, name, resume, entry):
    (tmp_path / name).mkdir()
    (tmp_path / name / entry).write_text('{"attributes": {"title": "mine"}}')
    with pytest.raises(UserError, match=rf"{re.escape(name)} .*is left unchanged"):
        simulation.simulate(section(tmp_path), resume=resume)
    assert beside(tmp_path) == [name]
    assert beside(tmp_path / name) == [entry]


def test_a_run_of_an_earlier_version_is_kept_unless_it_is_to_be_replaced(tmp_path, model):
    old = tmp_path / "run.zarr"
    old.mkdir()
    (old / "zarr.json").write_text('{"attributes": {"source": "jcm 3.0.0 (Apache-2.0)"}}')
    with pytest.raises(UserError, match=r"exists, made with.*resume=overwrite"):
        simulation.simulate(section(tmp_path))
    simulation.simulate(section(tmp_path), resume="overwrite")
    assert (old / "temperature").is_dir()


def test_two_processes_do_not_work_on_one_run(tmp_path, model):
    held = directories.lock(tmp_path / "run.zarr", lambda: "me")
    try:
        with pytest.raises(UserError, match=r"run\.zarr is in use by another simulation"):
            simulation.simulate(section(tmp_path))
    finally:
        directories.unlock(held)
    assert beside(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left on the device.*free some space"),
        (errno.EFBIG, r"a file would be larger than this process may write.*ulimit -f"),
    ],
)
def test_a_refused_write_is_said_and_loses_nothing(tmp_path, whole, monkeypatch, number, said):
    def full(path, fields, start):
        if start == 60:
            raise OSError(number, os.strerror(number))
        write_piece(path, fields, start)

    with monkeypatch.context() as patch:
        patch.setattr(simulation, "write_piece", full)
        with pytest.raises(UserError, match=said) as caught:
            simulation.simulate(section(tmp_path))
        assert "0.16 of 0.33 years" in str(caught.value)
        assert "resume with the same command" in str(caught.value)
    simulation.simulate(section(tmp_path))
    assert files(tmp_path / "run.zarr") == whole


def test_an_unstable_model_is_said(tmp_path, model, monkeypatch):
    original = StandIn.piece
    monkeypatch.setattr(StandIn, "piece", lambda self: original(self) * np.nan)
    with pytest.raises(UserError, match="unstable before 1990-03-01"):
        simulation.simulate(section(tmp_path))


def test_dry_run_writes_nothing(tmp_path, model, capsys):
    simulation.simulate(section(tmp_path, months=12), dry_run=True)
    assert "365 days from 1990-01-31 at T31" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_missing_model_is_said(tmp_path, monkeypatch):
    def missing(name):
        raise speedy.PackageNotFoundError(name)

    monkeypatch.setattr(speedy, "version", missing)
    with pytest.raises(UserError, match=r"pip install -e '\.\[simulate\]'"):
        simulation.simulate(section(tmp_path))
