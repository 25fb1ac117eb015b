"""`slams bench posterior`: its tables, files and figure, on few members."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from slams.benchmarks import posterior
from slams.benchmarks.figures import draw_calibration
from slams.cli import main

FEW = {"GUIDANCE": ("none", "decg"), "SAMPLERS": ("adams_bashforth", "ddim")}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FEW.items():
        monkeypatch.setattr(posterior, name, value)
    whole = posterior.gaussian_table
    monkeypatch.setattr(posterior, "UNIT_LEVELS", ((3, 60.0), (4, 200.0)))
    monkeypatch.setattr(posterior, "gaussian_table", lambda **k: whole(*FEW.values(), **k))


def test_the_verb_prints_and_writes_everything(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(posterior.bench_posterior, "__defaults__", (40, 60))
    assert main.main(["bench", "posterior", "--output", str(tmp_path / "here")]) == 0
    table = pd.read_csv(tmp_path / "here/gaussian.csv")
    assert len(table) == 2 * 2 * 2 * 2
    assert set(table["problem"]) == {"dense", "linear decoder"}
    assert table[["mean_error", "sd_observed", "sd_unobserved"]].notna().all(axis=None)
    mixture = pd.read_csv(tmp_path / "here/mixture.csv")
    assert list(mixture["guidance"]) == ["posterior", "exact", "decg"]
    assert (tmp_path / "here/posterior.png").stat().st_size > 10_000
    units = pd.read_csv(tmp_path / "here/units.csv")
    assert len(units) == 2 * 3 * 2
    assert set(zip(units.guidance, units.iterations, strict=True)) == {*posterior.UNIT_GUIDANCE}
    assert set(zip(units.levels, units.sigma_max, strict=True)) == {*posterior.UNIT_LEVELS}
    printed = capsys.readouterr().out
    assert "Observations in units of 1, 0.3, 20, 60 samples" in printed
    first = units.iloc[0]
    assert f"{first.mean_error:.3f} {first.sd_observed:.3f}" in printed
    assert "Gaussian posterior, 40 samples, 16 noise levels" in printed
    row = table[(table.guidance == "decg") & (table["sampler"] == "ddim")].iloc[0]
    assert f"{row.mean_error:.3f} {row.sd_observed:.2f} {row.sd_unobserved:.2f}" in printed


@pytest.mark.parametrize("word", ["experiments/demo.yaml", "members=3", "--outptu"])
def test_the_verb_takes_no_recipe(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "posterior", word]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert word in captured.err
    assert "--output" in captured.err


def test_an_output_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main.main(["bench", "posterior", "--output", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_diverged_is_said_and_left_out_of_the_figure(tmp_path: Path) -> None:
    rows = [
        ("sda", "heun", "dense", 0.1, math.nan, math.nan, math.nan, 2000, 1.0),
        ("sda", "ddim", "dense", 0.1, 0.02, 1.01, 0.99, 3, 1.0),
    ]
    columns = ["guidance", "sampler", "problem", "error", "mean_error"]
    columns += ["sd_observed", "sd_unobserved", "diverged", "seconds"]
    table = pd.DataFrame(rows, columns=columns)
    console = Console(file=io.StringIO(), width=110)
    console.print(posterior._gaussian_page(table, 2000))
    text = console.file.getvalue()
    assert "diverged" in text
    assert "0.020 1.01 0.99 (3 diverged)" in text
    draw_calibration(table, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()
