"""Trained modules: weight decay, learning rate, and whose checkpoints are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slams.config.schema import OptimizerConfig, ScoreConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.modules.base import TrainedModule, check_identity, warmup_cosine
from slams.modules.score import LatentScore
from slams.modules.vae import VAE
from tests.modules.test_score import score
from tests.modules.test_vae import CHANNELS, GRID, vae
from tests.nn.test_layers import randomise


def save(module: TrainedModule, path: Path, **identity: Any) -> Path:
    """Write what a Trainer writes of a module, with parts of its identity replaced."""
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    checkpoint["slams"] = {**checkpoint["slams"], **identity}
    torch.save(checkpoint, path)
    return path


def test_a_vae_comes_back_as_it_was(tmp_path: Path) -> None:
    module = randomise(vae())
    loaded = VAE.load(save(module, tmp_path / "best.ckpt"), CHANNELS, GRID)
    x = torch.randn(2, 4, 12, 24)
    known = torch.rand(x.shape) < 0.8
    assert torch.equal(loaded.reconstruct(x, known), module.reconstruct(x, known))
    assert torch.equal(loaded.sd, module.sd)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_score_comes_back_as_it_was(tmp_path: Path) -> None:
    module = randomise(score())
    module.latent_mean.copy_(torch.arange(4.0))
    loaded = LatentScore.load(save(module, tmp_path / "best.ckpt"), CHANNELS, GRID)
    z, time = torch.randn(2, 2, 4, 3, 6), torch.tensor(0.4)
    assert torch.equal(loaded.denoiser(z, time).mean, module.denoiser(z, time).mean)
    assert torch.equal(loaded.latent_mean, torch.arange(4.0))
    assert loaded.vae_run == "vae-run"
    assert loaded.config == module.config


OTHER_GRID = LatLonGrid(GRID.latitude, GRID.longitude + 7.5)
OTHER_SHAPE = LatLonGrid(
    torch.linspace(78.75, -78.75, 8, dtype=torch.float64),
    torch.arange(16, dtype=torch.float64) * 22.5,
)
OTHER_CHANNELS = (FieldSpec.parse("temperature@300"), *CHANNELS[1:])


@pytest.mark.parametrize(
    ("channels", "grid", "words"),
    [
        (CHANNELS, OTHER_GRID, "another grid"),
        (CHANNELS, OTHER_SHAPE, r"another grid: found \[12, 24\], expected \[8, 16\]"),
        (OTHER_CHANNELS, GRID, r"another channel set: .*temperature@850.*temperature@300"),
        (CHANNELS[:3], GRID, "another channel set"),
        (tuple(reversed(CHANNELS)), GRID, "another channel set"),
    ],
)
def test_refuses_a_checkpoint_of_other_data(tmp_path, channels, grid, words) -> None:
    path = save(vae(), tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=words) as refusal:
        VAE.load(path, channels, grid)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def garbage(path: Path) -> None:
    path.write_bytes(b"no checkpoint at all")


def cut_short(path: Path) -> None:
    save(vae(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_project(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def a_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


class Burglar:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.door),)


def code(path: Path) -> None:
    burglar = Burglar()
    burglar.door = path.with_name("was here")
    torch.save({"state_dict": {}, "slams": burglar}, path)


def another_version(path: Path) -> None:
    save(vae(), path, version=99)


def another_stage(path: Path) -> None:
    save(score(), path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: None, "no such file; train that stage first"),
        (garbage, "cannot be read"),
        (cut_short, "cannot be read"),
        (of_another_project, "not written by this project"),
        (code, "cannot be read"),
        (a_tensor, "not written by this project"),
        (another_version, "another version of the checkpoint layout: found 99, expected 1"),
        (another_stage, "another stage: found score, expected vae"),
    ],
)
def test_refuses_what_is_no_checkpoint_of_the_stage(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "best.ckpt"
    damage(path)
    with pytest.raises(UserError, match=words) as refusal:
        VAE.load(path, CHANNELS, GRID)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "was here").exists()


def test_a_training_resumes_only_its_own_network() -> None:
    checkpoint: dict[str, Any] = {}
    score().on_save_checkpoint(checkpoint)
    score().on_load_checkpoint(checkpoint)
    with pytest.raises(UserError, match="another network"):
        score(dropout=0.3).on_load_checkpoint(checkpoint)
    with pytest.raises(UserError, match="another stage"):
        check_identity(checkpoint, vae().identity, "here")


def test_only_weights_are_decayed() -> None:
    module = LatentScore(
        ScoreConfig(channels=[8], blocks=1, optimizer=OptimizerConfig(weight_decay=0.1)),
        CHANNELS,
        GRID,
        (1, 4, 3, 6),
        torch.zeros(4),
        torch.ones(4),
        "",
    )
    decayed, free = module.configure_optimizers()["optimizer"].param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    names = {id(p): n for n, p in module.named_parameters()}
    found = {names[id(p)] for p in decayed["params"]}
    assert all(name.endswith("weight") and "norm" not in name for name in found)
    others = {names[id(p)] for p in free["params"]}
    assert found | others == set(names.values())
    assert "denoiser.backbone.position" in others
    module = vae()
    _, free = module.configure_optimizers()["optimizer"].param_groups
    assert any(p is module.log_error for p in free["params"])
    assert any(p is module.encoder.position for p in free["params"])


def test_learning_rate_rises_then_follows_a_cosine() -> None:
    rates = [warmup_cosine(step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[4] == pytest.approx(0.5 * 0.9961, rel=1e-3)
    assert max(rates) == rates[9]
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 1e-3
    assert warmup_cosine(0, 100, 0) == 1.0
    assert warmup_cosine(200, 100, 10) == 0.0
