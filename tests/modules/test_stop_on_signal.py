"""A training that is told to stop saves, says so, and continues as if nothing had been."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

sys.path.insert(0, str(Path(__file__).parent))

from test_resume import CONFIG, NoisyRegression, loader, rows, stream

from slams.modules.callbacks.checkpoints import Checkpoints
from slams.modules.callbacks.metrics_csv import MetricsCSV
from slams.modules.callbacks.seeding import StepSeed
from slams.modules.callbacks.stop_on_signal import StopOnSignal
from slams.modules.callbacks.weight_ema import WeightEMA
from slams.modules.trainer import make_trainer
from slams.runtime import signals
from slams.runtime.signals import Stopped


class Send(Callback):
    """Sends a signal to this process in the middle of a batch."""

    def __init__(self, step, signum=signal.SIGUSR1):
        self.step, self.signum = step, signum

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.step:
            os.kill(os.getpid(), self.signum)


def train(directory, resume=None, send=None, accumulate=1, seconds=float("inf"), running=None):
    """Train 28 batches, four epochs of seven, validated every second epoch."""
    directory.mkdir(exist_ok=True)
    checkpoints = Checkpoints(directory, "validation/loss")
    clock = {} if running is None else {"running": running}
    callbacks = [
        WeightEMA(0.9),
        StepSeed(3, "vae"),
        checkpoints,
        MetricsCSV(directory / "metrics.csv", every_steps=3),
        StopOnSignal(checkpoints, seconds, **clock),
        *([] if send is None else [send]),
    ]
    model = NoisyRegression()
    trainer = make_trainer(
        replace(CONFIG, validate_every_epochs=2),
        run_dir=directory,
        max_steps=4 * -(-7 // accumulate),
        callbacks=callbacks,
        accumulate=accumulate,
    )
    signals.install_handlers()
    signals.enable()
    with signals.defer():
        trainer.fit(model, stream(), loader(), ckpt_path=resume)
    return torch.load(directory / "last.ckpt", weights_only=False)


def same(one, other):
    for key in ("state_dict", "training_state_dict"):
        for name, value in one[key].items():
            assert torch.equal(other[key][name], value), name


@pytest.mark.parametrize(
    ("step", "accumulate", "signum"),
    [
        (1, 1, signal.SIGUSR1),
        (4, 2, signal.SIGTERM),
        # The last batches of their epochs, whose validation comes first.
        (6, 1, signal.SIGTERM),
        (13, 2, signal.SIGUSR1),
    ],
)
def test_a_signal_in_a_batch(tmp_path, step, accumulate, signum):
    whole = train(tmp_path / "whole", accumulate=accumulate)
    cut = tmp_path / "cut"
    with pytest.raises(Stopped) as caught:
        train(cut, send=Send(step, signum), accumulate=accumulate)
    assert (caught.value.signum, caught.value.saved) == (signum, True)
    assert caught.value.code == (143 if signum == signal.SIGTERM else 75)
    saved = torch.load(cut / "last.ckpt", weights_only=False)
    progress = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    # Nothing is half accumulated.
    assert progress["ready"] % accumulate == 0
    assert step < saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]
    same(whole, train(cut, resume=cut / "last.ckpt", accumulate=accumulate))
    assert rows(cut) == rows(tmp_path / "whole")


def test_the_time_limit_counts_from_the_start_of_the_program(tmp_path):
    passed = iter(range(0, 1000, 10))
    with pytest.raises(Stopped, match="75") as caught:
        train(tmp_path / "cut", seconds=35, running=lambda: next(passed))
    assert caught.value.reason == "trainer.max_time after step 5"
    assert (caught.value.signum, caught.value.saved) == (0, True)
    whole = train(tmp_path / "whole")
    same(whole, train(tmp_path / "cut", resume=tmp_path / "cut" / "last.ckpt"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_a_signal_in_the_last_batch_of_all_comes_too_late(tmp_path):
    """The training has ended well; what is left of the stage is told."""
    with pytest.raises(Stopped) as caught:
        train(tmp_path / "run", send=Send(27))
    assert not caught.value.saved
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=False)["global_step"] == 28


def test_accumulated_gradients_are_those_of_a_larger_batch(tmp_path):
    """Without noise, two batches of four are one of eight."""

    class Plain(NoisyRegression):
        def loss(self, batch):
            x, y = batch
            return (self.net(x) * self.scale - y).square().mean()

    weights = []
    data = loader().dataset
    for size, accumulate in ((8, 1), (4, 2)):
        model = Plain()
        trainer = make_trainer(
            CONFIG, run_dir=tmp_path, max_steps=3, gradient_clip=0.5, accumulate=accumulate
        )
        trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=size))
        assert trainer.global_step == 3
        weights.append(model.net[0].weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)
