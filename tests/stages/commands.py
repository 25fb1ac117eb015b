"""Tiny recipes through the real command line, in this process or in one of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from slams.cli.main import main
from slams.config.loading import to_yaml
from slams.config.schema import (
    AssimilationConfig,
    Config,
    FilterConfig,
    OptimizerConfig,
    ReportConfig,
    ScoreConfig,
    TrackingConfig,
    TrainerConfig,
    VAEConfig,
)
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from tests.synthetic import tiny_recipe

__all__ = ["VERBS", "copy_stages", "filter_settings", "slams", "study", "subprocess_slams", "tree"]

VERBS = ("prepare", "train vae", "train score", "assimilate", "report")
_ROOT = Path(__file__).resolve().parents[2]


def study(directory: Path, source: Path, **data: object) -> Config:
    """Make a recipe whose five stages take some seconds together on one thread.

    Args:
        directory: Where store, runs and `recipe.yaml` go.
        source: Path of the made-up nature run.
        data: Fields of `DataConfig` to replace.
    """
    config = tiny_recipe(directory, source, **data)
    config.vae = VAEConfig(
        latent_channels=8,
        hidden=8,
        blocks=1,
        batch_size=8,
        optimizer=OptimizerConfig(steps=48, warmup_steps=5, ema=0.9),
    )
    config.score = ScoreConfig(
        channels=[8],
        blocks=1,
        embedding=16,
        batch_size=8,
        optimizer=OptimizerConfig(steps=48, warmup_steps=5, ema=0.9),
    )
    config.assimilation = AssimilationConfig(
        members=3,
        guidance=GuidanceSettings(archive=20),
        sampler=SamplerSettings(steps=4),
        bootstrap_samples=20,
        keep_cases=2,
        modality_study=2,
    )
    config.trainer = TrainerConfig(
        accelerator="cpu", threads=1, precision="32-true", validate_every_epochs=2
    )
    config.tracking = TrackingConfig(enabled=False)
    config.report = ReportConfig(dpi=40)
    (directory / "recipe.yaml").write_text(to_yaml(config))
    return config


def filter_settings(output: str) -> FilterConfig:
    """Return a learned filter that is trained in seconds.

    Args:
        output: The store that it writes.
    """
    return FilterConfig(
        output=output,
        channels=[16],
        blocks=1,
        embedding=8,
        hidden=8,
        stretch=20,
        batch_size=2,
        optimizer=OptimizerConfig(steps=120, warmup_steps=20, learning_rate=3e-3, ema=0.9),
    )


def slams(recipe: Path, verb: str, *words: str) -> int:
    """Run a verb in this process; return the exit code."""
    return main([*verb.split(), str(recipe), *words])


def subprocess_slams(recipe: Path, verb: str, *words: str) -> subprocess.Popen[str]:
    """Start a verb in a process of its own, on one thread."""
    path = os.pathsep.join([str(_ROOT / "src"), str(_ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "slams", *verb.split(), str(recipe), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell has what it starts in the background ignore interrupts, tests among them.
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def copy_stages(config: Config, runs: Path, *stages: str) -> Path:
    """Copy finished stages to another directory of runs, which is returned."""
    for stage in stages:
        shutil.copytree(
            Path(config.runs) / config.experiment / stage, runs / config.experiment / stage
        )
    return runs


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    """List every file with its size and time of change; locks of processes do not count."""
    return {
        str(path.relative_to(directory)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }
