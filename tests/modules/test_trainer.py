"""The Trainer factory: what every stage relies on, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from slams.config.schema import TrainerConfig
from slams.errors import UserError
from slams.modules.callbacks.checkpoints import Checkpoints
from slams.modules.callbacks.progress import ProgressLines
from slams.modules.callbacks.summary import RunSummary
from slams.modules.trainer import EVALUATION_PRECISION, make_trainer

CONFIG = TrainerConfig(accelerator="cpu", threads=1)


class Differentiates(LightningModule):
    """Needs a gradient in its test step, as guidance does."""

    def test_step(self, batch, batch_idx):
        with torch.enable_grad():
            x = batch.requires_grad_()
            (self.gradient,) = torch.autograd.grad((x**2).sum(), x)


def test_samplers_are_left_alone_and_nothing_is_written(tmp_path):
    trainer = make_trainer(CONFIG, run_dir=tmp_path, precision=EVALUATION_PRECISION)
    module = Differentiates()
    loader = DataLoader(torch.ones(2, 3), batch_size=2)
    trainer.test(module, loader, verbose=False)
    assert module.gradient.tolist() == [[2.0] * 3] * 2
    assert trainer._accelerator_connector.use_distributed_sampler is False
    assert trainer.precision == "32-true"
    assert list(tmp_path.iterdir()) == []
    assert trainer.checkpoint_callback is None


def test_callbacks_are_added_once(tmp_path):
    mine = RunSummary()
    trainer = make_trainer(CONFIG, run_dir=tmp_path, max_steps=5, callbacks=[mine])
    assert [c for c in trainer.callbacks if isinstance(c, RunSummary)] == [mine]
    assert sum(isinstance(c, ProgressLines) for c in trainer.callbacks) == 1
    assert (trainer.max_steps, trainer.max_epochs) == (5, -1)
    assert trainer.default_root_dir == str(tmp_path)
    with_checkpoints = make_trainer(
        CONFIG, run_dir=tmp_path, max_epochs=1, callbacks=[Checkpoints(tmp_path, "validation/x")]
    )
    assert isinstance(with_checkpoints.callbacks[-1], Checkpoints)


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_computes_in_bfloat16_only_where_the_hardware_does(
    tmp_path, monkeypatch, native, expected
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    config = replace(CONFIG, accelerator="cpu", precision="auto")
    assert make_trainer(config, run_dir=tmp_path).precision == expected
    explicit = replace(config, precision="bf16-mixed")
    assert make_trainer(explicit, run_dir=tmp_path).precision == "bf16-mixed"


def test_two_processes_on_the_cpu_use_gloo_and_one_thread_each(tmp_path):
    torch.set_num_threads(2)
    trainer = make_trainer(replace(CONFIG, devices=2, threads=0), run_dir=tmp_path)
    assert isinstance(trainer.strategy, DDPStrategy)
    assert trainer.strategy.process_group_backend == "gloo"
    assert trainer.world_size == 2
    assert torch.get_num_threads() == 1


def test_ranks_on_the_cpu_end_their_process_group_before_the_interpreter_ends(tmp_path: Path):
    """Threads of gloo that outlive the interpreter may abort it, after its work is done."""
    code = f"""
    import atexit
    from torch import distributed
    # Handlers run in reverse order: this one comes last.
    atexit.register(lambda: print("left over:", distributed.is_initialized()))
    from slams.config.schema import TrainerConfig
    from slams.modules.trainer import make_trainer
    make_trainer(TrainerConfig(accelerator="cpu", devices=2), run_dir={str(tmp_path)!r})
    distributed.init_process_group(
        "gloo", init_method="file://{tmp_path}/group", rank=0, world_size=1
    )
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "left over: False"), done.stderr


def test_slurm_without_lightning_s_requeue(tmp_path, monkeypatch):
    for name, value in {
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NAME": "train",
        "SLURM_JOB_ID": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "1",
    }.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(CONFIG, run_dir=tmp_path)
    environment = trainer._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert environment.auto_requeue is False


@pytest.mark.parametrize("variable", ["SLURM_NTASKS", "SLURM_NNODES"])
def test_nonsense_of_slurm_is_named(tmp_path, monkeypatch, variable):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.setenv(variable, "two")
    with pytest.raises(UserError, match=f"{variable}: found 'two'"):
        make_trainer(CONFIG, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerator": "tpu"}, "key 'trainer.accelerator': found 'tpu'; did you mean"),
        ({"precision": "bf16"}, "key 'trainer.precision': found 'bf16'; expected one of auto"),
        ({"devices": 0}, "trainer.devices': found 0, expected at least 1"),
        ({"num_nodes": -1}, "trainer.num_nodes': found -1, expected at least 1"),
        ({"accelerator": "gpu", "devices": 999}, "this machine has"),
    ],
)
def test_refusals(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        make_trainer(replace(CONFIG, **change), run_dir=tmp_path)
