"""The gallery's figures are drawn from a run directory, small enough for a page."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from tests.report.synthetic import small_world, write_assimilation

GALLERY = Path(__file__).parents[1] / "docs" / "gallery.py"


def test_every_figure_of_the_gallery_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_assimilation(tmp_path / "run", small_world(3), keep=2)
    gallery = runpy.run_path(str(GALLERY))
    gallery["main"](run, tmp_path)
    files = sorted(path.name for path in tmp_path.glob("*.png"))
    assert files == sorted(f"gallery_{draw.__name__}.png" for draw in gallery["FIGURES"])
    assert len(files) == 6
    for name in files:
        picture = plt.imread(tmp_path / name)
        assert picture[..., :3].std() > 0.05  # something is drawn
        assert (tmp_path / name).stat().st_size < 120_000
    assert capsys.readouterr().out.count("\n") == 6
