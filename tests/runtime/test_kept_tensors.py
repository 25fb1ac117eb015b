"""Tensors are computed once for all processes, and a damaged file never reaches a result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from slams.runtime.kept_tensors import KeptTensors, MemoryTensors, TensorFiles

KEY = "latent/abc/000"


class Maker:
    """Makes tensors and counts how often."""

    def __init__(self, value: float = 1.0, seconds: float = 0.0) -> None:
        self.calls, self.value, self.seconds = 0, value, seconds

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        time.sleep(self.seconds)
        half = torch.full((3, 4), self.value, dtype=torch.float16)
        return {"values": half, "scale": torch.tensor(2.0)}


@pytest.fixture(params=["memory", "files"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> KeptTensors:
    return MemoryTensors() if request.param == "memory" else TensorFiles(tmp_path / "kept")


def test_tensors_are_made_once(kept: KeptTensors) -> None:
    first, second = Maker(1.0), Maker(2.0)
    made = kept.get(KEY, first)
    found = kept.get(KEY, second)
    assert (first.calls, second.calls) == (1, 0)
    for one in (made, found):
        assert one["values"].dtype == torch.float16
        assert torch.equal(one["values"], torch.ones(3, 4, dtype=torch.float16))
        assert float(one["scale"]) == 2
    assert float(kept.get("latent/abd/000", second)["values"][0, 0]) == 2


def test_memory_keeps_the_last_fingerprint_of_each_kind() -> None:
    kept, again = MemoryTensors(), Maker()
    for key in ("latent/a/0", "latent/a/1", "network/b/0", "latent/c/0"):
        kept.get(key, Maker())
    for key in ("network/b/0", "latent/c/0"):
        kept.get(key, again)
    assert again.calls == 0
    kept.get("latent/a/1", again)
    assert again.calls == 1


def test_of_two_that_ask_at_once_one_computes(tmp_path: Path) -> None:
    makers = [Maker(1.0, 0.3), Maker(2.0, 0.3)]

    def ask(maker: Maker) -> Tensor:
        return TensorFiles(tmp_path / "kept").get(KEY, maker)["values"]

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, makers)
    assert makers[0].calls + makers[1].calls == 1
    assert torch.equal(first, second)
    # Neither a lock nor a temporary file is left.
    names = [p.name for p in (tmp_path / "kept/latent/abc").iterdir()]
    assert names == ["000.safetensors"]


RANK = """
import sys, time, torch
from pathlib import Path
from slams.runtime.kept_tensors import TensorFiles
directory = Path(sys.argv[1])
def make():
    with (directory / "log").open("a") as log:
        log.write("made\\n")
    time.sleep(0.5)
    return {"values": torch.arange(5.0)}
print(float(TensorFiles(directory / "kept").get("latent/abc/000", make)["values"].sum()))
"""


def test_ranks_share_what_one_of_them_computes(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path)],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [rank.communicate()[0].strip() for rank in ranks] == ["10.0", "10.0"]
    assert (tmp_path / "log").read_text() == "made\n"


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


@pytest.mark.parametrize("damage", [flip, cut, lambda f: f.write_bytes(b""), Path.unlink])
def test_a_file_that_is_damaged_or_gone_is_made_again(
    tmp_path: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"{KEY}.safetensors"
    TensorFiles(tmp_path).get(KEY, Maker())
    damage(file)
    there = file.exists()
    # A process that does not write says so too, and leaves the file to one that does.
    for writes in (False, True):
        again = Maker(3.0)
        found = TensorFiles(tmp_path, writes=writes).get(KEY, again)
        assert (again.calls, float(found["values"][0, 0])) == (1, 3)
        said = capsys.readouterr().out
        assert said.count("is damaged") == there
        assert said.count("\n") == there
    after = Maker()
    assert float(TensorFiles(tmp_path).get(KEY, after)["values"][0, 0]) == 3
    assert after.calls == 0


def test_where_nothing_can_be_written_the_process_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").write_text("in the way")
    kept, maker = TensorFiles(tmp_path / "kept"), Maker()
    for _ in range(2):
        assert float(kept.get(KEY, maker)["values"][0, 0]) == 1
    assert maker.calls == 1
    assert capsys.readouterr().out.count("cannot be written") == 1


def test_only_the_fingerprints_that_were_used_last_stay(tmp_path: Path) -> None:
    kept = TensorFiles(tmp_path, most=2)
    for number, name in enumerate("abc"):
        kept.get(f"latent/{name}/000", Maker())
        kept.get(f"network/{name}/000", Maker())
        os.utime(tmp_path / "latent" / name, (number, number))
        if name == "b":
            kept.get("latent/a/000", Maker())  # used again: now `b` is the oldest
    assert {p.name for p in (tmp_path / "latent").iterdir()} == {"a", "c"}
    assert len(list((tmp_path / "network").iterdir())) == 2


def test_another_directory_is_read_and_copied(tmp_path: Path) -> None:
    TensorFiles(tmp_path / "run").get(KEY, Maker(5.0))
    maker = Maker()
    reader = TensorFiles(tmp_path / "reader", [tmp_path / "run"], writes=False)
    assert float(reader.get(KEY, maker)["values"][0, 0]) == 5
    assert not (tmp_path / "reader").exists()
    TensorFiles(tmp_path / "model", [tmp_path / "run"]).get(KEY, maker)
    assert (tmp_path / "model" / f"{KEY}.safetensors").exists()
    assert maker.calls == 0
