"""`slams bench prepare`: processes that are really killed, and what they leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slams.benchmarks.preparation import _differences
from slams.cli.main import main

RECIPE = Path(__file__).parents[2] / "experiments/benchmarks/prepare.yaml"
SMALL = ["gigabytes=0.06", "rows=61", "columns=120", "levels=[850,500]", "memory=1500 MB"]


@pytest.mark.slow
def test_killed_without_warning_it_goes_on_to_the_same_bytes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL, "grid=24x48", "kills=2", "--output", str(tmp_path / "bench")]
    assert main(["bench", "prepare", str(RECIPE), *words]) == 0
    said = capfd.readouterr().out
    assert "killed and uninterrupted: no file differs" in said
    assert "resuming an unfinished preparation" in said
    found = json.loads((tmp_path / "bench/preparation.json").read_text())
    runs = found["runs"]["killed"]
    assert [run["killed"] for run in runs] == [True, True, False]
    assert runs[0]["files"] <= runs[1]["files"] <= runs[2]["files"] == 17
    assert all(run["memory"] < 1.5e9 for run in runs)
    # Sources and stores are removed, what was found stays.
    left = sorted(p.name for p in (tmp_path / "bench").iterdir())
    assert left == ["killed.yaml", "peace.yaml", "preparation.json"]


def test_what_differs_is_named(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "c").mkdir(parents=True)
        (tmp_path / name / "c/0").write_bytes(b"same")
        (tmp_path / name / "c/1").write_bytes(name.encode())
    (tmp_path / "other/c/2").write_bytes(b"more")
    assert _differences(tmp_path / "one", tmp_path / "other") == ["c/1", "c/2"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("gigabytes=0", "'gigabytes': found 0"),
        ("memory=2", "'memory': found '2', expected an amount"),
        ("scheduler=slurm", "scheduler"),
        ("levels=[500,500]", "'levels': found"),
        ("gigabytes=1000000", "are needed"),
    ],
)
def test_what_makes_no_sense_is_refused(
    word: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "prepare", str(RECIPE), word, "--output", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
