"""A small finished study to damage, and the one way to look at a refusal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slams.cli.main import main
from slams.config.loading import to_yaml
from slams.config.schema import OptimizerConfig
from tests.stages.commands import study

Refused = Callable[..., str]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path) -> Path:
    """Return a directory with source, store and runs of every stage, all named relative to it."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copytree(tiny_source, root / "nature.zarr")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        config = study(Path("."), "nature.zarr", test_cases=2)
        for stage in (config.vae, config.score):
            stage.optimizer = OptimizerConfig(steps=8, warmup_steps=1, ema=0.9)
        config.trainer.validate_every_epochs = 1
        config.assimilation.modality_study, config.assimilation.keep_cases = 0, 1
        Path("recipe.yaml").write_text(to_yaml(config))
        for verb in (["prepare"], ["train", "vae"], ["train", "score"], ["assimilate"]):
            assert main([*verb, "recipe.yaml"]) == 0
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the study, which is the working directory."""
    copy = tmp_path / "study"
    shutil.copytree(trained, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def refused(root: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that runs a command which must be refused, and return the sentence.

    It sees to the exit code, to the one sentence, and to it that nothing was left behind: no
    file made, changed or removed, no directory made.
    """

    def run(command: str, *words: str) -> str:
        capsys.readouterr()
        before = listing(root)
        code = main([*command.split(), "recipe.yaml", *words])
        captured = capsys.readouterr()
        assert code == 2, captured.err
        *others, sentence = captured.err.strip().splitlines()
        assert sentence.startswith("slams: ")
        # Progress may stand before it, nothing else of the program's.
        assert not [line for line in others if "slams: " in line or "Traceback" in line]
        assert listing(root) == before
        return sentence

    return run


def listing(directory: Path) -> dict[str, tuple[int, int] | None]:
    """List files with size and time of change, and directories; locks do not count."""
    return {
        str(path.relative_to(directory)): (
            None if path.is_dir() else (path.stat().st_size, path.stat().st_mtime_ns)
        )
        for path in sorted(directory.rglob("*"))
        if path.suffix != ".lock"
    }
