"""A tracking store that is damaged, and runs that are removed while a command works in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slams.cli.main import main
from slams.modules.analyses import KeptCases
from slams.modules.callbacks.metrics_csv import MetricsCSV
from tests.bad_input.conftest import Refused

TRAIN = ("train vae", "experiment=new")
ASSIMILATE = ("assimilate", "experiment=new", "pretrained_experiment=tiny")


@pytest.fixture
def database(root: Path, template: Path) -> Path:
    """Return the local tracking store of the study."""
    path = root / "runs/mlflow.db"
    shutil.copyfile(template, path)
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, replace_by_directory])
@pytest.mark.parametrize(
    "words",
    [
        (*TRAIN, "tracking.enabled=true"),
        (*ASSIMILATE, "tracking.enabled=true"),
        ("sync", "tracking.uri=sqlite:///server.db"),
    ],
)
def test_a_damaged_tracking_store(
    refused: Refused, database: Path, words: tuple[str, ...], damage: Callable[[Path], object]
) -> None:
    damage(database)
    sentence = refused(*words)
    assert f"the tracking store {database} cannot be used" in sentence
    assert "move it away" in sentence


@pytest.mark.parametrize(
    ("words", "owner", "method"),
    [
        (TRAIN, MetricsCSV, "on_train_batch_end"),
        (ASSIMILATE, KeptCases, "write"),
    ],
)
def test_runs_that_are_removed_in_the_middle(
    root: Path,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    owner: type,
    method: str,
) -> None:
    call = getattr(owner, method)
    removed: list[Path] = []

    def remove(self: object, *arguments: object, **options: object) -> object:
        if not removed:
            removed.append(root / "runs")
            while removed[0].exists():  # the tracker may be writing there
                shutil.rmtree(removed[0], ignore_errors=True)
        return call(self, *arguments, **options)

    monkeypatch.setattr(owner, method, remove)
    command, *keys = words
    assert main([*command.split(), "recipe.yaml", *keys, "tracking.enabled=true"]) == 2
    said = capsys.readouterr().err
    assert removed
    assert "Traceback" not in said
    sentences = [line for line in said.splitlines() if line.startswith("slams: ")]
    assert len(sentences) == 1
    assert "was removed while this command was working in it; give the command again" in said
    assert not list((root / "runs").rglob("run.json"))
