"""The same on a GPU as on the CPU: training in bfloat16, several ranks, analyses.

Each test runs on the CPU in the ordinary suite and, marked `gpu` (make test-gpu), on a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from slams.assimilators.base import Assimilator
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.config.schema import VAEConfig
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.modules.vae import VAE
from tests.assimilators.latent_gaussian import assimilator
from tests.assimilators.problems import linear_gaussian
from tests.gpu.recording import HeavyOnCpu, measure
from tests.gpu.training import train

_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, _GPU])
DEVICES = pytest.mark.parametrize("device", ["cpu", CUDA])
ACCELERATOR = {"cpu": "cpu", "cuda": "gpu"}


def method(name: str, problem) -> Assimilator:
    """Return a fitted method on the CPU, the same at each call."""
    if name == "latent_diffusion":
        return assimilator(problem, "decg", archive=120, steps=4).method
    found = OptimalInterpolation(problem.normaliser, problem.grid, 0, localisation=5000.0)
    found.fit(problem.archive(problem.draw(120, seed=3)))
    return found


@DEVICES
@pytest.mark.parametrize("stage", ["vae", "score", "filter"])
def test_training_in_bfloat16_is_on_the_device(stage: str, device: str, tmp_path: Path) -> None:
    with HeavyOnCpu() as recorded:
        module, loss, end = train(stage, tmp_path, ACCELERATOR[device])
    assert end.device == device
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    _, exact, _ = train(stage, tmp_path, "cpu", precision="32-true")
    assert loss == pytest.approx(exact, rel=0.05 if device == "cpu" else 0.5)
    if device == "cpu":
        assert any("conv" in name for name in recorded.found)
    else:
        assert recorded.found == set()


@DEVICES
@pytest.mark.parametrize("name", ["latent_diffusion", "optimal_interpolation"])
def test_analyses_are_those_of_the_cpu(name: str, device: str) -> None:
    problem = linear_gaussian()
    batch = problem.batch(1)
    expected = method(name, problem).analyse(batch, 4).members
    with HeavyOnCpu() as recorded:
        found = method(name, linear_gaussian()).analyse(batch.to(device), 4).members
    if device == "cuda":
        assert found.device.type == "cuda"
    members = (problem.normalised(x.cpu(), batch) for x in (found, expected))
    torch.testing.assert_close(*members, rtol=0, atol=1e-3)
    moved = problem.normalised(expected, batch) - batch.background.mean[0]
    assert float(moved.abs().max()) > 0.3
    assert (recorded.found == set()) == (device == "cuda"), recorded.found


@DEVICES
def test_the_autoencoder_is_that_of_the_cpu(device: str) -> None:
    """Also where the patches do not divide the grid."""
    torch.manual_seed(0)
    module, x = big_vae(13, 26)
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    with torch.no_grad():
        expected = module.reconstruct(x, known)
        moved = module.to(device)
        found = moved.reconstruct(x.to(device), known.to(device))
    assert found.device.type == device
    # Convolutions on a GPU may round to TF32, which has ten bits.
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), CUDA])
@pytest.mark.parametrize("stage", ["vae", "filter"])
def test_two_ranks_train_the_same_network(stage: str, device: str, tmp_path: Path) -> None:
    if device == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("fewer than two GPUs on this machine")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.gpu.training",
            str(tmp_path),
            ACCELERATOR[device],
            "2",
            stage,
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "PL_"))},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    backend = {"cpu": "gloo", "cuda": "nccl"}[device]
    # From either rank.
    assert done.stdout.count(f"2 ranks, {backend}, {device}, same weights: True") == 2


def big_vae(rows: int, columns: int, **settings: int) -> tuple[VAE, torch.Tensor]:
    """Return a VAE on a grid of any size, and normalised fields."""
    grid = LatLonGrid(
        torch.linspace(90, -90, rows, dtype=torch.float64),
        360 / columns * torch.arange(columns),
    )
    channels = [FieldSpec.parse(f"temperature@{100 * n}") for n in range(1, 5)]
    config = VAEConfig(**{"latent_channels": 16, "hidden": 16, "blocks": 1, **settings})
    module = VAE(config, channels, grid, torch.ones(4, rows, columns))
    x = torch.randn(2, 4, rows, columns, generator=torch.Generator().manual_seed(2))
    module.initialise(x)
    return module, x


@DEVICES
def test_cost_beside_that_of_the_cpu(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints seconds and peak memory of a training step and of a member."""
    shape = (13, 24) if device == "cpu" else (121, 240)
    places = dict.fromkeys(["cpu", device])
    calls = 1 if device == "cpu" else 3
    problem = linear_gaussian()
    lines = []
    for place in places:
        module, x = big_vae(*shape, hidden=16 if device == "cpu" else 128)
        module, x = module.to(place), x.to(place)
        known = torch.ones_like(x, dtype=torch.bool)
        tried = method("latent_diffusion", problem)
        batch = problem.batch(1).to(place)
        for what, work in {
            "training step": lambda: module.loss(x, known, known)[0].backward(),  # noqa: B023
            "member": lambda: tried.analyse(batch, 1),  # noqa: B023
        }.items():
            cost = measure(place, work, calls)
            assert cost.seconds > 0
            assert cost.memory > 0
            lines.append(f"{what:14} {place:5} {cost}")
    with capsys.disabled():
        if device == "cuda":
            print("", *lines, sep="\n")
