"""Progress, cost and checkpoints of a run."""

from __future__ import annotations

import io
import math
import time

import pytest
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from slams.config.schema import TrainerConfig
from slams.errors import UserError
from slams.modules.callbacks.checkpoints import Checkpoints
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.seeding import StepSeed
from slams.modules.callbacks.summary import RunSummary
from slams.modules.callbacks.throughput import ThroughputTimer, batch_length
from slams.modules.callbacks.weight_ema import WeightEMA
from slams.modules.trainer import make_trainer

CONFIG = TrainerConfig(
    accelerator="cpu",
    precision="32-true",
    validate_every_epochs=1,
    threads=1,
    log_every_seconds=1e9,
)


class Scripted(LightningModule):
    """Has validation losses that are known beforehand."""

    def __init__(self, losses=(1.0,)):
        super().__init__()
        self.net = torch.nn.Linear(1, 1)
        self.losses = list(losses)
        self.draws = []

    def training_step(self, batch, batch_idx):
        self.draws.append(float(torch.rand(())))
        loss = self.net(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("validation/loss", self.losses[min(self.current_epoch, len(self.losses) - 1)])

    def test_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader():
    return DataLoader(torch.ones(12, 1), batch_size=4)


def fit(directory, model, callbacks, epochs=1, validate=True):
    trainer = make_trainer(CONFIG, run_dir=directory, max_epochs=epochs, callbacks=callbacks)
    trainer.fit(model, loader(), loader() if validate else None)
    return trainer


class Clock:
    """Stands still but for what is added to it."""

    def __init__(self, tick=0.0):
        self.seconds, self.tick = 0.0, tick

    def __call__(self):
        self.seconds += self.tick
        return self.seconds


def test_clock_splits_waiting_from_work():
    now = Clock()
    timer = ThroughputTimer(now)
    now.seconds += 3.0
    timer.batch_start()
    now.seconds += 1.0
    timer.batch_end(8)
    now.seconds += 100.0  # a validation
    timer.resume()
    now.seconds += 2.0
    timer.batch_start()
    now.seconds += 4.0
    timer.batch_end(2)
    assert (timer.wait_seconds, timer.work_seconds) == (5.0, 5.0)
    assert timer.samples_per_second == 1.0
    assert timer.wait_share == 0.5
    assert ThroughputTimer(now).wait_share == 0.0


def test_batch_length():
    assert batch_length(torch.ones(3, 2)) == 3
    assert batch_length((torch.ones(4), None)) == 4
    assert batch_length({"x": torch.ones(5)}) == 5
    assert batch_length(object()) == 1


def test_lines_in_a_log(tmp_path):
    out = io.StringIO()
    progress = ProgressLines(every_seconds=0.0, stream=out, now=Clock(tick=1.0))
    fit(tmp_path, Scripted(), [progress], epochs=2)
    lines = out.getvalue().splitlines()
    assert len(lines) == 6 + 1
    assert lines[0].startswith("train step 1/6, loss ")
    assert "samples/s, " in lines[0]
    assert "s left, " in lines[0]
    assert lines[0].endswith("% waiting for data")
    assert lines[-1].startswith("train step 6/6")
    assert "0 s left" in lines[-1]


def test_a_quiet_log_has_only_the_last_line(tmp_path):
    out = io.StringIO()
    fit(tmp_path, Scripted(), [ProgressLines(1e9, stream=out)], epochs=2)
    assert len(out.getvalue().splitlines()) == 1


def test_a_terminal_gets_a_bar(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    progress = ProgressLines(1e9, stream=out)
    trainer = fit(tmp_path, Scripted(), [progress])
    assert progress._bar is None  # the terminal was given back
    assert "train step 3/3, loss" in out.getvalue().splitlines()[-1]
    trainer.test(Scripted(), loader(), verbose=False)
    assert "test step 3/3" in out.getvalue()


def test_summary_of_a_run(tmp_path, capsys):
    summary = RunSummary()
    fit(tmp_path, Scripted(), [summary])
    found = summary.summary
    assert found["parameters"] == 2
    assert found["samples_per_second"] > 0
    assert 0 <= found["data_wait_share"] <= 1
    assert found["peak_memory_gib"] > 0.01
    assert "2 parameters" in capsys.readouterr().err


class Slow(Scripted):
    """Analyses one batch with one method after another, and waits until it was reported on."""

    def __init__(self, out):
        super().__init__()
        self.out, self.at_work = out, ""

    def test_step(self, batch, batch_idx):
        for self.at_work in ("letkf", "enkf"):
            deadline = time.monotonic() + 30
            while f"running {self.at_work}" not in self.out.getvalue():
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_an_evaluation_is_reported_on_within_its_batches(tmp_path, capsys):
    out, summary = io.StringIO(), RunSummary()
    progress = ProgressLines(0.0, stream=out)
    trainer = make_trainer(CONFIG, run_dir=tmp_path, callbacks=[progress, summary])
    trainer.test(Slow(out), loader(), verbose=False)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("test step 0/3, running letkf, ")
    assert " s per case, " in lines[-1]
    assert set(summary.summary) >= {"cases", "seconds_per_case", "seconds"}
    assert summary.summary["cases"] == 12
    said = out.getvalue() + capsys.readouterr().err
    assert "test: 12 cases, " in said
    # Neither says anything of an evaluation.
    assert "samples/s" not in said
    assert "parameters" not in said


def load(path):
    return torch.load(path, weights_only=False)


def test_best_and_last_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path, "validation/loss")
    fit(tmp_path, Scripted([3.0, 1.0, 2.0, math.nan]), [checkpoints], epochs=4)
    assert load(checkpoints.best_path)["global_step"] == 6
    assert load(checkpoints.last_path)["global_step"] == 12
    assert (checkpoints.best_score, checkpoints.best_step) == (1.0, 6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_an_infinite_first_score_gives_way(tmp_path):
    checkpoints = Checkpoints(tmp_path, "validation/loss")
    fit(tmp_path, Scripted([math.nan, 5.0]), [checkpoints], epochs=2)
    assert (checkpoints.best_score, checkpoints.best_step) == (5.0, 6)


def test_a_monitor_that_nobody_logs_fails_before_the_first_step(tmp_path):
    model = Scripted()
    with pytest.raises(
        UserError, match="'validation/los', expected one of the logged validation/loss"
    ):
        fit(tmp_path, model, [Checkpoints(tmp_path, "validation/los")])
    assert model.draws == []


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "validation/loss")
    model = Scripted([3.0, 2.0])
    trainer = make_trainer(CONFIG, run_dir=tmp_path, max_epochs=2, callbacks=[checkpoints])
    save = trainer.save_checkpoint

    def full_disk(path, *args, **kwargs):
        if trainer.current_epoch == 1:
            path.write_bytes(b"half a checkp")
            raise OSError(28, "No space left on device")
        save(path, *args, **kwargs)

    monkeypatch.setattr(trainer, "save_checkpoint", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(model, loader(), loader())
    assert load(checkpoints.last_path)["global_step"] == 3
    assert load(checkpoints.best_path)["global_step"] == 3


def test_without_validation_the_last_checkpoint_is_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, "validation/loss")
    fit(tmp_path, Scripted(), [checkpoints], validate=False)
    assert load(checkpoints.last_path)["global_step"] == 3
    assert load(checkpoints.best_path)["global_step"] == 3


def test_step_seed_draws_anew_in_each_step_and_the_same_in_each_run(tmp_path):
    models = [Scripted() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.rand(seed)  # whatever was drawn before does not matter
        fit(tmp_path, model, [StepSeed(seed, "vae")], epochs=2)
    assert models[0].draws == models[1].draws != models[2].draws
    assert len(set(models[0].draws)) == 6


def test_decay_outside_its_range():
    with pytest.raises(UserError, match="expected a decay"):
        WeightEMA(1.0)
