"""Every tutorial runs from its first cell to its last."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from slams.cli.main import main
from slams.plugins.methods import METHODS
from slams.plugins.operators import OPERATORS

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
TRAINS = "03_train_on_era5"
# One test for each model: what a tutorial trains, those that load a model are given.
TOGETHER = [
    [TRAINS, "01_read_the_demo", "02_your_own_observations", "06_cycle"],
    ["04_operator_and_method"],
    ["05_ablation"],
]


def test_every_tutorial_is_among_those_that_run() -> None:
    listed = sorted(name for names in TOGETHER for name in names)
    assert listed == sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture
def folder(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder to work in; what is imported and registered there ends with the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.copy(template, tmp_path / "runs" / "mlflow.db")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for registry in (METHODS, OPERATORS):
        monkeypatch.setattr(registry, "_found", dict(registry._found))
    plt.switch_backend("agg")
    yield tmp_path
    plt.close("all")
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: names[0])
def test_tutorials_run(names: list[str], folder: Path) -> None:
    for name in names:
        runpy.run_path(str(FOLDER / f"{name}.py"))
        plt.close("all")
        if name == TRAINS:
            run = "runs/era5_tutorial/assimilation"
            assert main(["export", run, "--output", str(folder / "model")]) == 0
