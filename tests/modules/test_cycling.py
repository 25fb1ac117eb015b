"""Cycles: what is remembered, what is scored, and that several of them have nothing in common."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, Subset

sys.path.insert(0, str(Path(__file__).parent))

import toy_evaluation as toy

from data_modules.stream.samplers import ShardSampler
from slams.assimilators.cycle import Cycle
from slams.config.schema import AssimilationConfig, TrainerConfig
from slams.modules.callbacks.evaluation_progress import EvaluationProgress
from slams.modules.cycling import CyclingEvaluator
from slams.modules.trainer import EVALUATION_PRECISION, make_trainer
from slams.runtime import signals
from slams.runtime.signals import Stopped

FIRST = 3650.0  # 1979-12-30
CYCLE_DAYS, SPIN_UP = 6, 2
STARTS = (FIRST, FIRST + 10, FIRST + 16)
POSITIONS = [int(start - FIRST) + day for start in STARTS for day in range(CYCLE_DAYS)]


class Days(toy.Cases):
    """The toy's cases, as consecutive days."""

    def __getitem__(self, case):
        batch = super().__getitem__(case)
        return replace(batch, time=torch.full_like(batch.time, FIRST + case))


class Nudged:
    """Draws members between background and truth; remembers what it was given."""

    name = "nudged"

    def __init__(self):
        self.backgrounds = {}

    def analyse(self, batch, members):
        self.backgrounds[float(batch.time[0, 0])] = batch.background
        state = 0.5 * (batch.background.mean + batch.fields)
        analysis = toy.Noisy("analysis", 0.3).analyse(replace(batch, fields=state), members)
        return replace(analysis, method=self.name)


def evaluator(bias=0.0, errors=None, **settings):
    config = AssimilationConfig(
        setting="toy",
        members=toy.MEMBERS,
        bootstrap_samples=50,
        keep_cases=3,
        cycle_days=CYCLE_DAYS,
        cycle_spinup=SPIN_UP,
    )
    whole = torch.ones(toy.SHAPE)

    def cycle(method):
        return Cycle(toy.normaliser(), 0.7 * whole, 0.5 * whole, from_climatology=True, bias=bias)

    return CyclingEvaluator(
        [Nudged()],
        replace(config, **settings),
        toy.normaliser(),
        toy.GRID,
        toy.CHANNELS,
        seed=1,
        cycle=cycle,
        starts=STARTS,
        errors=errors,
    )


def evaluate(directory, module, positions=POSITIONS, batch_size=1, callbacks=()):
    config = TrainerConfig(accelerator="cpu", devices=1, threads=1, log_every_seconds=1e9)
    trainer = make_trainer(
        config, run_dir=directory, precision=EVALUATION_PRECISION, callbacks=callbacks
    )
    dataset = Subset(Days(30), positions)
    trainer.test(module, DataLoader(dataset, batch_size, collate_fn=toy.collate), verbose=False)
    return module


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("cycles"), evaluator())


def test_each_cycle_starts_from_the_climatology_and_goes_on_from_its_analyses(finished) -> None:
    given = finished.assimilators[0].backgrounds
    assert sorted(given) == [FIRST + position for position in POSITIONS]
    for day, background in given.items():
        starts = day in STARTS
        assert (background.kind == "climatology") == starts
        assert bool((background.mean == 0).all()) == starts
        assert bool((background.variance == 1).all()) == starts


def test_days_of_the_spin_up_are_not_scored(finished) -> None:
    cases = finished.tables()["cases"]
    scored = [position for position in POSITIONS if position not in (0, 1, 10, 11, 16, 17)]
    assert sorted(cases["case"].unique()) == scored
    results = finished.tables()["results"]
    assert set(results["n"]) == {len(scored)}


def test_a_cycle_does_not_depend_on_the_others_nor_on_the_batch(finished, tmp_path) -> None:
    """Ranks take whole cycles: what they find together is what one process finds."""
    whole = finished.tables()["cases"]
    sampler = [list(ShardSampler(len(POSITIONS), r, 2, CYCLE_DAYS)) for r in range(2)]
    parts = [
        evaluate(tmp_path, evaluator(), [POSITIONS[at] for at in own], batch_size=4)
        for own in sampler
    ]
    found = pd.concat([part.tables()["cases"] for part in parts])
    keys = ["case", "variable", "level", "statistic"]
    found, whole = (table.set_index(keys)["value"].sort_index() for table in (found, whole))
    pd.testing.assert_series_equal(found, whole, rtol=1e-6)


def test_drift_is_told_cycle_by_cycle(finished) -> None:
    drift = finished.tables()["drift"]
    assert sorted(drift["cycle"].unique()) == ["1979-12-30", "1980-01-09", "1980-01-15"]
    assert set(drift["n"]) == {CYCLE_DAYS - SPIN_UP}


def test_intervals_are_those_of_cycles_drawn_as_wholes(finished) -> None:
    """Three cycles are fewer than four blocks: the interval spans the best and the worst one."""
    cases = finished.tables()["cases"]
    rows = cases[(cases["variable"] == "temperature") & (cases["level"] == "850")]
    rows = rows[rows["statistic"] == "mse"]
    cycle = (rows["case"] >= 10).astype(int) + (rows["case"] >= 16)
    means = rows.groupby(cycle)["value"].mean() ** 0.5
    results = finished.tables()["results"]
    found = results[(results["metric"] == "rmse") & (results["level"] == "850")].iloc[0]
    assert found["lower"] == pytest.approx(means.min())
    assert found["upper"] == pytest.approx(means.max())


def test_past_errors_reach_the_comparison_with_observations(finished, tmp_path) -> None:
    nothing = evaluate(tmp_path, evaluator(errors=torch.zeros(3, 1, *toy.SHAPE)))
    tables = [module.tables()["observation_space"] for module in (finished, nothing)]
    usual, none = (table[table["statistic"] == "hbh_assumed"]["value"] for table in tables)
    assert usual.min() > 0
    assert none.abs().max() == 0


class Interrupt(Callback):
    """Sends a signal in the middle of a batch."""

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 8:
            signal.raise_signal(signal.SIGUSR1)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_a_stopped_evaluation_goes_on_in_the_middle_of_a_cycle(finished, tmp_path, bias) -> None:
    signals.install_handlers()
    signals.enable()
    progress = tmp_path / "progress"
    whole = evaluate(tmp_path / "whole", evaluator(bias)) if bias else finished
    with pytest.raises(Stopped), signals.defer():
        evaluate(tmp_path, evaluator(bias), callbacks=[EvaluationProgress(progress), Interrupt()])
    again = evaluate(tmp_path, evaluator(bias), callbacks=[EvaluationProgress(progress)])
    assert min(again.assimilators[0].backgrounds) == FIRST + 13  # the fourth day of the second
    for name in ("results", "cases", "observations", "departures"):
        pd.testing.assert_frame_equal(again.tables()[name], whole.tables()[name])
    same = whole.tables()["departures"].equals(finished.tables()["departures"])
    assert same == (bias == 0)


def test_departures_of_the_days_make_those_of_all_days(finished) -> None:
    rows = finished.tables()["departures"]
    scored = [position for position in POSITIONS if position not in (0, 1, 10, 11, 16, 17)]
    assert sorted(rows["case"].unique()) == scored
    assert sorted(rows["cycle"].unique()) == ["1979-12-30", "1980-01-09", "1980-01-15"]
    whole = finished.tables()["observations"].set_index(["observation", "quantity"])
    rows = rows[rows["use"] == "assimilated"]
    assert len(rows)
    for name, own in rows.groupby("observation"):
        for quantity in ("o_minus_b", "o_minus_a"):
            total = whole.loc[(name, quantity)]
            mean = (own["n"] * own[f"{quantity}_mean"]).sum() / own["n"].sum()
            square = (own["n"] * own[f"{quantity}_rms"] ** 2).sum() / own["n"].sum()
            assert total["n"] == own["n"].sum()
            assert mean == pytest.approx(total["mean"])
            variance = (square - mean**2) * total["n"] / (total["n"] - 1)
            assert variance**0.5 == pytest.approx(total["sd"])
