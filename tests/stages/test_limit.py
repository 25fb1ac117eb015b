"""The cycle with the perfect model: resumed to the same numbers, and a row of the comparison.

The general circulation model is replaced by air that stands still; its own tests are in
tests/data_modules/nature_run/test_speedy.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from data_modules.nature_run import speedy
from data_modules.store.training_store import TrainingStore
from slams.calendar.days import day_of
from slams.config.schema import Config
from slams.errors import UserError
from slams.runtime.files import load_tensors
from slams.stages.assimilation import assimilate
from slams.stages.limit import limit
from slams.stages.limit_files import DayScores, print_levels

ROWS, COLUMNS = 12, 24
MEMBERS, DAYS = 6, 3


class KilledError(BaseException):
    """Stand-in for a signal that no handler catches."""


class StillAir:
    """A model whose state stays as it is: the mean of a day is the state at its end.

    Attributes:
        begun: The states, of any instance, from which a day was run with output.
        steps: Number of days that were run and states that were saved.
        killed_at: The step, counted from 1, at which the process is killed; 0 for none.
    """

    begun: ClassVar[list[np.ndarray]] = []
    steps = 0
    killed_at = 0
    pressure = np.full(5, 1000.0)
    temperature = slice(2, 3)

    def __init__(self, period, truncation: int, spinup_days: int) -> None:
        self.state = np.zeros((5, ROWS, COLUMNS), dtype=np.float32)

    @property
    def fields(self) -> np.ndarray:
        return self.state.copy()

    def move_to(self, fields: np.ndarray) -> None:
        self.state = fields.astype(np.float32)

    def move_to_day(self, day: Mapping[str, xr.DataArray]) -> None:
        assert day["temperature"].dims == ("level", "latitude", "longitude")
        assert day["total_precipitation_24hr"].dims == ("latitude", "longitude")
        self.state[2] = day["temperature"].sel(level=850) - 280

    def run_days(self, days: int) -> None:
        pass

    def day(self) -> xr.Dataset:
        self._step()
        StillAir.begun.append(self.state.copy())
        latitude = 90 - 180 / ROWS * (np.arange(ROWS) + 0.5)
        coords = {
            "level": [850, 500],
            "latitude": latitude,
            "longitude": 360 / COLUMNS * np.arange(COLUMNS),
        }
        warm = self.state[2]
        flat = ("time", "latitude", "longitude")
        return xr.Dataset(
            {
                "temperature": (
                    ("time", "level", "latitude", "longitude"),
                    np.stack([280 + warm, 255 + warm])[None],
                ),
                "total_precipitation_24hr": (flat, np.ones_like(warm)[None]),
                "outgoing_longwave_radiation": (flat, 230 + 5 * warm[None]),
            },
            coords,
        )

    def save(self, path: Path) -> None:
        self._step()
        with path.open("wb") as file:
            np.save(file, self.state)

    def load(self, path: Path) -> None:
        self.state = np.load(path)

    @staticmethod
    def _step() -> None:
        StillAir.steps += 1
        if StillAir.steps == StillAir.killed_at:
            raise KilledError


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speedy, "SpeedyModel", StillAir)
    monkeypatch.setattr(speedy, "model_versions", lambda: {"jcm": "0"})
    monkeypatch.setattr(speedy, "forcing_digest", lambda: "f" * 64)
    monkeypatch.setattr(StillAir, "begun", [])
    monkeypatch.setattr(StillAir, "steps", 0)
    monkeypatch.setattr(StillAir, "killed_at", 0)


@pytest.fixture
def recipe(tiny_config: Config, tmp_path: Path) -> Config:
    return cycled(tiny_config, analyses=str(tmp_path / "limit"))


def cycled(config: Config, cycle_days: int = DAYS, **settings) -> Config:
    section = replace(
        config.assimilation.letkf_perfect_model,
        **{"members": MEMBERS, "spinup_days": 1, **settings},
    )
    assimilation = replace(
        config.assimilation,
        methods=["climatology", "letkf_perfect_model"],
        cycle_days=cycle_days,
        members=4,
        keep_cases=1,
        letkf_perfect_model=section,
    )
    tracking = replace(config.tracking, enabled=False)
    return replace(config, assimilation=assimilation, tracking=tracking)


def analyses(path: Path) -> dict[str, torch.Tensor]:
    return {p.stem: load_tensors(p)["members"] for p in sorted((path / "analyses").glob("*.pt"))}


def test_a_cycle_that_was_killed_at_any_day_ends_with_the_same_numbers(recipe, tmp_path) -> None:
    whole = analyses(limit(recipe))
    assert list(whole) == ["2001-03-28", "2001-03-29", "2001-03-30"]
    assert len(StillAir.begun) == MEMBERS * DAYS
    other = replace(recipe.assimilation.letkf_perfect_model, analyses=str(tmp_path / "killed"))
    killed = replace(recipe, assimilation=replace(recipe.assimilation, letkf_perfect_model=other))
    # The start of a member, a forecast of the first day, states after it, a later forecast.
    for at in (4, 5 + 3, 2 * MEMBERS + 3 * MEMBERS + 2, 5):
        StillAir.steps, StillAir.killed_at = 0, at
        with pytest.raises(KilledError):
            limit(killed)
        # As if the process had died while it wrote the states of the day that it was doing.
        (tmp_path / "killed" / "states" / "2001-03-30").mkdir(exist_ok=True)
    StillAir.steps, StillAir.killed_at = 0, 0
    found = analyses(limit(killed))
    assert found.keys() == whole.keys()
    for day, members in whole.items():
        assert torch.equal(found[day], members)
    records = [json.loads((tmp_path / n / "cycle.json").read_text()) for n in ("limit", "killed")]
    assert records[0]["days"] == records[1]["days"]


def test_the_next_day_is_forecast_from_the_analysis(recipe, tmp_path) -> None:
    path = limit(recipe)
    begun = [280 + state[2] for state in StillAir.begun]
    for number, members in enumerate(list(analyses(path).values())[:-1], start=1):
        assert float(members[:, 0].std(dim=0).min()) > 0
        next_day = begun[number * MEMBERS : (number + 1) * MEMBERS]
        np.testing.assert_allclose(members[:, 0], next_day, atol=2e-3)
        assert np.abs(members[:, 0].numpy() - begun[:MEMBERS]).max() > 0.1
    (last,) = (p for p in (path / "states").iterdir() if p.name.startswith("2001"))
    assert last.name == "2001-03-30"
    members = analyses(path)["2001-03-30"]
    for member in range(MEMBERS):
        state = np.load(last / f"{member:03d}.msgpack")
        # Nothing moves: the state at the end of the day is the mean of the day.
        np.testing.assert_allclose(members[member, 0], 280 + state[2], atol=2e-3)
    # More days continue the cycle, from the states that it ended with.
    StillAir.begun = []
    limit(cycled(recipe, DAYS + 1, analyses=str(path)))
    assert len(StillAir.begun) == MEMBERS
    assert list(analyses(path))[-1] == "2001-03-31"


def test_members_start_from_different_training_days_of_the_season(recipe) -> None:
    path = limit(recipe)
    starts = json.loads((path / "cycle.json").read_text())["identity"]["starts"]
    store = TrainingStore.open(recipe.data.store)
    dates = [str(day_of(time)) for time in store.time]
    first, last = recipe.data.splits.train
    assert len(set(starts)) == MEMBERS
    assert all(first <= day <= last for day in starts)
    known = store.read([dates.index(day) for day in starts])
    level = [channel.name for channel in store.channels].index("temperature@850")
    for state, fields in zip(StillAir.begun[:MEMBERS], known, strict=True):
        np.testing.assert_allclose(280 + state[2], fields[level], atol=1e-3)
    with pytest.raises(UserError, match=r"members'.*found 1000, expected at most"):
        limit(cycled(recipe, analyses=str(path), members=1000))


def test_the_truth_is_not_used(recipe, tmp_path, monkeypatch) -> None:
    """Whatever the fields of a batch are, once the observations are drawn."""
    from data_modules.multimodal import MultimodalDataModule

    found = analyses(limit(recipe))
    original = MultimodalDataModule.on_after_batch_transfer

    def hidden(self, window, dataloader_idx=0):
        batch = original(self, window, dataloader_idx)
        return replace(batch, fields=torch.zeros_like(batch.fields), background=None)

    monkeypatch.setattr(MultimodalDataModule, "on_after_batch_transfer", hidden)
    blind = analyses(limit(cycled(recipe, analyses=str(tmp_path / "blind"))))
    for day, members in found.items():
        assert torch.equal(blind[day], members)


def test_it_is_a_row_of_the_ordinary_comparison(recipe) -> None:
    path = limit(recipe)
    run = assimilate(recipe, report_after=False)
    results = pd.read_parquet(run / "results.parquet")
    assert set(results["method"]) == {"climatology", "letkf_perfect_model"}
    of = results[
        (results["method"] == "letkf_perfect_model")
        & (results["metric"] == "rmse")
        & (results["variable"] == "temperature")
        & (results["level"] == "850")
    ]
    scores = json.loads((path / "cycle.json").read_text())["days"]
    # The first channel is temperature at 850 hPa; what was printed is what the table has.
    expected = np.mean([day["analysis"][0] for day in scores.values()]) ** 0.5
    assert of["value"].tolist() == pytest.approx([expected], rel=1e-4)


def test_another_cycle_is_not_continued_and_other_directories_are_left(recipe, tmp_path) -> None:
    path = limit(recipe)
    before = (path / "cycle.json").read_bytes()
    changed = cycled(recipe, analyses=str(path), localisation=1000.0)
    with pytest.raises(UserError, match=r"settings\.localisation', found 2200.*expected 1000"):
        limit(changed)
    with pytest.raises(UserError, match="found 0, expected 3"):
        limit(replace(recipe, seed=3))
    with pytest.raises(UserError, match="resume=never"):
        limit(replace(recipe, resume="never"))
    assert (path / "cycle.json").read_bytes() == before
    StillAir.begun = []
    limit(recipe)  # finished: nothing is run
    assert not StillAir.begun
    limit(replace(changed, resume="overwrite"))
    assert len(StillAir.begun) == MEMBERS * DAYS

    shutil.rmtree(path)
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    for resume in ("auto", "overwrite"):
        with pytest.raises(UserError, match="is not a cycle of `slams limit`"):
            limit(replace(recipe, resume=resume))
    assert [p.name for p in path.iterdir()] == ["notes.txt"]


def test_a_dry_run_writes_nothing(recipe, capsys) -> None:
    path = limit(recipe, dry_run=True)
    assert "6 members" in capsys.readouterr().out
    assert not path.exists()
    assert not StillAir.begun


def test_a_model_of_another_grid_or_without_numbers_is_refused(recipe, monkeypatch) -> None:
    original = StillAir.day

    def cut(self) -> xr.Dataset:
        return original(self).isel(latitude=slice(1, None))

    monkeypatch.setattr(StillAir, "day", cut)
    with pytest.raises(UserError, match=r"truncation.*11 x 24.*12 x 24"):
        limit(recipe)

    def broken(self) -> xr.Dataset:
        return original(self) * np.nan

    monkeypatch.setattr(StillAir, "day", broken)
    with pytest.raises(UserError, match="became unstable on 2001-03-28"):
        limit(recipe)


def test_printed_table_leaves_out_the_days_of_settling(capsys) -> None:
    days = [f"2001-01-{d:02d}" for d in range(1, 25)]
    early, late = DayScores([9.0], [9.0], [9.0]), DayScores([4.0], [1.0], [0.25])
    scores = {day: early if i < 20 else late for i, day in enumerate(days)}
    print_levels(scores, [850], days)
    out = " ".join(capsys.readouterr().out.split())
    assert "2001-01-21 to 2001-01-24, n = 4" in out
    assert [w for w in ("2.000", "1.000", "0.500") if w in out] == ["2.000", "1.000", "0.500"]
    assert "3.000" not in out
