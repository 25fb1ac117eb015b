"""Trainings of the networks on random fields, as one script for any device and number of ranks.

python -m tests.gpu.training DIRECTORY cpu|gpu RANKS STAGE
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed
from torch.utils.data import DataLoader

from slams.config.schema import TrainerConfig
from slams.fields import Batch
from slams.modules.base import TrainedModule
from slams.modules.trainer import make_trainer
from tests.modules.test_learned_filter import days
from tests.modules.test_learned_filter import module as learned_filter
from tests.modules.test_score import batch as latent_batch
from tests.modules.test_score import score
from tests.modules.test_vae import fields, vae

__all__ = ["AtEnd", "module_and_batch", "train"]


def module_and_batch(stage: str) -> tuple[TrainedModule, object]:
    """Return a small module of a stage, seeded, and a batch for it."""
    torch.manual_seed(0)
    if stage == "score":
        return score(), latent_batch()
    if stage == "filter":
        return learned_filter(), days()
    x = fields()[:, None]
    known = torch.ones_like(x, dtype=torch.bool)
    batch = Batch(x, known, torch.zeros(6, 1), torch.arange(6), torch.zeros_like(x))
    return vae(), batch


class AtEnd(Callback):
    """Looks at a training where it ends: afterwards Lightning moves the module to the CPU.

    Attributes:
        device: Type of the device of the weights.
        backend: Backend of the process group; empty for one process.
        same: Whether all ranks have the same weights.
    """

    device, backend, same = "", "", True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the device, the backend and the comparison."""
        flat = torch.cat([p.detach().flatten() for p in pl_module.parameters()])
        self.device = flat.device.type
        if trainer.world_size > 1:
            self.backend = distributed.get_backend()
            least, most = flat.clone(), flat.clone()
            distributed.all_reduce(least, distributed.ReduceOp.MIN)
            distributed.all_reduce(most, distributed.ReduceOp.MAX)
            self.same = torch.equal(least, most)


def train(
    stage: str, directory: Path, accelerator: str, ranks: int = 1, precision: str = "bf16-mixed"
) -> tuple[TrainedModule, float, AtEnd]:
    """Train a stage for four steps; return the module, its last loss and what was at the end.

    Args:
        stage: `vae`, `score` or `filter`.
        directory: The Trainer's directory; nothing is written.
        accelerator: `cpu` or `gpu`.
        ranks: Number of processes.
        precision: Lightning precision.
    """
    module, batch = module_and_batch(stage)
    config = TrainerConfig(accelerator=accelerator, devices=ranks, precision=precision, threads=1)
    module.configure_networks(config)
    end = AtEnd()
    trainer = make_trainer(config, run_dir=directory, max_steps=4, callbacks=[end])
    torch.manual_seed(1)
    trainer.fit(module, DataLoader([batch] * 4 * ranks, batch_size=None))
    return module, float(trainer.callback_metrics["train/loss"]), end


if __name__ == "__main__":
    where, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _, _, found = train(sys.argv[4], where, kind, count)
    print(f"{count} ranks, {found.backend}, {found.device}, same weights: {found.same}")
