"""The recipe of a quarter of a degree, on synthetic fields of its layout on a small grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks.synthetic_store import write
from slams.cli.main import main
from slams.config.loading import load

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
RECIPE = EXPERIMENTS / "benchmarks" / "era5_0p25deg_synthetic.yaml"


def test_the_recipe_is_valid_and_crops_to_whole_patches() -> None:
    assert main(["config", "validate", str(EXPERIMENTS / "era5_0p25deg.yaml")]) == 0
    config = load(EXPERIMENTS / "era5_0p25deg.yaml")
    assert len(config.data.channels) == 16
    assert [n % config.vae.factor for n in config.vae.crop] == [0, 0]


def test_a_dry_run_trains_on_a_crop_of_a_grid_with_poles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "source.zarr", 12, (25, 48))
    words = [
        f"data.sources.0.path={tmp_path / 'source.zarr'}",
        f"data.store={tmp_path / 'store.zarr'}",
        f"runs={tmp_path / 'runs'}",
        "tracking.enabled=false",
        "trainer.accelerator=cpu",
        "trainer.devices=1",
        "vae.factor=2",
        "vae.hidden=8",
        "vae.blocks=1",
        "vae.crop=[12,20]",
    ]
    assert main(["prepare", str(RECIPE), *words]) == 0
    capsys.readouterr()
    assert main(["train", "vae", str(RECIPE), "--dry-run", *words]) == 0
    printed = capsys.readouterr().out
    assert "dry run of train vae: batch (1, 1, 16, 12, 20)" in printed
    assert main(["train", "vae", str(RECIPE), "--dry-run", *words, "vae.crop=[]"]) == 0
    assert "dry run of train vae: batch (1, 1, 16, 25, 48)" in capsys.readouterr().out
