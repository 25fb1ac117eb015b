"""A training that was cut and resumed is the training that was not cut, bit for bit."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader, TensorDataset

from data_modules.stream.loader import StreamLoader
from data_modules.stream.samplers import BlockShuffleSampler
from slams.config.schema import TrainerConfig
from slams.errors import UserError
from slams.modules.callbacks.checkpoints import Checkpoints
from slams.modules.callbacks.metrics_csv import MetricsCSV
from slams.modules.callbacks.seeding import StepSeed
from slams.modules.callbacks.weight_ema import WeightEMA, ema_weights
from slams.modules.trainer import make_trainer

CONFIG = TrainerConfig(accelerator="cpu", precision="32-true", validate_every_epochs=1, threads=1)


class NoisyRegression(LightningModule):
    """Fits a line with dropout and noise, so that every random stream matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 1))
        self.register_buffer("scale", torch.full((), 2.0))
        self.validated: list[torch.Tensor] = []
        self.dies_at = -1

    def loss(self, batch):
        x, y = batch
        x = torch.nn.functional.dropout(x + 0.1 * torch.randn_like(x), 0.2)
        return (self.net(x) * self.scale - y).square().mean()

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == self.dies_at:
            raise RuntimeError("killed")
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.validated.append(self.net[0].weight.detach().clone())
        self.log("validation/loss", self.loss(batch), batch_size=len(batch[0]))

    def test_step(self, batch, batch_idx):
        self.validated.append(self.net[0].weight.detach().clone())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1 / (1 + 0.1 * s))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def loader():
    x = torch.randn(28, 3, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)


def stream(batch_size=4, ranks=1):
    """Shuffle the same 28 samples anew in each epoch, and knows its place in it."""
    dataset = loader().dataset
    sampler = BlockShuffleSampler(np.zeros(len(dataset)), seed=3, world=ranks)
    return StreamLoader(dataset, batch_size=batch_size, sampler=sampler, ahead=2)


def train(
    directory, epochs, resume=None, every=1, dies_at=-1, save_every=0, data=loader, watch=()
):
    directory.mkdir(exist_ok=True)
    model = NoisyRegression()
    model.dies_at = dies_at
    callbacks = [
        WeightEMA(0.9),
        StepSeed(3, "vae"),
        MetricsCSV(directory / "metrics.csv", every_steps=3),
        Checkpoints(directory, "validation/loss", save_every),
        *watch,
    ]
    config = replace(CONFIG, validate_every_epochs=every)
    # A limit in steps, as every stage has one: with one in epochs, Lightning does not load the
    # state of a loader that stands between two epochs.
    steps = 7 * epochs
    trainer = make_trainer(config, run_dir=directory, max_steps=steps, callbacks=callbacks)
    trainer.fit(model, data(), loader(), ckpt_path=resume)
    callbacks = [c for c in callbacks if isinstance(c, Checkpoints)]
    return model, torch.load(directory / "last.ckpt", weights_only=False), callbacks[-1]


def rows(directory):
    with (directory / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_epochs_and_two_more_equal_four(tmp_path):
    _, whole, _ = train(tmp_path / "whole", 4)
    train(tmp_path / "cut", 2)
    # The run went on after its last checkpoint, and was killed in the middle of a row.
    with (tmp_path / "cut" / "metrics.csv").open("a") as file:
        file.write("15,2,0.1,9.9,\n16,")
    _, resumed, checkpoints = train(tmp_path / "cut", 4, tmp_path / "cut" / "last.ckpt")

    assert resumed["global_step"] == whole["global_step"] == 28
    for key in ("state_dict", "training_state_dict"):
        for name, value in whole[key].items():
            torch.testing.assert_close(resumed[key][name], value, rtol=0, atol=0)
    assert resumed["weight_ema"] == whole["weight_ema"]
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert checkpoints.best_step > 0


def test_a_run_that_dies_between_two_checkpoints(tmp_path):
    _, whole, _ = train(tmp_path / "whole", 5, every=2)
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "cut", 5, every=2, dies_at=24)
    assert int(rows(tmp_path / "cut")[-1]["step"]) > 14  # rows that the resumed run writes again
    last = tmp_path / "cut" / "last.ckpt"
    assert torch.load(last, weights_only=False)["global_step"] == 14
    _, resumed, _ = train(tmp_path / "cut", 5, last, every=2)
    # The fifth epoch is not validated, but its weights are saved.
    assert resumed["global_step"] == whole["global_step"] == 35
    for key in ("state_dict", "training_state_dict"):
        for name, value in whole[key].items():
            torch.testing.assert_close(resumed[key][name], value, rtol=0, atol=0)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.parametrize(
    ("save_every", "dies_at", "at"), [(5, 12, 10), (4, 17, 16), (7, 19, 14), (7, 9, 8)]
)
def test_a_run_that_dies_inside_an_epoch_goes_on_inside_it(tmp_path, save_every, dies_at, at):
    """Seven steps per epoch, validated every second one: 14 ends a validated epoch, 7 another."""
    _, whole, _ = train(tmp_path / "whole", 4, every=2, data=stream)
    cut = tmp_path / "cut"
    with pytest.raises(RuntimeError, match="killed"):
        train(cut, 4, every=2, dies_at=dies_at, save_every=save_every, data=stream)
    last = cut / "last.ckpt"
    assert torch.load(last, weights_only=False)["global_step"] == at
    model, resumed, _ = train(cut, 4, last, every=2, save_every=save_every, data=stream)
    assert resumed["global_step"] == whole["global_step"] == 28
    for key in ("state_dict", "training_state_dict"):
        for name, value in whole[key].items():
            torch.testing.assert_close(resumed[key][name], value, rtol=0, atol=0)
    assert rows(cut) == rows(tmp_path / "whole")
    # The validations that were still to come, and no trial before them; seven batches each.
    assert len(model.validated) == 7 * (1 + (at < 14))


def test_a_checkpoint_at_the_end_of_an_epoch_waits_for_its_validation(tmp_path):
    seen = []

    class Watch(Callback):
        def on_validation_start(self, trainer, pl_module):
            if not trainer.sanity_checking:
                seen.append((tmp_path / "run" / "last.ckpt").exists())

    _, _, checkpoints = train(tmp_path / "run", 1, save_every=7, data=stream, watch=[Watch()])
    assert seen == [False]
    assert checkpoints.best_step == 7
    # At the end of an epoch that is not validated it waits for the next step.
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "other", 2, every=2, save_every=7, dies_at=9, data=stream)
    assert torch.load(tmp_path / "other" / "last.ckpt", weights_only=False)["global_step"] == 8


def test_an_epoch_cannot_go_on_in_other_batches():
    begun = stream()
    batches = iter(begun)
    next(batches)
    state = begun.state_dict()
    assert state["batches"] == 1
    for changes, found in (({"batch_size": 7}, "batches of 7"), ({"ranks": 2}, "2 ranks")):
        with pytest.raises(UserError, match=found):
            stream(**changes).load_state_dict(state)
    # Between two epochs there is nothing to be told apart.
    list(batches)
    stream(ranks=2).load_state_dict(begun.state_dict())


def test_rows_of_metrics_csv(tmp_path):
    train(tmp_path / "run", 2)
    table = rows(tmp_path / "run")
    assert [int(r["step"]) for r in table] == [3, 6, 7, 9, 12, 14]
    assert [r["validation/loss"] != "" for r in table] == [False, False, True] * 2
    assert all(float(r["train/loss"]) > 0 for r in table)


def test_state_dict_is_the_average_and_says_so(tmp_path):
    model, checkpoint, _ = train(tmp_path / "run", 2)
    assert checkpoint["weight_ema"]["state_dict"] == "ema"
    ema, raw = checkpoint["state_dict"], checkpoint["training_state_dict"]
    assert not torch.equal(ema["net.0.weight"], raw["net.0.weight"])
    assert torch.equal(ema["scale"], raw["scale"])
    # After fit the module holds the average, and validation saw it.
    assert torch.equal(model.net[0].weight, ema["net.0.weight"])
    assert torch.equal(model.validated[-1], ema["net.0.weight"])
    assert ema_weights(checkpoint) is ema
    with pytest.raises(UserError, match="without an average"):
        ema_weights({"state_dict": ema})


def test_ema_is_the_recursion(tmp_path):
    class Recorder(WeightEMA):
        weights: ClassVar[list] = []

        def on_train_batch_end(self, trainer, module, *args, **kwargs):
            self.weights.append(module.net[0].weight.detach().clone())
            super().on_train_batch_end(trainer, module, *args, **kwargs)

    model = NoisyRegression()
    expected = model.net[0].weight.detach().clone()
    ema = Recorder(0.5)
    make_trainer(CONFIG, run_dir=tmp_path, max_steps=10, callbacks=[ema]).fit(model, loader())
    assert len(ema.weights) == 10
    for n, weight in enumerate(ema.weights, start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(model.net[0].weight.detach(), expected)


def test_test_after_fit_in_one_trainer_sees_the_average(tmp_path):
    model = NoisyRegression()
    trainer = make_trainer(
        CONFIG,
        run_dir=tmp_path,
        max_epochs=1,
        callbacks=[WeightEMA(0.9), Checkpoints(tmp_path, "validation/loss")],
    )
    trainer.fit(model, loader(), loader())
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=False)
    trainer.test(model, loader(), ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert torch.equal(model.validated[-1], checkpoint["state_dict"]["net.0.weight"])
