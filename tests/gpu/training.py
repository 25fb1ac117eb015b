"""Trainings of both networks on random fields, as one script for any device and number of ranks.

python -m tests.gpu.training DIRECTORY cpu|gpu RANKS
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.utils.data import DataLoader

from slams.config.schema import TrainerConfig
from slams.fields import Batch
from slams.modules.base import TrainedModule
from slams.modules.trainer import make_trainer
from tests.modules.test_score import batch as latent_batch
from tests.modules.test_score import score
from tests.modules.test_vae import fields, vae

__all__ = ["module_and_batch", "train"]


def module_and_batch(stage: str) -> tuple[TrainedModule, object]:
    """Return a small module of a stage, seeded, and a batch for it."""
    torch.manual_seed(0)
    if stage == "score":
        return score(), latent_batch()
    x = fields()[:, None]
    known = torch.ones_like(x, dtype=torch.bool)
    batch = Batch(x, known, torch.zeros(6, 1), torch.arange(6), torch.zeros_like(x))
    return vae(), batch


def train(
    stage: str, directory: Path, accelerator: str, ranks: int = 1, precision: str = "bf16-mixed"
) -> tuple[TrainedModule, float]:
    """Train a stage for four steps; return the module and its last loss.

    Args:
        stage: `vae` or `score`.
        directory: The Trainer's directory; nothing is written.
        accelerator: `cpu` or `gpu`.
        ranks: Number of processes.
        precision: Lightning precision.
    """
    module, batch = module_and_batch(stage)
    config = TrainerConfig(accelerator=accelerator, devices=ranks, precision=precision, threads=1)
    module.configure_networks(config)
    trainer = make_trainer(config, run_dir=directory, max_steps=4)
    torch.manual_seed(1)
    trainer.fit(module, DataLoader([batch] * 4, batch_size=None))
    return module, float(trainer.callback_metrics["train/loss"])


def _same_on_all_ranks(module: TrainedModule) -> bool:
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    least, most = flat.clone(), flat.clone()
    distributed.all_reduce(least, distributed.ReduceOp.MIN)
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return torch.equal(least, most)


if __name__ == "__main__":
    where, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    trained, loss = train("vae", where, kind, count)
    place = next(trained.parameters()).device.type
    backend = distributed.get_backend()
    same = _same_on_all_ranks(trained)
    if distributed.get_rank() == 0:
        print(f"{count} ranks, {backend}, {place}, same weights: {same}, loss {loss:.4f}")
