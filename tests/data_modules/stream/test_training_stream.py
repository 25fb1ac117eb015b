"""An interrupted and resumed training stream has the same windows in the same order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from slams.stages.data import reanalysis


class Recorder(LightningModule):
    """Module that records the cases of each batch; the Trainer requires its one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch, batch_idx):
        assert batch.observations == ()
        self.seen.append(batch.case.tolist())
        return (batch.fields.mean() - self.weight) ** 2

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(Callback):
    """Callback that saves after a step in mid-epoch, or at the end of that step's epoch."""

    def __init__(self, step: int, path: Path, epoch_end: bool) -> None:
        self.step, self.path, self.epoch_end = step, path, epoch_end

    def on_train_batch_end(self, trainer, *_):
        if not self.epoch_end and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, *_):
        if self.epoch_end and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(config, directory, callbacks=(), resume=None) -> list[list[int]]:
    module = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=16,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=directory,
    )
    trainer.fit(
        module,
        datamodule=reanalysis(config),
        ckpt_path=resume,
        weights_only=False if resume else None,
    )
    return module.seen


@pytest.mark.parametrize(("step", "epoch_end"), [(3, False), (10, False), (7, True), (7, False)])
def test_resumed_stream_is_the_uninterrupted_one(tiny_config, tmp_path, step, epoch_end):
    config = replace(tiny_config, data=replace(tiny_config.data, batch_size=10))
    path = tmp_path / "cut.ckpt"
    whole = fit(config, tmp_path, [SaveAt(step, path, epoch_end)])  # seven batches per epoch
    assert len({tuple(cases) for cases in whole}) == 16
    assert sorted(c for cases in whole[7:14] for c in cases) == list(range(70))
    assert fit(config, tmp_path, resume=path) == whole[step:]
