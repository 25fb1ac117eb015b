"""`slams bench data`: all ways of reading give the same windows; its tables, files and figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from slams.benchmarks.page_cache import evict, resident_share
from slams.benchmarks.recipes import parse_grid
from slams.benchmarks.stream_stores import Layouts, make_layouts
from slams.benchmarks.stream_tables import RATIOS, plan_table, ratio_table
from slams.benchmarks.window_readers import READERS, WindowReader
from slams.cli import main


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    return make_layouts(tmp_path_factory.mktemp("layouts"), 80, (3, 6, 8), seed=0)


@pytest.mark.parametrize("fresh", [False, True])
def test_every_reader_gives_the_same_windows(layouts: Layouts, fresh: bool) -> None:
    positions = [70, 0, 61, 62]
    # A reader keeps one array for all batches of its own.
    batches = {
        kind: WindowReader(kind, layouts, 5, fresh).__getitems__(positions).clone()
        for kind in READERS
    }
    fields = np.load(layouts.cache)
    expected = torch.from_numpy(np.stack([fields[p : p + 5] for p in positions]))
    for kind, found in batches.items():
        assert torch.equal(found, expected), kind


def test_the_verb_prints_and_writes_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["grids=[6x8x3]", "days=80", "repetitions=2", "seconds=0.01", "workers=[0]"]
    assert main.main(["bench", "data", *words, "--output", str(tmp_path / "here")]) == 0
    samples = pd.read_csv(tmp_path / "here/samples.csv")
    assert len(samples) == 2 * len(READERS) * 2
    assert (samples["samples_per_second"] > 0).all()
    size = 5 * 4 * 3 * 6 * 8
    np.testing.assert_allclose(
        samples["mb_per_second"], samples["samples_per_second"] * size / 1e6, rtol=1e-3
    )
    ratios = pd.read_csv(tmp_path / "here/ratios.csv")
    assert len(ratios) == 2 * len(RATIOS)
    assert (ratios["smallest"] <= ratios["median"]).all()
    assert (tmp_path / "here/data.png").stat().st_size > 10_000
    assert not (tmp_path / "here/stores").exists()
    printed = capsys.readouterr().out
    labels = [reader.label for reader in READERS.values()]
    for text in (*labels, "store / xarray+dask", "721 x 1440", "serial correlation"):
        assert text.split(",")[0] in printed


def test_ratios_are_taken_within_a_repetition() -> None:
    speeds = {kind: [10.0, 20.0, 30.0] for kind in READERS}
    speeds["cache"] = [5.0, 20.0, 60.0]
    rows = [
        ("6x8x3", "warm", 0, kind, n, speed, speed, 1.0)
        for kind, found in speeds.items()
        for n, speed in enumerate(found)
    ]
    columns = ["grid", "page_cache", "workers", "reader", "repetition"]
    columns += ["samples_per_second", "mb_per_second", "cpu_ms_per_sample"]
    table = ratio_table(pd.DataFrame(rows, columns=columns))
    found = table[(table["reader"] == "cache") & (table["against"] == "memmap")].iloc[0]
    assert (found["smallest"], found["median"], found["largest"]) == (0.5, 1.0, 2.0)
    assert found["cpu"] == 1.0


def test_the_plan_by_hand() -> None:
    rows = [
        ("121x240x13", "warm", 0, "cache", 1000.0, 400),
        ("121x240x13", "warm", 0, "store", 500.0, 200),
        ("48x96x11", "warm", 0, "store", 9.0, 1),
    ]
    columns = ["grid", "page_cache", "workers", "reader", "mb_per_second", "bytes"]
    plan = plan_table(pd.DataFrame(rows, columns=columns), window=5)
    value = dict(zip(plan["what"], plan["value"], strict=True))
    day = 721 * 1440 * 13 * 4 / 1e6
    assert value["bytes of a day"] == pytest.approx(day)
    assert value["days per file"] == 2
    assert value["bytes of a file"] == pytest.approx(day)
    assert value["store, warm"] == pytest.approx(500 / (5 * day))


def test_files_leave_the_page_cache(layouts: Layouts) -> None:
    files = layouts.files(layouts.variables)
    for file in files:
        file.read_bytes()
    share = resident_share(files)
    if share is None:
        pytest.skip("this system does not report what is in the page cache")
    assert share == 1.0
    evict(files)
    assert resident_share(files) <= 1.0


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("grids=[48x96]", "'grids.0': found '48x96', expected LATITUDESxLONGITUDESxCHANNELS"),
        ("days=10", "'days'"),
        ("workers=[-1]", "'workers.0': found -1"),
        ("gird=5", "grids"),
    ],
)
def test_recipes_that_cannot_be(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "data", word]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_grid_is_read_as_it_is_written() -> None:
    assert parse_grid("121x240x13") == (13, 121, 240)
